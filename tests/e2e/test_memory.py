"""Forecast and use of memory side by side, on a tiny model: what the program itself takes is most of it."""

from sedum_testing import SedumTest, json_lines, main, recipe


class Memory(SedumTest):
    def measure(self, **keys):
        """(forecast, use) of a run, in bytes; the forecast is `sedum plan`'s as well."""
        config = self.write("recipe.yaml", recipe(**{"output_dir": "run", "overwrite_output_dir": True, "cutoff_len": 128, "max_steps": 2, **keys}))
        result = json_lines(self.sedum("train", config, "--json").stdout)[-1]
        self.assertEqual(result["event"], "result")
        plan = self.sedum_json("plan", config)
        self.assertEqual(plan["anonymous_bytes"], sum(line["bytes"] for line in plan["memory"]))
        self.assertLess(abs(plan["anonymous_bytes"] / result["forecast_bytes"] - 1), 0.05)
        return result["forecast_bytes"], result["peak_bytes"]

    def check(self, limit, **keys):
        forecast, peak = self.measure(**keys)
        print(f"forecast {forecast / 2**20:.1f} MiB, used {peak / 2**20:.1f} MiB: {100 * (forecast / peak - 1):+.1f} %")
        self.assertLess(abs(forecast / peak - 1), limit)
        return forecast, peak

    def rows(self, count):
        return str(self.write_rows("rows.jsonl", [{"instruction": f"{i}?" * (1 + i % 9), "output": f"{i}!" * (1 + i % 14)} for i in range(count)]))

    def test_tiny(self):
        for kind, threads, compute in (("full", 1, "f32"), ("lora", 1, "bf16"), ("full", 2, "bf16"), ("lora", 2, "f32")):
            with self.subTest(kind=kind, threads=threads, compute=compute):
                self.check(0.05, finetuning_type=kind, threads=threads, compute=compute, data={"train": [self.rows(40)]})

    def test_more_rows_and_larger_batches(self):
        self.check(0.05, threads=2, per_device_train_batch_size=32, gradient_checkpointing=False, data={"train": [self.rows(2000)]})


if __name__ == "__main__":
    main()
