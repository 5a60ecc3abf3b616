"""Forecasts over a matrix of stages, fine-tuning types, precisions, packing and checkpointing, on a tiny model: within 5 % of what is used."""

import pathlib
import subprocess
import sys
import unittest

from sedum_testing import PATIENCE, SEDUM, environment, main

MATRIX = pathlib.Path(__file__).resolve().parents[2] / "tools" / "plan_matrix"


class Plan(unittest.TestCase):
    def test_matrix(self):
        done = subprocess.run([sys.executable, MATRIX, "--sedum", SEDUM, "--size", "tiny", "--threads", "1"], env=environment(),
                              capture_output=True, text=True, timeout=2 * PATIENCE)
        print(done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stdout.count(" % |"), 24)


if __name__ == "__main__":
    main()
