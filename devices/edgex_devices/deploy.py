"""A bundle to one board or to many: what each of them answered, and whether all is well."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from edgex_devices.agent.manifest import MANIFEST, SIGNATURE, Manifest
from edgex_devices.agent.wire import Request
from edgex_devices.ssh import Ssh
from edgex_devices.transport import Board, LinkLostError, call
from edgex_runtime.errors import EdgexError

# A connection that broke may have left an agent at work, which frees the lock when it has done or noticed.
_WAIT_S = 120.0
_T = TypeVar("_T")
# Outcomes of what changes nothing.
_TELLING = ("status", "logs", "benched")
GOOD = ("unchanged", "deployed", "would deploy")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployOptions:
    """How.

    Attributes:
        ssh: How boards are reached.
        parallel: How many boards at a time.
        canary: So many boards first; the others only if all of these are well.
        retries: How often a broken connection is taken up again.
        dry_run: Say what would change, and change nothing.
        trust_key: Let boards that trust another key trust this one too.
        die_at: For tests: where the agent is killed.
    """

    ssh: Ssh = field(default_factory=Ssh)
    parallel: int = 16
    canary: int = 0
    retries: int = 2
    dry_run: bool = False
    trust_key: bool = False
    die_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResult:
    """What became of one board.

    Attributes:
        host: Its name.
        outcome: As `agent.transaction.Result.outcome`, or ``unreachable``, ``failed``, ``skipped``,
            ``damaged``.
        release: What was to be served.
        serving: What is served; None for nothing, or where nobody knows.
        why: Of what is not well.
        kind: The class of the error.
        seconds: How long it took.
        received_bytes: What was copied.
        figures: What the release showed in its window.
    """

    host: str
    outcome: str
    release: str
    serving: str | None = None
    why: str = ""
    kind: str = ""
    seconds: float = 0.0
    received_bytes: int = 0
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Whether the board serves what it should."""
        return self.outcome in GOOD


OnStep = Callable[[str, str], None]


def deploy(
    boards: Sequence[Board], folder: Path, manifest: Manifest, public: str, options: DeployOptions, on_step: OnStep
) -> Iterator[HostResult]:
    """Bring a bundle to boards; each result comes when it is known.

    Args:
        boards: Which.
        folder: The bundle, verified.
        manifest: Its own.
        public: The line of the public key that signed it.
        options: How.
        on_step: Told ``(host, step)``.
    """

    def one(board: Board) -> HostResult:
        return _deploy_one(board, folder, manifest, public, options, on_step)

    first, rest = boards[: options.canary], boards[options.canary :]
    is_well = True
    for result in _in_parallel(one, first, options):
        is_well = is_well and result.is_good
        yield result
    if is_well:
        yield from _in_parallel(one, rest, options)
        return
    for board in rest:
        why = "a canary is not well; nothing was touched here"
        yield HostResult(host=board.name, outcome="skipped", release=manifest.release, why=why)


def ask_each(
    boards: Sequence[Board], request: Request, options: DeployOptions, on_step: OnStep
) -> Iterator[tuple[Board, HostResult | dict[str, Any]]]:
    """Ask boards for their status, log or figures, or to go back to the release before; answers come as they are there.

    Args:
        boards: Which.
        request: What; its service and root are each board's own.
        options: How.
        on_step: Told ``(host, step)``.

    Returns:
        A `HostResult` for what changes something or fails, the agent's answer for what only tells.
    """

    def one(board: Board) -> tuple[Board, HostResult | dict[str, Any]]:
        return board, ask(board, replace(request, service=board.service, root=board.root), options, on_step)

    yield from _in_parallel(one, boards, options)


def ask(board: Board, request: Request, options: DeployOptions, on_step: OnStep) -> HostResult | dict[str, Any]:
    """Ask one board; as `ask_each`."""
    started = time.monotonic()
    try:
        answer = call(board, request, Path(), b"", lambda step: on_step(board.name, step), options.ssh)
    except EdgexError as error:
        return _failed(board, "", error, time.monotonic() - started)
    if answer["outcome"] in _TELLING:
        return answer
    return _result(board, answer, time.monotonic() - started)


def _deploy_one(
    board: Board, folder: Path, manifest: Manifest, public: str, options: DeployOptions, on_step: OnStep
) -> HostResult:
    started = time.monotonic()
    text, signature = (folder / MANIFEST).read_bytes(), (folder / SIGNATURE).read_bytes()
    request = Request(
        action="plan" if options.dry_run else "deploy",
        app=manifest.app,
        service=board.service,
        root=board.root,
        public=public,
        trust_key=options.trust_key,
        manifest_bytes=len(text),
        signature_bytes=len(signature),
        die_at=options.die_at,
    )
    for attempt in range(options.retries + 1):
        try:
            answer = call(
                board,
                replace(request, wait_s=_WAIT_S if attempt else 0.0),
                folder,
                text + signature,
                lambda step: on_step(board.name, step),
                options.ssh,
            )
            return _result(board, answer, time.monotonic() - started)
        except LinkLostError as error:
            if attempt == options.retries or options.ssh.links.is_closed:
                return _failed(board, manifest.release, error, time.monotonic() - started)
            on_step(board.name, "connecting-again")
        except EdgexError as error:
            return _failed(board, manifest.release, error, time.monotonic() - started)
    raise AssertionError("every attempt returns or is followed by another")


def _in_parallel(one: Callable[[Board], _T], boards: Sequence[Board], options: DeployOptions) -> Iterator[_T]:
    """Results as they come; whoever stops asking for them (Ctrl-C) ends what is under way, and nothing more begins."""
    if not boards:
        return
    pool = ThreadPoolExecutor(max_workers=min(options.parallel, len(boards)))
    try:
        waiting = {pool.submit(one, board) for board in boards}
        while waiting:
            # Now and then: a Ctrl-C just before the wait begins is not seen by Python until the wait ends.
            done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
            for each in done:
                yield each.result()
    except BaseException:
        options.ssh.links.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _result(board: Board, answer: dict[str, Any], seconds: float) -> HostResult:
    known = {name: value for name, value in answer.items() if name in HostResult.__dataclass_fields__}
    return HostResult(host=board.name, seconds=seconds, **known)


def _failed(board: Board, release: str, error: EdgexError, seconds: float) -> HostResult:
    kind = "DeviceUnavailableError" if isinstance(error, LinkLostError) else type(error).__name__
    outcome = "unreachable" if kind == "DeviceUnavailableError" else "failed"
    return HostResult(host=board.name, outcome=outcome, release=release, why=str(error), kind=kind, seconds=seconds)
