"""Models through the formats and back: nothing lost where nothing may be lost, and a merged adapter says what base and adapter say."""

import json
import math
import re
import shutil

from sedum_testing import GOLDEN, SedumTest, main, read_npy, read_safetensors, recipe

MODELS = GOLDEN / "models"


class Convert(SedumTest):
    def folders(self):
        return [MODELS / name for name in ("llama", "llama_linear", "llama_scaled", "qwen2", "qwen2_tied")]

    def test_folder_to_gguf_and_back_keeps_every_bit(self):
        for model in self.folders():
            with self.subTest(model=model.name):
                gguf, back = self.folder / f"{model.name}.gguf", self.folder / model.name
                self.sedum("convert", "--model", model, "--out", gguf, "--type", "f32")
                self.sedum("convert", "--model", gguf, "--out", back, "--type", "f32", "--format", "safetensors")
                before, after = read_safetensors(model / "model.safetensors"), read_safetensors(back / "model.safetensors")
                before.pop("lm_head.weight", None) if "lm_head.weight" not in after else None  # tied: stored once
                self.assertEqual(sorted(before), sorted(after))
                for name in before:
                    self.assertTrue(before[name] == after[name], name)

    def test_bf16_there_and_back_keeps_every_byte(self):
        for model in self.folders():
            with self.subTest(model=model.name):
                first, gguf, back = self.folder / "first", self.folder / "m.gguf", self.folder / "back"
                self.sedum("convert", "--model", model, "--out", first, "--type", "bf16")
                self.sedum("convert", "--model", first, "--out", gguf, "--type", "bf16")
                self.sedum("convert", "--model", gguf, "--out", back, "--type", "bf16")
                self.assertEqual({kind for kind, *_ in read_safetensors(first / "model.safetensors").values()}, {"BF16"})
                self.assertTrue((first / "model.safetensors").read_bytes() == (back / "model.safetensors").read_bytes())

    def test_shards(self):
        """A folder in files of at most 20 KB is the same model; what is no size is refused, and so is a size for a GGUF file."""
        model, ids = MODELS / "llama", self.write("ids.json", [[1, 5, 9, 200, 201]])
        logits = lambda path: (self.sedum("forward", "--threads", "1", "--model", path, "--ids-file", ids, "--out", "o.npy"), read_npy(self.folder / "o.npy"))[1]
        for command, kind in (("convert", "f32"), ("quantize", "nf4"), ("quantize", "int8"), ("quantize", "rtn")):
            with self.subTest(kind=kind):
                more = ["--group-size", 32] if kind == "rtn" else []
                self.sedum(command, "--model", model, "--out", f"{kind}-whole", "--type", kind, *more)
                self.sedum(command, "--model", model, "--out", kind, "--type", kind, "--max-shard-size", "20 KB", *more)
                index = json.loads((self.folder / kind / "model.safetensors.index.json").read_text())
                files = {path.name: read_safetensors(path) for path in (self.folder / kind).glob("*.safetensors")}
                self.assertGreater(len(files), 1)
                for name, tensors in files.items():
                    self.assertRegex(name, rf"^model-000\d\d-of-{len(files):05}\.safetensors$")
                    self.assertTrue(all(index["weight_map"][tensor] == name for tensor in tensors))
                    size = sum(len(data) for *_, data in tensors.values())
                    # One layer may be larger than the limit.
                    self.assertTrue(size <= 20_000 or len({tensor.split(".weight")[0].rsplit(".", 1)[0] for tensor in tensors}) == 1, name)
                self.assertEqual(index["metadata"]["total_size"], sum(len(data) for tensors in files.values() for *_, data in tensors.values()))
                self.assertEqual(logits(kind), logits(f"{kind}-whole"))
        for size in ("5 parsecs", "0", "-1GB", "GB", "5XB", "1e3"):
            self.assertOneLine(self.sedum("convert", "--model", model, "--out", "x", "--max-shard-size", size, code=2), size, "is no size")
        for command in ("convert", "quantize"):
            self.assertOneLine(self.sedum(command, "--model", model, "--out", "x.gguf", "--type", "q8_0", "--max-shard-size", "1GB", code=2), "x.gguf")
        self.assertEqual(list(self.folder.glob("x*")), [])

    def test_logits_are_the_same_through_both(self):
        ids = self.write("ids.json", [[1, 5, 9, 200, 201], [7, 8]])
        for model in self.folders():
            with self.subTest(model=model.name):
                gguf, back = self.folder / f"{model.name}.gguf", self.folder / model.name
                self.sedum("convert", "--model", model, "--out", gguf, "--type", "f32")
                self.sedum("convert", "--model", gguf, "--out", back, "--type", "f32")
                logits = []
                for path in (model, gguf, back):
                    self.sedum("forward", "--threads", "1", "--model", path, "--ids-file", ids, "--out", "o.npy")
                    logits.append(read_npy(self.folder / "o.npy")[1])
                # Llama 3's scaling of positions goes through f32 divisors: its last bit may differ.
                tolerance = 1e-5 if model.name == "llama_scaled" else 0
                for again in logits[1:]:
                    self.assertLessEqual(max(abs(a - b) for a, b in zip(logits[0], again)), tolerance)

    def test_tokenizer_and_template_travel(self):
        gguf, back = self.folder / "m.gguf", self.folder / "m"
        self.sedum("convert", "--model", MODELS / "llama", "--out", gguf, "--type", "q8_0")
        self.sedum("convert", "--model", gguf, "--out", back, "--type", "f16")
        messages = self.write("messages.json", [{"role": "system", "content": "短"}, {"role": "user", "content": "How do I water it?"}])
        prompts, ids, hashes = [], [], []
        for model in (MODELS / "llama", gguf, back):
            prompts.append(self.sedum("template", "--model", model, "--messages", messages, "--add-generation-prompt").stdout)
            ids.append(self.sedum_json("tokenize", "--model", model, "--text", prompts[0] + " naïve 多肉 🌵 12345")["ids"])
            hashes.append(self.sedum_json("info", "--model", model)["tokenizer"]["hash"])
        self.assertEqual(len(set(prompts)), 1)
        self.assertEqual(ids[0], ids[1])
        self.assertEqual(ids[0], ids[2])
        self.assertEqual(len(set(hashes)), 1, hashes)

    def test_what_llama_cpp_ignores_is_said(self):
        for family, words in (("mistral", "beyond 9 tokens"), ("gemma3", None)):
            model = self.folder / family
            shutil.copytree(GOLDEN / "families" / family, model)
            config = json.loads((model / "config.json").read_text())
            config["query_pre_attn_scalar"] = config["head_dim"]  # Gemma's, as llama.cpp has it
            (model / "config.json").write_text(json.dumps(config))
            for command in ("convert", "quantize"):
                said = self.sedum(command, "--model", model, "--out", self.folder / "m.gguf", "--type", "q8_0").stderr
                if words:
                    self.assertIn("warning: llama.cpp ignores the sliding window", said)
                    self.assertIn(words, said)
                else:
                    self.assertNotIn("warning", said)

    def test_types(self):
        for kind, word in (("f16", "f16"), ("bf16", "bf16"), ("q8_0", "q8_0")):
            out = self.folder / f"{kind}.gguf"
            self.sedum("convert", "--model", MODELS / "qwen2", "--out", out, "--type", kind)
            tensors = self.sedum_json("info", "--model", out)["tensors"]
            self.assertGreaterEqual(tensors[word]["tensors"], 15, tensors)
            self.assertEqual(set(tensors), {word, "f32"})  # norms and biases keep their precision

    def test_refusals(self):
        self.assertOneLine(self.sedum("convert", "--model", MODELS / "llama", "--out", "x", "--type", "q8_0", code=1), ".gguf")
        self.assertOneLine(self.sedum("convert", "--model", MODELS / "llama", "--out", "x.gguf", "--type", "q3_9", code=1), "q3_9")
        self.assertOneLine(self.sedum("convert", "--model", MODELS / "llama", "--out", "x.gguf", "--format", "safetensors", code=1), "x.gguf")
        self.assertEqual(list(self.folder.glob("x*")), [])

    def test_no_half_written_file_under_the_name(self):
        self.write("blocked", "")
        self.assertOneLine(self.sedum("convert", "--model", MODELS / "llama", "--out", "blocked/x.gguf", "--type", "f16", code=1), "blocked/x.gguf")


class Merge(SedumTest):
    """An adapter trained here, folded in."""

    def setUp(self):
        super().setUp()
        self.write_rows("rows.jsonl", [{"instruction": f"{i}?", "output": f"{i * i}!"} for i in range(12)])
        self.ids = self.write("ids.json", [[1, 5, 9, 200, 301, 17, 64], [7, 8]])

    def train(self, model, **more):
        self.write("lora.yaml", recipe(model_name_or_path=str(model), output_dir="run", data={"train": ["rows.jsonl"]}, cutoff_len=64, max_steps=30,
                                       learning_rate=2e-2, r=4, threads=1, overwrite_output_dir=True, **more))
        self.sedum("train", "lora.yaml")
        return self.folder / "run" / "adapter"

    def logits(self, *model):
        self.sedum("forward", "--threads", "1", "--model", *model, "--ids-file", self.ids, "--out", "o.npy")
        return read_npy(self.folder / "o.npy")[1]

    @staticmethod
    def relative(a, b):
        mean = sum(b) / len(b)
        spread = math.sqrt(sum((x - mean) ** 2 for x in b) / len(b))
        return max(abs(x - y) for x, y in zip(a, b)) / spread

    def test_merged_is_base_and_adapter(self):
        for name in ("llama", "qwen2"):
            with self.subTest(model=name):
                model = MODELS / name
                adapter = self.train(model)
                both = self.logits(model, "--adapter", adapter)
                self.assertGreater(self.relative(self.logits(model), both), 0.05)  # the adapter does something
                # f32: a merged weight is rounded once more, and sums of up to 96 terms run in another order: (1 + √96) · 6e-8 for each of
                # 15 products, one after the other, makes 1e-5; twice that.
                for out, kind, limit in (("merged.gguf", "f32", 2e-5), ("merged", "f32", 2e-5), ("half.gguf", "f16", 2e-2)):
                    done = self.sedum("merge", "--model", model, "--adapter", adapter, "--out", out, "--type", kind)
                    self.assertIn("loss of base and adapter", done.stdout)
                    self.assertLess(self.relative(self.logits(self.folder / out), both), limit, (name, out))

    def test_run_folder_and_adapter_folder_name_the_model(self):
        adapter = self.train(MODELS / "llama")
        both = self.logits(MODELS / "llama", "--adapter", adapter)
        self.assertEqual(self.logits(adapter), both)
        self.assertEqual(self.logits(self.folder / "run"), both)

    def test_adapter_of_another_model(self):
        adapter = self.train(MODELS / "llama")
        done = self.sedum("merge", "--model", MODELS / "llama_scaled", "--adapter", adapter, "--out", "x.gguf", code=1)
        self.assertOneLine(done, "another model")
        self.assertFalse((self.folder / "x.gguf").exists())

    def test_adapter_on_quantised_base(self):
        """Rank-4 changes on Q8_0 weights: merged as f32 they are exact, and the base's own bits are what is merged into."""
        base = MODELS / "qwen2.q8_0.gguf"
        adapter = self.train(base)
        both = self.logits(base, "--adapter", adapter)
        self.sedum("merge", "--model", base, "--adapter", adapter, "--out", "m.gguf", "--type", "f32")
        self.assertLess(self.relative(self.logits(self.folder / "m.gguf"), both), 1e-5)

    def everything(self):
        """Every file below the test's folder, with its bytes."""
        return {path.relative_to(self.folder): path.is_file() and path.read_bytes() for path in self.folder.rglob("*")}

    def test_merged_in_nf4_and_int8(self):
        """bitsandbytes' folders: int8 keeps the loss, NF4's four bits do not. What is refused leaves what was there, and nothing else."""
        base = GOLDEN / "kinds" / "nf4_base"
        adapter = self.train(base)
        both = self.logits(base, "--adapter", adapter)
        probe = self.write("probe.txt", "".join(f"{i}?{i * i}!" for i in range(12)))
        merge = lambda *more, **code: self.sedum("merge", "--model", base, "--adapter", adapter, "--probe", probe, *more, **code)
        moved = {}  # a tiny random model knows little that could be lost: the bound lies between what the two lose
        for kind in ("int8", "nf4"):
            losses = re.findall(r"\d+\.\d+", merge("--out", "try", "--type", kind, "--tolerance", 10).stdout)
            moved[kind] = float(losses[1]) - float(losses[0])
        shutil.rmtree(self.folder / "try")
        self.assertLess(2 * abs(moved["int8"]), abs(moved["nf4"]))
        bound = ("--tolerance", max(1e-3, 0.75 * abs(moved["nf4"])))
        merge("--out", "m8", "--type", "int8", "--max-shard-size", "20KB", *bound)
        self.assertTrue((self.folder / "m8" / "model.safetensors.index.json").exists())
        self.assertEqual(json.loads((self.folder / "m8" / "config.json").read_text())["quantization_config"]["load_in_8bit"], True)
        off = self.relative(self.logits("m8"), both)
        self.assertGreater(off, 1e-4)
        self.assertLess(off, 0.1)
        before = self.everything()
        for out in ("m4", "m8", "deep/down/m4"):
            refused = merge("--out", out, "--type", "nf4", *bound, code=1)
            self.assertIn("loss of base and adapter", refused.stdout)
            self.assertOneLine(refused, f"refused, {out} is not written", "above" if moved["nf4"] > 0 else "below", "--type with more bits", "--tolerance")
            self.assertTrue(self.everything() == before, out)
        merge("--out", "m4", "--type", "nf4", "--tolerance", 1)
        self.assertEqual(json.loads((self.folder / "m4" / "config.json").read_text())["quantization_config"]["bnb_4bit_quant_type"], "nf4")
        self.assertLess(self.relative(self.logits("m4"), both), 1)
        self.assertGreater(self.relative(self.logits("m4"), both), off)
        # The same as quantising the merged model.
        merge("--out", "whole", "--type", "f32")
        self.sedum("quantize", "--model", "whole", "--out", "again", "--type", "nf4")
        self.assertSameTensors(self.folder / "m4/model.safetensors", self.folder / "again/model.safetensors")
        self.assertOneLine(merge("--out", "x.gguf", "--type", "nf4", code=2), "x.gguf", "as a folder")

    def test_a_refused_gguf_file_leaves_the_one_before(self):
        adapter = self.train(MODELS / "llama")
        merge = lambda *more, **code: self.sedum("merge", "--model", MODELS / "llama", "--adapter", adapter, "--out", "m.gguf", *more, **code)
        self.assertOneLine(merge("--type", "q4_0", "--tolerance", 0, code=1), "refused, m.gguf is not written")
        self.assertFalse(list(self.folder.glob("m*")))
        merge("--type", "f32")
        before = self.everything()
        merge("--type", "q4_0", "--tolerance", 0, code=1)
        self.assertEqual(self.everything(), before)
        self.assertEqual(merge("--type", "q4_0", "--tolerance", -1, code=2).stdout, "")

    def test_adapter_trained_on_nf4(self):
        """It belongs on the base in NF4, not on the one that it came from; the run beside it says so."""
        base = GOLDEN / "kinds" / "nf4_base"
        adapter = self.train(base, finetuning_type="qlora")
        self.sedum("quantize", "--model", base, "--type", "nf4", "--out", "base-nf4")
        both = self.logits("base-nf4", "--adapter", adapter)
        off = {}
        for base_type, named in (("auto", adapter), ("auto", f"{adapter}/"), ("auto", self.folder / "run"), ("nf4", adapter), ("stored", adapter)):
            out = f"{base_type}.gguf"
            merge = ("merge", "--model", base, "--adapter", named, "--out", out, "--type", "f32", "--base-type", base_type, "--tolerance", 1e-4)
            if base_type == "stored":  # another model: its loss moves, and only who insists gets it
                self.assertOneLine(self.sedum(*merge, code=1), "refused", "--base-type")
                self.assertFalse((self.folder / out).exists())
                merge = (*merge[:-1], 10)
            done = self.sedum(*merge)
            self.assertEqual("trained on NF4" in done.stdout, base_type != "stored")
            off[base_type] = self.relative(self.logits(self.folder / out), both)
        # The NF4 folder holds embeddings and norms in f16: eps 4.9e-4, through two layers of sums.
        self.assertLess(off["auto"], 5e-3)
        self.assertEqual(off["auto"], off["nf4"])
        self.assertGreater(off["stored"], 10 * off["auto"])


if __name__ == "__main__":
    main()
