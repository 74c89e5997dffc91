"""The environment that a release runs in, made offline from the bundle's own wheels, and the release's proof in it."""

import errno
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from edgex_devices.agent.config import INSTALLER, REQUIREMENTS, WHEELHOUSE, AppConfig
from edgex_devices.agent.integrity import environment_damage, list_environment
from edgex_devices.agent.store import COMPLETE, INSTALLED, Reach, Store, sync
from edgex_runtime.atomic import atomic_write
from edgex_runtime.errors import ContractMismatchError, DeployError

_INSTALL_S = 3600
_PROOF_S = 1800
_NOBODY = "nobody"


def install(store: Store, release: Path, config: AppConfig, *, as_nobody: bool, reach: Reach) -> None:
    """Make a release's environment, let it prove itself there, and call it installed.

    Args:
        store: The app's folder.
        release: Its folder, with all files.
        config: Its own.
        as_nobody: Whether the proof runs without this process's rights.
        reach: Told each step.

    Raises:
        DeployError: If the board has no fitting Python, or pip fails.
        ContractMismatchError: If the model answers otherwise than on the host.
    """
    env = _environment(store, release, config, reach)
    verdict = prove(store, release, config, env, as_nobody=as_nobody)
    reach("proved")
    # The links did not wait for the disk; what installed.json calls whole has to be.
    for path in (release, *release.rglob("*")):
        sync(path)
    sync(release.parent)
    with atomic_write(release / INSTALLED) as file:
        file.write(json.dumps({"env": env, "proof": verdict}).encode())
    reach("installed")


def interpreter(store: Store, config: AppConfig, env: str) -> list[str]:
    """What runs a module of a release.

    The app may write where it runs, and `python -m` would import from there before anything that was signed: `-I` shuts
    that out. An environment of the board's own is what its owner made it, PYTHONPATH included: there it is
    `clean_environment` that does, for Python 3.11 and newer.
    """
    return [config.python] if config.environment == "board" else [str(store.envs / env / "bin" / "python"), "-I"]


def release_interpreter(store: Store, release: Path, config: AppConfig) -> list[str]:
    """What runs a module of an installed release."""
    return interpreter(store, config, json.loads((release / INSTALLED).read_bytes())["env"])


def prove(store: Store, release: Path, config: AppConfig, env: str, *, as_nobody: bool) -> dict[str, object]:
    """Run the self-test and the bundle's pictures in the release's environment.

    Returns:
        `proof.Verdict`, as plain data.

    Raises:
        ContractMismatchError: If an answer is not the host's.
        DeployError: If the environment cannot run it at all.
    """
    command = [*interpreter(store, config, env), "-m", "edgex_devices.proof", str(release)]
    # A cache of its own: no verdict from an earlier start stands in for the test.
    with tempfile.TemporaryDirectory(prefix="edgex-proof-") as cache:
        done = run_as_app(command, cache, timeout_s=_PROOF_S, as_nobody=as_nobody)
    try:
        verdict: dict[str, object] = json.loads(done.stdout)
    except ValueError:
        raise DeployError(f"the model could not be tried on the board: {_last(done.stderr)}") from None
    if verdict["same"] is not True:
        raise ContractMismatchError(f"the predictions differ: {verdict['why']}", field="predictions")
    return verdict


def run_as_app(
    command: list[str], cache: str, *, text: str = "", timeout_s: float, as_nobody: bool
) -> "subprocess.CompletedProcess[str]":
    """Run a release's program as its service would, as far as rights and environment go.

    Args:
        command: Begins with `interpreter`.
        cache: A folder that it may write to.
        text: For its standard input.
        timeout_s: For all of it.
        as_nobody: Whether it runs without this process's rights.

    Raises:
        DeployError: If it cannot be run, or does not end in time.
    """
    if as_nobody:
        shutil.chown(cache, _NOBODY)
    try:
        return subprocess.run(
            command,
            cwd="/",
            env=clean_environment({"EDGEX_CACHE_DIR": cache, "HOME": cache}),
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            user=_NOBODY if as_nobody else None,
            extra_groups=[] if as_nobody else None,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeployError(f"the model could not be tried on the board: {error}") from error


def clean_environment(extra: dict[str, str]) -> dict[str, str]:
    """What a release's processes see of the environment: nothing of Python's settings of whoever deploys."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "TZ") if name in os.environ}
    return {**kept, "PYTHONSAFEPATH": "1", **extra}


def _environment(store: Store, release: Path, config: AppConfig, reach: Reach) -> str:
    if config.environment == "board":
        if shutil.which(config.python) is None:
            raise DeployError(f"want the board's own {config.python}, which is not there: see --python-on-board")
        reach("environment-found")
        return ""
    python = _find_python(config.python)
    lock = (release / REQUIREMENTS).read_bytes()
    key = hashlib.sha256(lock + python.encode()).hexdigest()[:16]
    folder = _place(store, key)
    if not (folder / COMPLETE).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        try:
            _make_environment(folder, release, python, reach)
        except (DeployError, OSError):
            # Most often the disk is full: the app that runs there needs the room, and nobody half an environment.
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return folder.name


def _place(store: Store, key: str) -> Path:
    """The whole environment of that key, or where one is to be made: never in the place of one that is in use."""
    for number in itertools.count():
        folder = store.envs / (f"{key}-{number}" if number else key)
        if not (folder / COMPLETE).is_file() or not environment_damage(folder):
            return folder
    raise AssertionError("there is always another number")


def _make_environment(folder: Path, release: Path, python: str, reach: Reach) -> None:
    folder.parent.mkdir(exist_ok=True)
    # Neither ensurepip nor pip are needed on the board: Debian's python3 comes without them.
    _run([python, "-m", "venv", "--without-pip", str(folder)])
    reach("environment-made")
    installer = next((release / INSTALLER).glob("pip-*.whl"))
    options = ["--no-index", "--find-links", str(release / WHEELHOUSE), "--no-deps", "--require-hashes"]
    quiet = ["--quiet", "--no-cache-dir", "--disable-pip-version-check", "--no-input", "--root-user-action=ignore"]
    lock = ["--requirement", str(release / REQUIREMENTS)]
    _run([str(folder / "bin" / "python"), f"{installer}/pip", "install", *quiet, *options, *lock])
    reach("environment-installed")
    # Thousands of files: one call for the whole disk is faster than one each.
    os.sync()
    listed = list_environment(folder)
    with atomic_write(folder / COMPLETE) as file:
        file.write(listed.encode())
    reach("environment-complete")


def _find_python(version: str) -> str:
    """The board's Python of that version.

    Raises:
        DeployError: If it has another one; it says which.
    """
    own = ".".join(map(str, sys.version_info[:2]))
    if own == version:
        return os.path.realpath(sys.executable)
    found = shutil.which(f"python{version}")
    if found is None:
        raise DeployError(
            f"the bundle is for Python {version}, the board has {own}: make it for the board's system "
            "(--board raspberry-pi-5:trixie), or install that Python there"
        )
    return os.path.realpath(found)


def _run(command: list[str]) -> None:
    environment = clean_environment({"PIP_CONFIG_FILE": os.devnull})
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_INSTALL_S, check=False, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeployError(f"the environment cannot be made: {error}") from error
    if done.returncode:
        said = done.stderr or done.stdout
        if os.strerror(errno.ENOSPC) in said:
            raise OSError(errno.ENOSPC, "while the environment was made")
        raise DeployError(f"the environment cannot be made: {_last(said)}")


def _last(text: str) -> str:
    return " / ".join(text.strip().splitlines()[-3:])
