#!/usr/bin/env python3
"""The mutation check of a lesson: with each of its bugs planted, one of its claims must break.

    course/frame/check_bugs.py PROGRAM      exit 1 when a bug goes unnoticed, crashes the lesson, or is graded wrongly
"""

import json
import pathlib
import subprocess
import sys
import tempfile


def run(program, *options):
    return subprocess.run([program, *options], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)


def check_bug(program, bug, folder):
    """Why planting `bug` is not noticed as it should be, or None."""
    done = run(program, "--quick", f"--break={bug}", "--out", folder)
    result = pathlib.Path(folder) / "result.json"
    if done.returncode != 1 or not result.exists():
        return f"exit code {done.returncode}, a broken claim gives 1: {done.stderr.strip()[-300:]}"
    broken = [claim["name"] for claim in json.loads(result.read_text())["claims"] if not claim["holds"]]
    if not broken or "broken:" not in done.stderr:
        return "no claim broke"
    print(f"{bug}: breaks {', '.join(broken)}")
    return None


def check_grading(program, bugs):
    """Exactly one name is right for a seed."""
    right = [bug for bug in bugs if run(program, "--seed", "3", "--found", bug).returncode == 0]
    return None if len(right) == 1 else f"--found takes {right} for the bug of one seed"


def main():
    program = sys.argv[1]
    bugs = run(program, "--bugs").stdout.split()
    problems = []
    if not bugs:
        problems.append("it lists no bug")
    for bug in bugs:
        with tempfile.TemporaryDirectory() as folder:
            if problem := check_bug(program, bug, folder):
                problems.append(f"{bug}: {problem}")
    if bugs and (problem := check_grading(program, bugs)):
        problems.append(problem)
    for problem in problems:
        print(f"{program}: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
