#!/usr/bin/env bash
# From a bare Debian 12 to an assistant of one's own: installs, builds, fetches a model, fine-tunes it, shows what changed, serves it.
#
#   ./quickstart.sh                      the bilingual succulent assistant
#   ./quickstart.sh --small              a smaller English model, for machines with little memory
#   ./quickstart.sh --data mine.jsonl    your own rows: {"instruction": "…", "output": "…"} a line, or chat messages
#   ./quickstart.sh --no-serve           end after the comparison
#
# It may be interrupted at any point and run again: what is done stays done. Every step prints the command that it runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
ROOT=$PWD

model=qwen2.5-coder-0.5b data="" serve=1 port=8080
while [ $# -gt 0 ]; do
  case $1 in
    --small) model=smollm2-135m ;;
    --data) [ $# -ge 2 ] || { echo "error: --data needs a file" >&2; exit 2; }; data=$2; shift ;;
    --port) [ $# -ge 2 ] || { echo "error: --port needs a number" >&2; exit 2; }; port=$2; shift ;;
    --no-serve) serve=0 ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "error: $1 is not known; see ./quickstart.sh --help" >&2; exit 2 ;;
  esac
  shift
done
if [ -n "$data" ] && [ ! -f "$data" ]; then echo "error: there is no file $data" >&2; exit 1; fi
memory_kb=$(awk '/^MemTotal/ {print $2}' /proc/meminfo)
if [ "$memory_kb" -lt 3000000 ] && [ $model != smollm2-135m ]; then
  echo "This machine has less than 3 GB of memory: taking the small model."
  model=smollm2-135m
fi

began=$(date +%s)
step() { printf '\n\033[1m%s\033[0m  (%s s so far)\n' "$*" "$(($(date +%s) - began))"; }
run() { printf '\033[2m$ %s\033[0m\n' "$*"; "$@"; }

step "1/7  Packages"
. tools/packages.sh
# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES

step "2/7  Build"
run cmake --preset release -G Ninja -DSEDUM_TESTS=OFF >build-configure.log 2>&1 || { cat build-configure.log; exit 1; }
rm -f build-configure.log
run cmake --build build/release --target sedum
mkdir -p "$HOME/.local/bin"
ln -sf "$ROOT/build/release/bin/sedum" "$HOME/.local/bin/sedum"
case ":$PATH:" in
  *":$HOME/.local/bin:"*) ;;
  *) export PATH="$HOME/.local/bin:$PATH"
     echo "sedum is in ~/.local/bin, which a new login shell has on its PATH; until then: export PATH=\"\$HOME/.local/bin:\$PATH\"" ;;
esac

step "3/7  Model"
run sedum pull "$model"

step "4/7  Data"
if [ -n "$data" ]; then
  name=$(basename "$data" | sed 's/\.[^.]*$//')
  work=runs/$name-$model/data
  mkdir -p "$work"
  run sedum data clean --input "$data" --out "$work/clean.jsonl"
  run sedum data dedup --input "$work/clean.jsonl" --out "$work/unique.jsonl"
  run sedum data split --input "$work/unique.jsonl" --out "$work/train.jsonl" --eval-out "$work/eval.jsonl" --eval-fraction 0.1
  train=$work/train.jsonl eval=$work/eval.jsonl questions=$work/eval.jsonl
else
  name=succulent
  train=assistants/succulent/train.jsonl eval=assistants/succulent/eval.jsonl questions=assistants/succulent/questions.jsonl
fi
run sedum data inspect --input "$train"
out=runs/$name-$model

step "5/7  Fine-tuning (goes on where it was interrupted)"
overrides=("model_name_or_path=$model" "output_dir=$out" "data.train=$train" "data.eval=$eval")
# Where a processor multiplies no bf16 the frozen base is multiplied in int8, for twice the memory (docs/training.md, "Precision").
case $(sedum info | sed -n 's/^instruction set *//p') in
  avx512_bf16* | amx*) ;;
  *) [ "$memory_kb" -lt 4000000 ] || overrides+=("compute=int8") ;;
esac
run sedum plan recipes/lora.yaml "${overrides[@]}"
if [ -f "$out/done" ]; then echo "already trained: $out/adapter"
else run sedum train recipes/lora.yaml "${overrides[@]}" && touch "$out/done"; fi

step "6/7  Before and after"
if [ -f "$out/comparison.md" ]; then cat "$out/comparison.md"
else run sedum eval compare "$model" "$model+$out/adapter" --questions "$questions" --max-questions 10 --max-tokens 160 --repetition-penalty 1.1 --out "$out/comparison.md"; fi

step "7/7  Your assistant"
cat <<EOF
Next time:
  sedum serve --model $model --adapter $out/adapter       the page and OpenAI's API
  sedum chat --model $model --adapter $out/adapter        a conversation in the terminal
  sedum merge --model $model --adapter $out/adapter --out $name.gguf --type q8_0
                                                           one file for any program that reads GGUF
EOF
[ $serve -eq 1 ] || exit 0
printf "\033[2m$ sedum serve --model %s --adapter %s --port %s\033[0m\n" "$model" "$out/adapter" "$port"
exec sedum serve --model "$model" --adapter "$out/adapter" --port "$port"
