"""A run that was killed and started again, and one on another number of threads, are the run that was left alone: to the bit."""

import random
import subprocess
import time

from sedum_testing import PATIENCE, SEDUM, SedumTest, environment, json_lines, main, recipe, write_npy_int32

STEPS = 40


class Resume(SedumTest):
    def setUp(self):
        super().setUp()
        self.write_rows("rows.jsonl", [
            {"instruction": f"What is {i} and {i + 3}?", "output": f"It is {2 * i + 3}, " + "surely " * (i % 5) + "so."} for i in range(23)])
        self.write_rows("held.jsonl", [{"instruction": "What is 40 and 2?", "output": "It is 42."}])

    def keys(self, kind, **more):
        return {"finetuning_type": kind, "data": {"train": ["rows.jsonl"], "eval": ["held.jsonl"]}, "cutoff_len": 96, "max_steps": STEPS,
                "per_device_train_batch_size": 2, "gradient_accumulation_steps": 3, "warmup_steps": 5, "learning_rate": 2e-3,
                "weight_decay": 0.1, "save_steps": 4, "eval_steps": 10, "threads": 1, **({"r": 4} if kind == "lora" else {}), **more}

    def run_alone(self, name, keys):
        self.sedum("train", self.write(f"{name}.yaml", recipe(output_dir=name, **keys)))

    def run_and_kill(self, name, keys, kills, seed):
        """SIGKILL at random moments, each time further on, then to the end. How often it was really killed in the middle."""
        config = self.write(f"{name}.yaml", recipe(output_dir=name, **keys))
        chance, hit = random.Random(seed), 0
        for i in range(kills):
            goal = STEPS * (i + 1) // (kills + 1) - chance.randrange(3)
            process = subprocess.Popen([SEDUM, "train", config, "--json"], cwd=self.folder, env=environment(), text=True,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, pipesize=4096)  # it cannot run ahead of its reader by much
            for line in process.stdout:
                if f'"step":{goal},' in line and '"loss"' in line:
                    time.sleep(chance.random() * 0.01)  # also in the middle of a step or of a save
                    break
            process.kill()
            process.communicate(timeout=PATIENCE)
            hit += process.returncode == -9
        self.sedum("train", config)
        return hit

    def metrics(self, name):
        """Every line but for what is a time."""
        lines = json_lines((self.folder / name / "metrics.jsonl").read_text())
        return [{k: v for k, v in line.items() if k not in ("tokens_per_second", "data_share")} for line in lines]

    def assertSameRun(self, first, second, kind, steps=STEPS):
        a, b = self.metrics(first), self.metrics(second)
        self.assertEqual([m["step"] for m in a if "loss" in m], list(range(1, steps + 1)))
        self.assertEqual(a, b)  # floats are written with all their digits
        result = "adapter/adapter_model.safetensors" if kind == "lora" else "model/model.safetensors"
        self.assertSameTensors(self.folder / first / result, self.folder / second / result)
        self.assertSameTensors(self.folder / first / f"checkpoint-{steps}/state.safetensors", self.folder / second / f"checkpoint-{steps}/state.safetensors")

    def check_killed(self, kind, **more):
        keys = self.keys(kind, **more)
        self.run_alone("alone", keys)
        self.assertGreaterEqual(self.run_and_kill("killed", keys, kills=3, seed=kind), 2)
        self.assertSameRun("alone", "killed", kind)
        leftovers = [p.name for p in (self.folder / "killed").rglob("*") if "unfinished" in p.name or "partial" in p.name]
        self.assertEqual(leftovers, [])

    def test_full_training_killed(self):
        self.check_killed("full")

    def test_lora_killed(self):
        self.check_killed("lora")

    def test_bf16_killed(self):
        self.check_killed("lora", compute="bf16")

    def test_threads_change_nothing(self):
        for kind in ("full", "lora"):  # few steps: on a busy machine two threads wait for each other
            self.run_alone(f"{kind}1", self.keys(kind, max_steps=10))
            self.run_alone(f"{kind}2", self.keys(kind, max_steps=10, threads=2))
            self.assertSameRun(f"{kind}1", f"{kind}2", kind, steps=10)

    def test_what_does_change_the_run_is_seen(self):
        """The comparison above can fail: another seed is another run."""
        self.run_alone("a", self.keys("full", max_steps=8))
        self.run_alone("b", self.keys("full", max_steps=8, seed=43))
        with self.assertRaises(AssertionError):
            self.assertSameRun("a", "b", "full", steps=8)
        self.assertSameRun("a", "a", "full", steps=8)

    def test_pretokenized_killed(self):
        chance = random.Random(1)
        write_npy_int32(self.folder / "batches.npy", (3 * STEPS, 2, 16), [chance.randrange(320) for _ in range(3 * STEPS * 2 * 16)])
        keys = {**self.keys("full", stage="pretrain"), "data": {"pretokenized": "batches.npy"}}
        self.run_alone("alone", keys)
        self.run_and_kill("killed", keys, kills=2, seed=5)
        self.assertSameRun("alone", "killed", "full")

    def test_other_settings_are_not_mixed_into_a_run(self):
        keys = self.keys("full", max_steps=4)
        self.run_alone("run", keys)
        done = self.sedum("train", self.write("other.yaml", recipe(output_dir="run", **{**keys, "learning_rate": 1e-3})), code=1)
        self.assertOneLine(done, "other settings", "overwrite_output_dir")

    def test_a_finished_run_stays_as_it_is(self):
        keys = self.keys("full", max_steps=4)
        self.run_alone("run", keys)
        before = self.metrics("run")
        self.run_alone("run", keys)
        steps = [m["step"] for m in self.metrics("run") if "loss" in m]
        self.assertEqual(steps, [1, 2, 3, 4])
        self.assertEqual([m for m in self.metrics("run") if "loss" in m], [m for m in before if "loss" in m])


if __name__ == "__main__":
    main()
