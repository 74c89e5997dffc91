"""The learning rate of every step: linear warm-up, then a cosine (Loshchilov and Hutter 2017, arXiv:1608.03983)."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A learning rate for every step of a run.

    Attributes:
        peak: Reached when the warm-up ends.
        steps: Of the whole run.
        warmup_steps: Of the warm-up; a run that is shorter spends at most half of its steps in it.
        floor: Share of the peak that the last step still has.
    """

    peak: float
    steps: int
    warmup_steps: int
    floor: float = 0.01

    def at(self, step: int) -> float:
        """The learning rate of a step, counted from 0; never 0, so that the first step learns as well.

        >>> schedule = Schedule(peak=1.0, steps=12, warmup_steps=2, floor=0.0)
        >>> [schedule.at(step) for step in (0, 1, 2, 7)]
        [0.5, 1.0, 1.0, 0.5]
        """
        warmup = min(self.warmup_steps, self.steps // 2)
        if step < warmup:
            return self.peak * (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, self.steps - warmup))
        return self.peak * (self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2)
