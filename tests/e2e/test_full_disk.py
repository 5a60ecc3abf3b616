"""A disk that fills up during training: one clear line, the last good checkpoint intact, and the run goes on when there is room again."""

import shutil
import subprocess
import unittest

from sedum_testing import PATIENCE, SEDUM, SedumTest, environment, json_lines, lines_of, main, recipe

# Mounts are private to the shell, and gone with it. One checkpoint of the tiny model takes 570 KB.
SCRIPT = r"""
set -e
mount -t tmpfs -o size=1m tmpfs disk
set +e
"$SEDUM" train full.yaml 2> full.stderr > full.stdout
echo $? > full.code
cp -r disk/run kept
df disk > df.txt
mount -o remount,size=20m disk
"$SEDUM" train full.yaml > again.stdout 2> again.stderr
echo $? > again.code
cp -r disk/run finished
"""


def may_mount(shell):
    probe = [*shell, "mount -t tmpfs tmpfs /mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(probe, capture_output=True).returncode == 0


def private_shell():
    """A shell whose mounts nobody else sees: as root, or as root of a user namespace."""
    for options in (["-m"], ["-r", "-m"]):
        shell = ["unshare", *options, "sh", "-c"]
        if may_mount(shell):
            return shell
    return None


class FullDisk(SedumTest):
    def test_training(self):
        shell = private_shell()
        if not shell:
            raise unittest.SkipTest("no small file system can be mounted here (root or user namespaces are needed)")
        self.write_rows("rows.jsonl", [{"instruction": f"{i}?", "output": f"{i}!"} for i in range(8)])
        keys = {"finetuning_type": "full", "data": {"train": ["rows.jsonl"]}, "cutoff_len": 64, "max_steps": 6, "save_steps": 2, "threads": 1}
        self.write("full.yaml", recipe(output_dir="disk/run", **keys))
        (self.folder / "disk").mkdir()
        done = subprocess.run([*shell, SCRIPT], cwd=self.folder, env=environment(SEDUM=SEDUM), capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)

        read = lambda name: (self.folder / name).read_text()
        self.assertEqual(read("full.code").strip(), "1", read("full.stderr"))
        errors = [line for line in lines_of(read("full.stderr")) if not line.startswith("training:")]
        self.assertEqual(len(errors), 1, errors)
        self.assertIn("No space left on device", errors[0])
        self.assertIn("disk/run/checkpoint-4", errors[0])

        # The checkpoint before is whole, and nothing stands under the name of the one that could not be written.
        checkpoints = sorted(p.name for p in (self.folder / "kept").glob("checkpoint-*") if not p.name.endswith(".unfinished"))
        self.assertEqual(checkpoints, ["checkpoint-2"])
        self.sedum("train", self.write("alone.yaml", recipe(output_dir="alone", **{**keys, "save_total_limit": 9})))
        self.assertSameTensors(self.folder / "kept/checkpoint-2/state.safetensors", self.folder / "alone/checkpoint-2/state.safetensors")

        # With room, it goes on from there to the same result.
        self.assertEqual(read("again.code").strip(), "0", read("again.stderr"))
        self.assertIn("going on from step 2", read("again.stdout"))
        self.assertSameTensors(self.folder / "finished/model/model.safetensors", self.folder / "alone/model/model.safetensors")
        steps = [line["step"] for line in json_lines(read("finished/metrics.jsonl"))]
        self.assertEqual(steps, [1, 2, 3, 4, 5, 6])


if __name__ == "__main__":
    main()
