"""Ways of running models, measured in turns: each in a process of its own, in every round anew.

Memory and start are then each one's own, and warmth and other programs fall on all alike: rounds go forth and back
through the list.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgex_devices.tuning.candidate import Candidate
from edgex_devices.tuning.measure import Answer, Sample, Task
from edgex_runtime.schema import from_plain, to_plain

_LONGEST_S = 600
Progress = Callable[[int, int, str], None]
# What need not be measured again, and why, by what the first round showed.
LeaveOut = Callable[[Mapping[Candidate, Sample]], Mapping[Candidate, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of one candidate: a sample for each of its rounds, and why there are no more, if so."""

    samples: tuple[Sample, ...] = ()
    why: str = ""


def take_turns(
    tasks: Sequence[Task], rounds: int, progress: Progress | None = None, leave_out: LeaveOut | None = None
) -> dict[Candidate, Measured]:
    """Measure each task once a round; one that fails has no samples and takes no part any more.

    Args:
        tasks: Of different candidates.
        rounds: How many.
        progress: Called before each measurement with how many are done, how many there are, and its name.
        leave_out: Asked after the first round.
    """
    samples: dict[Candidate, list[Sample]] = {task.candidate: [] for task in tasks}
    whys: dict[Candidate, str] = {}
    remaining, done, total = list(tasks), 0, len(tasks) * rounds
    for turn in range(rounds):
        for task in remaining if turn % 2 == 0 else reversed(remaining):
            if progress:
                progress(done, total, str(task.candidate))
            done += 1
            answer = run_apart(task)
            if answer.sample:
                samples[task.candidate].append(answer.sample)
            else:
                samples[task.candidate].clear()
                whys[task.candidate] = answer.why
        remaining = [task for task in remaining if task.candidate not in whys]
        if turn == 0 and leave_out:
            whys |= leave_out({task.candidate: samples[task.candidate][0] for task in remaining})
            remaining = [task for task in remaining if task.candidate not in whys]
            total = done + len(remaining) * (rounds - 1)
    return {item: Measured(samples=tuple(found), why=whys.get(item, "")) for item, found in samples.items()}


def run_apart(task: Task) -> Answer:
    """Measure in a process of its own, which may end with the candidate."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "edgex_devices.tuning.measure"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(to_plain(task)),
            env=environment,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(why=f"not done within {_LONGEST_S} s")
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        more = ", which is how the kernel ends what takes more memory than there is" if name == "SIGKILL" else ""
        return Answer(why=f"its process ended with {name}{more}")
    if done.returncode:
        return Answer(why=(done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return from_plain(Answer, json.loads(done.stdout.strip().splitlines()[-1]), where="measurement")
