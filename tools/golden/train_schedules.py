#!/usr/bin/env python3
"""Learning rates of transformers.get_scheduler: for src/train/optim/schedule_test.cc.

    train_schedules.py tests/golden/train/schedules.json

Needs torch, transformers. One entry a schedule: what it was told, and the rate of every step (two beyond its end).
"""

import json
import pathlib
import sys

import torch
import transformers

CASES = [  # name, warm-up, total, lr_scheduler_kwargs
    ("constant", 0, 8, {}),
    ("constant_with_warmup", 3, 8, {}),
    ("linear", 0, 11, {}),
    ("linear", 4, 11, {}),
    ("cosine", 0, 11, {}),
    ("cosine", 3, 17, {}),
    ("cosine", 3, 17, {"num_cycles": 1.25}),
    ("cosine_with_restarts", 2, 20, {}),
    ("cosine_with_restarts", 2, 20, {"num_cycles": 3}),
    ("cosine_with_min_lr", 3, 17, {"min_lr": 2e-5}),
    ("cosine_with_min_lr", 0, 17, {"min_lr_rate": 0.1}),
    ("polynomial", 2, 15, {}),
    ("polynomial", 2, 15, {"power": 2.0, "lr_end": 1e-5}),
    ("inverse_sqrt", 4, 20, {}),
    ("inverse_sqrt", 0, 20, {"timescale": 5}),
    ("inverse_sqrt", 0, 6, {}),
    ("warmup_stable_decay", 4, 20, {"num_decay_steps": 6}),
    ("warmup_stable_decay", 4, 20, {"num_decay_steps": 6, "num_stable_steps": 5, "min_lr_ratio": 0.1, "decay_type": "linear"}),
    ("warmup_stable_decay", 5, 20, {"num_decay_steps": 7, "warmup_type": "cosine", "decay_type": "1-sqrt"}),
    ("warmup_stable_decay", 5, 20, {"num_decay_steps": 7, "warmup_type": "1-sqrt", "decay_type": "cosine", "num_cycles": 1.5, "min_lr_ratio": 0.05}),
]
PEAK = 3e-4


def rates(name, warmup, total, options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    schedule = transformers.get_scheduler(name, optimizer, warmup, total, scheduler_specific_kwargs=options)
    values = []
    for _ in range(total + 2):
        values.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return values


def main():
    lines = [json.dumps({"type": name, "learning_rate": PEAK, "warmup_steps": warmup, "total": total, "lr_scheduler_kwargs": options,
                         "rates": rates(name, warmup, total, options)}) for name, warmup, total, options in CASES]
    pathlib.Path(sys.argv[1]).write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
