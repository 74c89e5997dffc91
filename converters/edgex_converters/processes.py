"""Where a step runs: in this process, or in one of its own, beside others that do not wait for it.

Not in threads: the tools' output is caught at the process's file descriptors, and their memory is only given back when
their process ends. A tool that crashes the process fails its own step and no other.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from multiprocessing.connection import Connection
from typing import Any, Protocol

from edgex_converters.stage import Stage
from edgex_converters.target import Target
from edgex_runtime.errors import EdgexError, StageError
from edgex_runtime.privacy import decline_telemetry


class Runner(Protocol):
    """Runs a step of `work` to its end, and raises what it raises."""

    def __call__(self, step: Callable[..., None], *args: Any) -> None:
        """Run ``step(*args)``."""
        ...


def run_here(step: Callable[..., None], *args: Any) -> None:
    """Run a step in this process."""
    step(*args)


def run_apart(step: Callable[..., None], *args: Any) -> None:
    """Run a step in a process of its own, which ends when this one does; what it is given goes there by pickle.

    Raises:
        EdgexError: What the step raised.
        StageError: If the process ended without an answer.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, step, args), daemon=True)
    process.start()
    sender.close()
    try:
        failure: EdgexError | None = receiver.recv()
    except EOFError:
        process.join()
        raise StageError(
            f"{step.__name__}: its process ended with code {process.exitcode} and no answer; "
            "-9 is mostly the system out of memory: fewer --jobs need less"
        ) from None
    process.join()
    if failure is not None:
        raise failure


def in_order(stages: Sequence[Stage], attempt: Callable[[Stage], None], jobs: int) -> None:
    """Call `attempt` once for each stage, after the one that it starts from, at most `jobs` at a time."""
    if jobs == 1:
        for stage in stages:
            attempt(stage)
        return
    waiting = list(stages)
    done: set[Target | None] = {None}
    running: dict[Future[None], Stage] = {}
    with ThreadPoolExecutor(jobs) as pool:
        while waiting or running:
            for stage in [stage for stage in waiting if stage.requires in done]:
                waiting.remove(stage)
                running[pool.submit(attempt, stage)] = stage
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                done.add(running.pop(future).ensures)


def _child(sender: Connection, step: Callable[..., None], args: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    decline_telemetry()
    try:
        step(*args)
    except EdgexError as error:
        sender.send(error)
    else:
        sender.send(None)


def _end_with_parent() -> None:
    """A parent that is killed cannot end its children."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
