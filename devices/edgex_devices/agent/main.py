"""The agent: what the host's request, or the board's own boot, calls. It is sent along with every request."""

import json
import os
import signal
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

from edgex_devices.agent import launch
from edgex_devices.agent.bench import BenchRequest, bench, resume
from edgex_devices.agent.health import HEALTH_FILE, read_health
from edgex_devices.agent.integrity import damage
from edgex_devices.agent.manifest import MAX_MANIFEST_BYTES, BundledFile, Manifest, check_app
from edgex_devices.agent.room import explain
from edgex_devices.agent.service import SERVICES, Process, Systemd, default_root
from edgex_devices.agent.signature import MAX_SIGNATURE_BYTES, public_key, signer_line, trusted_keys, verify
from edgex_devices.agent.store import LockedError, Store
from edgex_devices.agent.transaction import Result, Transaction, plan
from edgex_devices.agent.wire import Request, Wire, kind_of
from edgex_runtime.atomic import atomic_write
from edgex_runtime.errors import BadInputError, BundleError, DeployError, EdgexError

_LENGTH_DIGITS = 8
SERVICE_FILE = "service"


def serve(wire: Wire | None = None) -> int:
    """Answer one request; on descriptors 0 and 1, unless the host is elsewhere."""
    wire = wire or Wire()
    # The app's own user, who is nobody in particular, has to read what this process makes.
    os.umask(0o022)
    try:
        request = Request.from_json(wire.read_exactly(int(wire.read_exactly(_LENGTH_DIGITS))))
        store = _store_of(request)
    except (EdgexError, OSError) as error:
        wire.tell("result", **_refusal(error, None))
        return 1
    try:
        result = answer(request, store, wire)
    except (EdgexError, OSError) as error:
        wire.tell("result", **_refusal(explain(error, store.root), store.linked()))
        return 1
    wire.tell("result", **result)
    return 0


def act(action: str, root: Path) -> int:
    """What units and inits call: ``recover``, ``exec``, ``run`` or ``resume``, with the app's folder.

    Raises:
        BadInputError: If there is no such action.
    """
    store = Store(root)
    if action == "recover":
        _recover(store)
        return 0
    service = _service_of(store)
    run_folder = service.run_folder
    if action == "resume":
        resume(store, service)
        return 0
    if action == "exec":
        launch.exec_current(store, run_folder)
    elif action == "run":
        if _recover(store):
            # What supervises the release is what came with it.
            os.execv(sys.executable, [sys.executable, "-I", str(store.agent), "run", str(root)])
        return launch.supervise(store, run_folder)
    raise BadInputError(f"want recover, exec, run or resume, got {action!r}")


def _refusal(error: Exception, serving: str | None) -> dict[str, object]:
    return {"outcome": "refused", "release": "", "serving": serving, "why": str(error), "kind": kind_of(error)}


def _store_of(request: Request) -> Store:
    check_app(request.app)
    root = Path(request.root) if request.root else default_root(request.service, request.app)
    if request.root and request.service != "process":
        raise BadInputError(f"root: {request.service}'s unit names {default_root(request.service, request.app)}")
    if not root.is_absolute():
        raise BadInputError(f"root: want a path from / (the app does not start where you log in), got {request.root!r}")
    store = Store(root)
    _hold_service(store, request.service)
    return store


def _hold_service(store: Store, service: str) -> None:
    """One folder is one service manager's: two would each start what the other has ended."""
    try:
        found = (store.root / SERVICE_FILE).read_text(encoding="ascii")
    except FileNotFoundError:
        return
    if found != service:
        raise BadInputError(
            f"{store.root}: want an app that {service} runs, this one is run by {found}: --service {found}, another "
            "--root, or end that one and remove its folder"
        )


def answer(request: Request, store: Store, wire: Wire) -> dict[str, object]:
    """Do what is asked for.

    Raises:
        EdgexError: Why it cannot be done.
        OSError: The same, of the board's files.
    """
    service = SERVICES[request.service](store, request.app)
    if request.action == "status":
        return _status(store, service, verify=request.verify)
    if request.action == "logs":
        return {"outcome": "logs", "text": service.logs(request.lines)}
    if request.action == "plan":
        manifest, _ = _verified(request, wire, store)
        return asdict(plan(store, manifest))
    if request.action == "bench":
        return _bench(request, wire, store, service)
    return asdict(_change(request, wire, store, service))


def _bench(request: Request, wire: Wire, store: Store, service: "Systemd | Process") -> dict[str, object]:
    if store.linked() is None:
        raise DeployError(f"{store.root}: nothing is installed yet: edgex deploy")
    reach = partial(_reach, wire, request.die_at)
    wanted = BenchRequest(**{name: getattr(request, name) for name in BenchRequest.__dataclass_fields__})
    with store.lock(wait_s=request.wait_s):
        return bench(store, service, wanted, as_nobody=request.service == "systemd", reach=reach)


def _change(request: Request, wire: Wire, store: Store, service: "Systemd | Process") -> Result:
    reach = partial(_reach, wire, request.die_at)
    with store.lock(wait_s=request.wait_s):
        reach("locked")
        transaction = Transaction(store, service, as_nobody=request.service == "systemd", reach=reach)
        if request.action == "rollback":
            return transaction.roll_back()
        if request.action != "deploy":
            raise BadInputError(f"the agent knows no {request.action!r}")
        manifest, signature = _verified(request, wire, store)
        # Nothing of this deploy stays on the board before its signature is known to be good: no key, and no program.
        _put(store.signers, _signers(store, request))
        _put(store.root / SERVICE_FILE, request.service.encode())
        reach("signature-verified")
        return transaction.deploy(manifest, signature, partial(_ask, wire), wire.read)


def _reach(wire: Wire, die_at: str, step: str) -> None:
    wire.tell("step", name=step)
    if step == die_at:
        os.kill(os.getpid(), signal.SIGKILL)


def _ask(wire: Wire, needed: list[tuple[BundledFile, int]]) -> None:
    wire.tell("need", files=[[file.path, here] for file, here in needed])


def _verified(request: Request, wire: Wire, store: Store) -> tuple[Manifest, bytes]:
    if request.manifest_bytes > MAX_MANIFEST_BYTES or request.signature_bytes > MAX_SIGNATURE_BYTES:
        raise BundleError("bundle: its manifest or its signature is too long to be one")
    text, signature = wire.read_exactly(request.manifest_bytes), wire.read_exactly(request.signature_bytes)
    verify(text, signature, _signers(store, request))
    manifest = Manifest.from_json(text)
    if manifest.app != request.app:
        raise BundleError(f"bundle: it is of the app {manifest.app!r}, not {request.app!r}")
    return manifest, signature


def _signers(store: Store, request: Request) -> bytes:
    """Who is trusted: those that the board knows; the key of the first deploy; others when that is asked for."""
    before = store.signers.read_bytes() if store.signers.exists() else b""
    known = trusted_keys(before)
    if public_key(request.public) in known or (known and not request.trust_key):
        return before
    return before + signer_line(request.public).encode()


def _status(store: Store, service: "Systemd | Process", *, verify: bool) -> dict[str, object]:
    state = store.state()
    health = read_health(service.run_folder / HEALTH_FILE)
    return {
        "outcome": "status",
        "serving": store.linked(),
        "active": state.current is not None and service.is_active(),
        "health": health,
        "damage": _damage_of_all(store) if verify else None,
        **asdict(state),
    }


def _damage_of_all(store: Store) -> list[str]:
    state = store.state()
    names = [name for name in (state.current, state.previous) if name and store.is_installed(name)]
    return list(dict.fromkeys(path for name in names for path in damage(store, name, everything=True)))


def _recover(store: Store) -> bool:
    """At boot, and before each start: unless a deploy is at work, serve what was kept last.

    Returns:
        Whether that is another release than `current` named.
    """
    try:
        with store.lock():
            has_moved = store.recover()
            if has_moved and (kept := store.state().current):
                service = _service_of(store)
                if isinstance(service, Systemd):
                    service.put_unit(store.release(kept))
            return has_moved
    except LockedError:
        sys.stderr.write("a deploy is under way on this board; it decides what is served\n")
        return False
    except (DeployError, OSError) as error:
        sys.stderr.write(f"left as it is: {error}\n")
        return False


def _service_of(store: Store) -> "Systemd | Process":
    try:
        name = (store.root / SERVICE_FILE).read_text(encoding="ascii")
    except FileNotFoundError as error:
        raise BadInputError(f"{store.root}: nothing was deployed here yet: edgex deploy") from error
    return SERVICES[name](store, store.root.name if name != "process" else "")


def _put(path: Path, data: bytes) -> None:
    if not path.is_file() or path.read_bytes() != data:
        with atomic_write(path) as file:
            file.write(data)
            os.fchmod(file.fileno(), 0o644)


def main(arguments: list[str]) -> int:
    """`current/agent.pyz ACTION ROOT`."""
    try:
        action, root = arguments
        return act(action, Path(root))
    except EdgexError as error:
        sys.stderr.write(json.dumps({"error": str(error)}) + "\n")
        return 1
