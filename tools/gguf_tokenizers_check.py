#!/usr/bin/env python3
"""Loads GGUF files with SentencePiece tokenizers into llama.cpp and compares ids. Run by hand; wants llama-cpp-python, torch, safetensors.

    tools/gguf_tokenizers_check.py SEDUM FOLDER DATA [NAME…|pre [PRE…]]

DATA is the folder of SEDUM_TEST_DATA. The model is the tiny Llama of tests/golden with as many random rows as the tokenizer has tokens. Tokenizers:
Mistral's tokenizer.model, the same as tokenizer.json (scores follow from merges), with Gemma's parts and added tokens, with Phi-3's, and T5's
unigram model. Each folder becomes a GGUF file in FOLDER; ids are Sedum's from the folder and llama.cpp's from the file, for strings of
tests/golden/text/tokenizers.json and some with special tokens inside. Then the GGUF file is written once more from itself: the metadata stays.

With pre: the names of tokenizer.ggml.pre instead, each in turn in the file that holds GPT-2's vocabulary, and gemma4 with Mistral's. Where llama.cpp leaves
out what the models' own tokenizer.json say (OTHERWISE), the number is shown and nothing more.
"""
import ctypes
import json
import pathlib
import shutil
import subprocess
import sys

import gguf
import llama_cpp
import torch
from safetensors.torch import load_file, save_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests/golden"
SILENT = llama_cpp.llama_log_callback(lambda *_: None)  # kept here: the library calls it for as long as it lives
STRINGS = json.loads((GOLDEN / "text/tokenizers.json").read_text())["strings"]
SPECIAL = ["<s>Hello</s> world", "a<s>b", "<|user|>\n Hi<|end|>\n<|endoftext|> x", "<start_of_turn>user\n\n  two   three    four", "<unk> x", "  ", "\n\n\n"]


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no message")
    return done.stdout


def model_with(folder, rows):
    """The tiny Llama without a tokenizer, its embeddings with `rows` rows."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    config = json.loads((GOLDEN / "models/llama/config.json").read_text())
    config.update(vocab_size=rows, bos_token_id=1, eos_token_id=2)
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(GOLDEN / "models/llama/model.safetensors")
    torch.manual_seed(1)
    weights["model.embed_tokens.weight"] = torch.randn(rows, config["hidden_size"])
    save_file(weights, folder / "model.safetensors")


def added(tokenizer, text, **flags):
    tokens = tokenizer["added_tokens"]
    vocab = tokenizer["model"]["vocab"]
    number = vocab.get(text, max(max(vocab.values()), max(t["id"] for t in tokens)) + 1)
    tokens.append({"id": number, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} | flags)


def as_gemma(tokenizer):
    space = {"String": " "}
    tokenizer["normalizer"] = {"type": "Replace", "pattern": space, "content": "\u2581"}
    tokenizer["pre_tokenizer"] = {"type": "Split", "pattern": space, "behavior": "MergedWithPrevious", "invert": False}
    tokenizer["decoder"]["decoders"] = tokenizer["decoder"]["decoders"][:3]
    for text in ("\n\n", "\n\n\n"):
        added(tokenizer, text, special=False)
    added(tokenizer, "<start_of_turn>")


def as_phi3(tokenizer):
    for token in tokenizer["added_tokens"]:
        if token["content"] == "</s>":
            token.update(rstrip=True, special=False)
    added(tokenizer, "<|endoftext|>")
    for text in ("<|user|>", "<|assistant|>", "<|end|>"):
        added(tokenizer, text, rstrip=True)


def folders(sedum, folder, data):
    """Name and folder of each model."""
    for name, file in (("mistral", "mistral-v1-tokenizer.model"), ("t5", "t5-spiece.model")):
        model_with(folder / name, 32000)
        shutil.copy(data / "tokenizers" / file, folder / name / "tokenizer.model")
        yield name, folder / name
    run(sedum, "convert", "--model", folder / "mistral", "--out", folder / "mistral.gguf", "--type", "f32")
    shutil.rmtree(folder / "json", ignore_errors=True)
    run(sedum, "convert", "--model", folder / "mistral.gguf", "--out", folder / "json", "--type", "f32")
    for name, change in (("mistral-json", lambda _: None), ("gemma", as_gemma), ("phi", as_phi3)):
        model_with(folder / name, 32064)  # more rows than tokens
        tokenizer = json.loads((folder / "json/tokenizer.json").read_text())
        change(tokenizer)
        (folder / name / "tokenizer.json").write_text(json.dumps(tokenizer))
        shutil.copy(folder / "json/tokenizer_config.json", folder / name)
        yield name, folder / name


def ours(sedum, model, text, folder):
    (folder / "text").write_bytes(text.encode())
    return json.loads(run(sedum, "tokenize", "--model", model, "--file", folder / "text", "--json"))["ids"]


def compare(sedum, folder, source, gguf):
    llama, wrong, total = llama_cpp.Llama(str(gguf), n_ctx=64, n_threads=1, verbose=False), [], 0
    for text in SPECIAL + STRINGS[::7]:
        if text.startswith("<unk>") and (source / "tokenizer.model").exists():
            continue  # sentencepiece itself takes no <unk> from a text; llama.cpp does, and so do we from a GGUF file
        want = ours(sedum, source, text, folder)
        got = llama.tokenize(text.encode(), add_bos=True, special=True)
        total += 1
        if want != got:
            wrong.append(f"{text[:40]!r}: Sedum {want[:12]}, llama.cpp {got[:12]}")
    llama.eval(ours(sedum, source, "Hello", folder))
    llama.close()
    return total, wrong


OTHERWISE = {"qwen2", "f2llmv2", "qwen35"}  # whose tokenizer.json ask for NFC, which llama.cpp leaves out
PRE = """default gpt-2 jina-v2-code smollm mellum2 qwen2 f2llmv2 solar-open stablelm2 llama-bpe glm4 glm5 jina-v5-nano dbrx gpt-4o talkie granite-embed-multi-97m
tekken kimi-k2 deepseek-v3 hy_v4 joyai-llm deepseek-coder deepseek-llm falcon bloom viking chameleon superbpe bailingmoe seed-coder qwen35 ufakzeka minicpm5
jais-2 exaone-moe laguna tiny_aya cohere2moe youtu spark2_5 afmoe gemma4""".split()


def with_pre(source, out, pre):
    """The GGUF file `source` with another tokenizer.ggml.pre; without a token for what precedes a text."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(out, reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "tokenizer.ggml.pre", "tokenizer.ggml.add_bos_token"):
            continue
        sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub)
    writer.add_string("tokenizer.ggml.pre", pre)
    writer.add_bool("tokenizer.ggml.add_bos_token", False)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def as_gemma4(sedum, folder, data):
    """Mistral's pieces and merges as Gemma 4's GGUF files have theirs: merges of characters."""
    next(folders(sedum, folder, data))
    run(sedum, "convert", "--model", folder / "mistral", "--out", folder / "mistral.gguf", "--type", "f32")
    shutil.rmtree(folder / "json", ignore_errors=True)
    run(sedum, "convert", "--model", folder / "mistral.gguf", "--out", folder / "json", "--type", "f32")
    pieces = gguf.GGUFReader(folder / "mistral.gguf").fields
    writer = gguf.GGUFWriter(folder / "pre.gguf", "gpt2")
    for field in gguf.GGUFReader(data / "vocab/ggml-vocab-gpt-2.gguf").fields.values():
        if field.name.startswith("gpt2."):
            writer.add_key_value(field.name, field.contents(), field.types[0])
    writer.add_tokenizer_model("gemma4")
    writer.add_token_list(pieces["tokenizer.ggml.tokens"].contents())
    writer.add_token_types([int(kind) for kind in pieces["tokenizer.ggml.token_type"].contents()])
    merges = json.loads((folder / "json/tokenizer.json").read_text())["model"]["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_bos_token_id(1), writer.add_eos_token_id(2), writer.add_add_bos_token(False)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def compare_texts(sedum, folder, file, end):
    """All texts at once with the special token `end` between them. std::regex, which llama.cpp uses, overflows the stack at long ones."""
    texts, wrong = [s for s in STRINGS if 0 < len(s) < 2000 and end not in s], []
    llama = llama_cpp.Llama(str(file), vocab_only=True, verbose=False)
    between = llama.tokenize(end.encode(), add_bos=False, special=True)[0]
    ids = ours(sedum, file, end.join(texts), folder)
    cut = [-1, *(i for i, token in enumerate(ids) if token == between), len(ids)]
    for text, first, last in zip(texts, cut[:-1], cut[1:], strict=True):
        want, got = ids[first + 1:last], llama.tokenize(text.encode(), add_bos=False, special=False)
        if want != got and not (end == "</s>" and "<" in text):  # other special tokens in the text, which only Sedum was to look for
            wrong.append(f"{text[:40]!r}: Sedum {want[:12]}, llama.cpp {got[:12]}")
    llama.close()
    return len(texts), wrong


def compare_pre(sedum, folder, data, names):
    failed = False
    for pre in names or PRE:
        if pre == "gemma4":
            as_gemma4(sedum, folder, data)
        else:
            with_pre(data / "vocab/ggml-vocab-gpt-2.gguf", folder / "pre.gguf", pre)
        total, wrong = compare_texts(sedum, folder, folder / "pre.gguf", "</s>" if pre == "gemma4" else "<|endoftext|>")
        print(f"{pre}: {total - len(wrong)}/{total} texts", flush=True)
        print("".join(f"  {line}\n" for line in wrong[:3]), end="")
        failed |= bool(wrong) and pre not in OTHERWISE
    if failed:
        sys.exit("not equal")


def main():
    sedum, folder, data = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    folder.mkdir(exist_ok=True)
    llama_cpp.llama_log_set(SILENT, ctypes.c_void_p())
    if sys.argv[4:5] == ["pre"]:
        return compare_pre(sedum, folder, data, sys.argv[5:])
    failed = False
    for name, source in folders(sedum, folder, data):
        if sys.argv[4:] and name not in sys.argv[4:]:
            continue
        first, second = folder / f"{name}.gguf", folder / f"again/{name}.gguf"
        second.parent.mkdir(exist_ok=True)
        run(sedum, "convert", "--model", source, "--out", first, "--type", "f32")
        run(sedum, "convert", "--model", first, "--out", second, "--type", "f32")
        total, wrong = compare(sedum, folder, source, first)
        same = first.read_bytes() == second.read_bytes()
        print(f"{name}: {total - len(wrong)}/{total} texts; written again: {'equal' if same else 'other bytes'}", flush=True)
        print("".join(f"  {line}\n" for line in wrong[:10]), end="")
        failed |= bool(wrong) or not same
    if failed:
        sys.exit("not equal")


if __name__ == "__main__":
    main()
