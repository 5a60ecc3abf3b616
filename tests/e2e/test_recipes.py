"""Every recipe runs: two steps on a tiny model, planned before, with the result where it is said to be."""

import pathlib

from sedum_testing import GOLDEN, TINY, SedumTest, json_lines, main

RECIPES = pathlib.Path(__file__).resolve().parents[2] / "recipes"
KINDS = GOLDEN / "kinds"


class Recipes(SedumTest):
    def overrides(self, name):
        data = {"dpo": KINDS / "pairs.jsonl", "orpo": KINDS / "pairs.jsonl", "kto": KINDS / "judged.jsonl", "pretrain": "tokens", "mlm": "texts.jsonl"}
        keys = {"data.train": data.get(name, KINDS / "rows.jsonl"), "output_dir": f"run-{name}", "max_steps": 2, "threads": 1,
                "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "cutoff_len": 128,
                "success_gate": "false"}  # the tiny models are random: after two steps guessing is still better
        if name == "pretrain":  # its model stands in the recipe, with a vocabulary of 49152: few tokens
            keys.update({"tokenizer_name_or_path": TINY, "cutoff_len": 32, "per_device_train_batch_size": 1})
        elif name in ("mlm", "seq2seq"):
            keys["tokenizer_name_or_path"] = GOLDEN / "models" / "bert" if name == "mlm" else "my-t5"
        elif name == "embed":
            keys.update({"model_name_or_path": GOLDEN / "models" / "bert_plain", "cutoff_len": 64})
        else:
            keys["model_name_or_path"] = TINY
        if name in ("qlora", "loftq"):  # rows of multiples of 64
            keys["model_name_or_path"] = KINDS / "nf4_base"
        if name not in ("dpo", "orpo", "kto", "pretrain", "mlm"):
            keys["data.eval"] = KINDS / "rows.jsonl"
        if name == "classify":
            keys.update({"model_name_or_path": GOLDEN / "models" / "bert_plain", "cutoff_len": 32, "data.train": "labelled.jsonl",
                         "data.eval": "labelled.jsonl"})
        if name == "distill":
            keys["teacher_model_name_or_path"] = GOLDEN / "models" / "llama_linear"
        return [f"{key}={value}" for key, value in keys.items()]

    def test_every_recipe(self):
        rows = [{"text": f"Water it {n} times a month, and let the soil dry."} for n in range(20)]
        self.write_rows("texts.jsonl", rows)
        self.write_rows("labelled.jsonl", [{"text": f"the {word} is dry", "label": word} for word in ("soil", "leaf", "plant") * 4])
        packed = self.sedum_json("data", "pack", "--model", TINY, "--input", "texts.jsonl", "--out", "tokens")
        self.assertEqual(packed["documents"], 20)
        self.sedum("tokenizer", "train", "--type", "unigram", "--vocab-size", 100, "--input", "texts.jsonl", "--out", "my-t5")
        found = sorted(RECIPES.glob("*.yaml"))
        self.assertGreaterEqual({path.stem for path in found}, {"full", "lora", "dora", "dpo", "orpo", "kto", "distill", "pretrain", "qlora", "mlm", "embed", "seq2seq",
                                                                     "f16", "pissa", "loftq", "classify"})
        for path in found:
            with self.subTest(recipe=path.stem):
                overrides = self.overrides(path.stem)
                plan = self.sedum_json("plan", path, *overrides)
                self.assertGreater(plan["anonymous_bytes"], 0)
                self.sedum("train", path, *overrides)
                run = self.folder / f"run-{path.stem}"
                steps = [line for line in json_lines((run / "metrics.jsonl").read_text()) if "loss" in line]
                self.assertEqual(len(steps), 2)
                self.assertTrue((run / "adapter" / "adapter_model.safetensors").exists() or (run / "model" / "model.safetensors").exists())
                if path.stem == "classify":
                    self.assertIn("f1", (run / "metrics.jsonl").read_text())
                    answers = self.sedum_json("classify", "--model", run, "--file", "labelled.jsonl")
                    self.assertEqual(len(answers["answers"]), 12)
                    self.assertEqual(set(answers["answers"][0]["probabilities"]), {"leaf", "plant", "soil"})
                    self.assertGreaterEqual(answers["accuracy"], 0)
                if path.stem in ("dpo", "orpo"):
                    self.assertIn("rewards/accuracies", steps[-1])


if __name__ == "__main__":
    main()
