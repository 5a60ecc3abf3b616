"""What a training run says about itself: failures, early stopping, samples, the dashboard."""

import json
import re
import subprocess
import urllib.request

from sedum_testing import PATIENCE, SEDUM, SedumTest, environment, json_lines, lines_of, main, read_safetensors, recipe


class Training(SedumTest):
    def setUp(self):
        super().setUp()
        self.write_rows("rows.jsonl", [{"instruction": f"{i}?", "output": f"It is {i}, surely."} for i in range(12)])

    def keys(self, **more):
        return {"output_dir": "run", "finetuning_type": "full", "data": {"train": ["rows.jsonl"]}, "cutoff_len": 64, "max_steps": 4,
                "per_device_train_batch_size": 2, "learning_rate": 1e-3, "threads": 1, **more}

    def test_a_run_that_learnt_nothing_fails(self):
        config = self.write("bad.yaml", recipe(**self.keys(success_gate=True, learning_rate=1e-9)))
        done = self.sedum("train", config, code=1)
        self.assertOneLine(done, "ln(vocabulary) = 5.77", "success_gate")
        self.assertIn("failures", json.loads((self.folder / "run/run.json").read_text())["result"])
        good = self.write("good.yaml", recipe(**self.keys(output_dir="good", success_gate=True, learning_rate=1e-2, max_steps=25)))
        self.sedum("train", good)

    def test_a_number_that_is_none_is_traced_back(self):
        for flags in ([], ["--debug-nan"]):
            keys = self.keys(learning_rate=1e30, max_grad_norm=0, lr_scheduler_type="constant", overwrite_output_dir=True)
            done = self.sedum("train", self.write("nan.yaml", recipe(**keys)), *flags, code=1)
            self.assertOneLine(done, "step 2:", " gave ", "row", "weight")

    def test_stopping_early_with_the_best_model(self):
        self.write_rows("held.jsonl", [{"instruction": "40?", "output": "Never."}])
        keys = self.keys(data={"train": ["rows.jsonl"], "eval": ["held.jsonl"]}, eval_steps=2, max_steps=40, learning_rate=3e-2,
                         early_stopping_patience=2, load_best_model_at_end=True, lr_scheduler_type="constant", save_total_limit=1)
        self.sedum("train", self.write("stop.yaml", recipe(**keys)))
        evals = {m["step"]: m["eval_loss"] for m in json_lines((self.folder / "run/metrics.jsonl").read_text()) if "eval_loss" in m}
        evals.pop(0)
        best = min(evals, key=evals.get)
        self.assertLess(best, max(evals))
        self.assertEqual(max(evals), best + 4)  # two evaluations without a better one
        state = read_safetensors(self.folder / f"run/checkpoint-{best}/state.safetensors")
        model = read_safetensors(self.folder / "run/model/model.safetensors")
        self.assertEqual({f"parameter.{k}": v for k, v in model.items()}, {k: v for k, v in state.items() if k.startswith("parameter.")})
        self.assertOneLine(self.sedum("train", self.write("no.yaml", recipe(**self.keys(load_best_model_at_end=True))), code=1), "eval_steps")

    def test_every_optimizer_and_precision_from_a_recipe(self):
        for i, more in enumerate([{"optim": "sgd", "momentum": 0.9, "nesterov": True}, {"optim": "adamw_8bit"}, {"optim": "adafactor"},
                                  {"optim": "muon", "compute": "bf16", "pure_bf16": True}]):
            self.sedum("train", self.write("each.yaml", recipe(**self.keys(output_dir=f"run{i}", max_steps=2, **more))))
        wrong = self.write("wrong.yaml", recipe(**self.keys(optim="adamv")))
        self.assertOneLine(self.sedum("train", wrong, code=1), "optim: adamv", "adamw_8bit", "muon")
        self.assertOneLine(self.sedum("train", self.write("w.yaml", recipe(**self.keys(momentum=0.9))), code=1), "momentum", "sgd")

    def test_a_plan_says_what_is_slow_here(self):
        self.write_rows("rows.jsonl", [{"instruction": "Why?", "output": "Because."}])
        for compute, isa, said in (("bf16", "avx2", True), ("f32", "avx2", False), ("int8", "avx2", False)):
            config = self.write("plan.yaml", recipe(output_dir="run", data={"train": ["rows.jsonl"]}, cutoff_len=64, threads=1, compute=compute))
            out = self.sedum("plan", config, env={"SEDUM_ISA": isa}).stdout
            self.assertEqual("multiplies no bf16" in out, said, out)

    def test_samples(self):
        keys = self.keys(sample_prompts=["7?"], sample_steps=2, sample_max_tokens=8)
        done = self.sedum("train", self.write("samples.yaml", recipe(**keys)))
        samples = json_lines((self.folder / "run/samples.jsonl").read_text())
        self.assertEqual([s["step"] for s in samples], [2, 4])
        self.assertEqual({s["prompt"] for s in samples}, {"7?"})
        self.assertIn("7? → " + samples[-1]["text"].split("\n")[0], done.stdout)

    def test_dashboard(self):
        keys = self.keys(max_steps=4000, save_total_limit=1)
        process = subprocess.Popen([SEDUM, "train", self.write("board.yaml", recipe(**keys)), "--dashboard", "0"], cwd=self.folder,
                                   env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            address = re.search(r"dashboard: (http://127\.0\.0\.1:\d+/)", process.stdout.readline()).group(1)
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            page = opener.open(address, timeout=PATIENCE).read().decode()
            self.assertIn("<title>Sedum: training</title>", page)
            for line in process.stdout:
                if line.startswith("step"):
                    break
            run = json.load(opener.open(address + "run?since=0", timeout=PATIENCE))
            self.assertEqual(run["steps"][0]["step"], 1)
            self.assertGreater(run["now"]["tokens_per_second"], 0)
            self.assertGreater(run["now"]["share_of_peak"], 0)
            last = run["steps"][-1]["step"]
            later = json.load(opener.open(address + f"run?since={last}", timeout=PATIENCE))
            self.assertTrue(all(s["step"] > last for s in later["steps"]))
        finally:
            process.kill()
            process.communicate(timeout=PATIENCE)


if __name__ == "__main__":
    main()
