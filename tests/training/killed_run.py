"""Train in a process of its own, which may kill itself: killed_run.py DATA OUT MOMENT [--resume].

MOMENT is ``never``, or ``EPOCH:COUNT``: SIGKILL once that many photos of that epoch are done.
"""

import os
import signal
import sys
from pathlib import Path

from edgex.training.config import TrainConfig
from edgex.training.loop import train
from edgex.training.observer import EpochMetrics


class Killer:
    def __init__(self, moment: str) -> None:
        epoch, _, count = moment.partition(":")
        self.stage_name, self.count = f"epoch {epoch} ", int(count or 0)
        self.now, self.done = "", 0

    def stage(self, name: str, total: int) -> None:
        self.now, self.done = name, 0

    def advance(self, count: int) -> None:
        self.done += count
        if self.now.startswith(self.stage_name) and self.done >= self.count:
            os.kill(os.getpid(), signal.SIGKILL)

    def epoch(self, metrics: EpochMetrics) -> None:
        pass


def run(data: str, out: str, moment: str, *, resume: bool) -> None:
    config = TrainConfig(
        data=Path(data),
        out=Path(out),
        name="net",
        width=0.05,
        middle_blocks=0,
        image_size=48,
        dropout=0.2,
        epochs=4,
        batch_size=16,
        device="cpu",
        workers=2,
        resume=resume,
    )
    train(config, Killer(moment))


if __name__ == "__main__":
    # Several runs in one process spare the imports; only the last may be killed.
    for arguments in " ".join(sys.argv[1:]).split(" , "):
        words = arguments.split()
        run(*words[:3], resume="--resume" in words)
