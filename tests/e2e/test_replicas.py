"""deploy/nginx.conf: three replicas, one killed while clients ask, no request lost. Skipped where there is no nginx."""

import json
import pathlib
import shutil
import subprocess
import sys
import unittest

from sedum_testing import PATIENCE, SEDUM, TINY, SedumTest, environment, main

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "try_replicas.py"
NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")


class Replicas(SedumTest):
    @unittest.skipUnless(NGINX, "needs nginx")
    def test_one_is_killed(self):
        done = subprocess.run([sys.executable, "-B", SCRIPT, "--model", TINY, "--sedum", SEDUM, "--seconds", "6", "--clients", "6"], capture_output=True, text=True,
                              timeout=PATIENCE, env=environment())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertGreater(json.loads(done.stdout)["requests"], 10)


if __name__ == "__main__":
    main()
