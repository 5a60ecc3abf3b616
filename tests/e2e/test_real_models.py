"""What only real models show; $SEDUM_TEST_MODELS names the folder with qwen.gguf and smollm2.gguf."""

import unittest

from sedum_testing import SedumTest, Server, json_lines, main, real_model, recipe

QWEN, SMOLLM = real_model("qwen.gguf"), real_model("smollm2.gguf")


class Real(SedumTest):
    def setUp(self):
        super().setUp()
        if not QWEN or not SMOLLM:
            raise unittest.SkipTest("$SEDUM_TEST_MODELS does not name a folder with qwen.gguf and smollm2.gguf")


class Memory(Real):
    def test_lora_on_half_a_billion_parameters(self):
        """Batch 4 × 256: under 1 GiB of memory of its own beside the mapped weights, and forecast."""
        text = "Water deeply, then let the soil dry out completely before the next time. 多肉植物怕涝不怕旱。"
        rows = self.write_rows("rows.jsonl", [{"instruction": f"{i}: how do I water it?", "output": text * 16} for i in range(8)])
        config = self.write("recipe.yaml", recipe(model_name_or_path=str(QWEN), compute="bf16", output_dir="run", data={"train": [str(rows)]}, cutoff_len=256,
                                                  per_device_train_batch_size=4, max_steps=2, r=16, lora_alpha=32))
        events = json_lines(self.sedum("train", config, "--json").stdout)
        steps = [e for e in events if e["event"] == "step"]
        self.assertEqual([s["tokens"] for s in steps], [4 * 256] * 2)
        forecast, peak = events[-1]["forecast_bytes"], events[-1]["peak_bytes"]
        print(f"forecast {forecast / 2**20:.0f} MiB, used {peak / 2**20:.0f} MiB: {100 * (forecast / peak - 1):+.1f} %")
        self.assertLess(peak, 1 << 30)
        self.assertLess(abs(forecast / peak - 1), 0.05)


class Answers(Real):
    def test_server_and_generate_agree(self):
        question = "用一句话说明多肉植物为什么怕涝。"
        said = self.answer("--prompt", question, "--temperature", "0", "--max-tokens", "24", model=QWEN, threads=0)
        with Server(QWEN) as server:
            self.assertEqual(server.chat(question, max_tokens=24), said["text"])
        self.assertTrue(any("\u4e00" <= c <= "\u9fff" for c in said["text"]), said["text"])
        self.assertNotIn("\ufffd", said["text"])

    def test_converted_to_a_folder_it_says_the_same(self):
        """Special tokens, template and bits travel from GGUF to a folder."""
        self.sedum("convert", "--model", SMOLLM, "--out", "folder", "--type", "f32")
        ask = ["--prompt", "What is the capital of France?", "--temperature", "0", "--max-tokens", "12", "--compute", "f32"]
        first, second = self.answer(*ask, model=SMOLLM, threads=0), self.answer(*ask, model=self.folder / "folder", threads=0)
        self.assertEqual(first["prompt_ids"], second["prompt_ids"])
        self.assertEqual(first["text"], second["text"])
        self.assertIn("Paris", first["text"])


if __name__ == "__main__":
    main()
