"""`edgex bundle`: a model and all that a board needs to run it, as a signed folder and as one file."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from edgex_devices.agent.archive import check_folder, digest, unpack, write_archive
from edgex_devices.agent.config import (
    AGENT,
    CONFIG,
    INSTALLER,
    PROOF,
    REQUIREMENTS,
    WHEELHOUSE,
    Alarm,
    AppConfig,
    Health,
)
from edgex_devices.agent.manifest import MANIFEST, SIGNATURE, BundledFile, Manifest, check_app, check_path
from edgex_devices.agent.signature import sign, signer_line
from edgex_devices.agent_zip import agent_zip
from edgex_devices.keys import SigningKey
from edgex_devices.own_wheel import write_own_wheel
from edgex_devices.profile import Profile
from edgex_devices.proof import PHOTOS, record
from edgex_devices.unit import UnitOptions, journald_conf, needs_network, system_unit, user_unit
from edgex_runtime.engines.registry import entry_for
from edgex_runtime.errors import BadInputError, BundleError
from edgex_runtime.metadata.registry import artifact_files, read_spec

SUFFIX = ".edgex"
SYSTEM = "system"
USER = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleOptions:
    """What a bundle is made of.

    Attributes:
        model: The artifact.
        profile: Of the board.
        app: Its name on the board; None takes it from the contract's.
        source: What `edgex live` opens there; None is the profile's camera.
        sinks: Where results go.
        spec: For a model without a contract.
        engine: None for the one of the file's suffix.
        device: For the engine.
        threads: None is the profile's.
        photos: Pictures that travel with it and whose answers the board has to repeat.
        python_on_board: An interpreter of the board's whose environment has edgex; no wheels travel then.
        wheels: A folder of wheels that are taken instead of the registry's.
        lock: ``requirements.txt`` of an earlier bundle, whose very wheels are taken.
        health: What a new release must show.
    """

    model: Path
    profile: Profile
    app: str | None = None
    source: str | None = None
    sinks: tuple[str, ...] = ()
    spec: Path | None = None
    engine: str | None = None
    device: str = "auto"
    threads: int | None = None
    photos: tuple[Path, ...] = ()
    python_on_board: str | None = None
    wheels: Path | None = None
    lock: Path | None = None
    health: Health = field(default_factory=Health)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle that was made: its folder, its archive and its list."""

    folder: Path
    archive: Path
    manifest: Manifest


def make_bundle(options: BundleOptions, key: SigningKey, out: Path) -> Bundle:
    """Make ``out/APP-BOARD/`` and ``out/APP-BOARD.edgex``; earlier ones of that name are replaced.

    Raises:
        BadInputError: If the model does not suit the board, or a name cannot be used.
        BundleError: If wheels cannot be had.
        EdgexError: If the model cannot be opened here, or fails its self-test: what it answers is part of the bundle.
    """
    app = options.app or app_name(options.model)
    check_app(app)
    # Before minutes go into wheels.
    for file in (*artifact_files(options.model), *([options.spec] if options.spec else [])):
        check_path(f"model/{file.name}")
    folder = out / f"{app}-{options.profile.name}"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=out) as name:
        new = Path(name) / "bundle"
        new.mkdir()
        config = _write_app(new, options)
        _write_units(new, app, options, config)
        if config.environment == "wheelhouse":
            _write_wheels(new, options)
        (new / PROOF).write_bytes(record(new, config).to_json())
        manifest = seal(new, key, app=app, board=f"{options.profile.name}:{options.profile.system.name}")
        archive = folder.with_name(folder.name + SUFFIX)
        write_archive(archive, new)
        if folder.exists():
            shutil.rmtree(folder)
        new.rename(folder)
    return Bundle(folder=folder, archive=archive, manifest=manifest)


def seal(folder: Path, key: SigningKey, *, app: str, board: str) -> Manifest:
    """List and sign what stands in a folder."""
    names = sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
    )
    files = []
    for name in names:
        if name in (MANIFEST, SIGNATURE):
            continue
        size, sha256 = digest(folder / name)
        files.append(BundledFile(path=name, size=size, sha256=sha256))
    manifest = Manifest(app=app, board=board, edgex=version("edgex"), files=tuple(files))
    (folder / MANIFEST).write_bytes(manifest.to_json())
    (folder / SIGNATURE).write_bytes(sign(manifest.to_json(), key.private))
    return manifest


@contextmanager
def open_bundle(path: Path, public: str) -> Iterator[tuple[Path, Manifest]]:
    """A bundle's folder, verified: the folder itself, or an archive unpacked for as long as the block lasts.

    Args:
        path: A folder or an archive.
        public: The line of the public key that must have signed it.

    Raises:
        BundleError: If it is not what that key has signed.
    """
    if not path.exists():
        raise BundleError(f"{path}: want a bundle, there is none: make one with `edgex bundle`")
    with tempfile.TemporaryDirectory(prefix="edgex-bundle-") as name:
        signers = Path(name) / "allowed_signers"
        signers.write_text(signer_line(public), encoding="utf-8")
        if path.is_dir():
            yield path, check_folder(path, signers)
        else:
            manifest = unpack(path, Path(name) / "bundle", signers)
            yield Path(name) / "bundle", manifest


def app_name(model: Path) -> str:
    """What an app is called that nobody named: after the contract's name, else the file's."""
    spec = read_spec(model)
    plain = re.sub(r"[^a-z0-9]+", "-", (spec.name if spec else model.stem).lower()).strip("-")
    return plain[:32].strip("-")


def _write_app(folder: Path, options: BundleOptions) -> AppConfig:
    profile = options.profile
    for file in artifact_files(options.model):
        _copy(file, folder / "model" / file.name)
    if options.spec:
        _copy(options.spec, folder / "model" / options.spec.name)
    for number, photo in enumerate(options.photos):
        _copy(photo, folder / PHOTOS / f"{number:04}{photo.suffix.lower()}")
    alarms = tuple(
        Alarm(file=reading.file, command=reading.command)
        for reading in profile.readings
        if reading.what == "throttling" and reading.unit in ("bits", "flag")
    )
    config = AppConfig(
        model=f"model/{options.model.name}",
        source=profile.camera if options.source is None else options.source,
        sinks=options.sinks,
        spec=f"model/{options.spec.name}" if options.spec else None,
        engine=options.engine,
        device=options.device,
        threads=options.threads or profile.threads,
        python=options.python_on_board or profile.python,
        environment="board" if options.python_on_board else "wheelhouse",
        health=options.health,
        alarms=alarms,
    )
    (folder / CONFIG).write_bytes(config.to_json())
    (folder / AGENT).write_bytes(agent_zip())
    return config


def _write_units(folder: Path, app: str, options: BundleOptions, config: AppConfig) -> None:
    unit = UnitOptions(
        app=app,
        title=options.model.name,
        start_s=config.health.start_s,
        watchdog_s=config.health.watchdog_s,
        memory_limit_mb=options.profile.memory_limit_mb,
        network=needs_network((config.source, *config.sinks)),
        gpu=config.device in ("gpu", "npu"),
    )
    texts = {
        f"{SYSTEM}/edgex-{app}.service": system_unit(unit),
        f"{SYSTEM}/journald@edgex-{app}.conf": journald_conf(app),
        f"{USER}/edgex-{app}.service": user_unit(unit),
    }
    for name, text in texts.items():
        # A manifest's names have no @, which systemd's file wants: the agent puts it back.
        path = folder / name.replace("@", "-")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _write_wheels(folder: Path, options: BundleOptions) -> None:
    # Here and not at the top: `packaging`, which it stands on, is an extra, and deploy does without.
    from edgex_devices.wheelhouse import Target, fetch_installer, lock_text, resolve, resolve_lock

    profile, wheels = options.profile, folder / WHEELHOUSE
    extra = _extra(options)
    target = Target(python=profile.python, arch=profile.arch, platforms=profile.platforms)
    with tempfile.TemporaryDirectory(prefix="edgex-wheel-") as name:
        own = write_own_wheel(Path(name))
        if options.lock:
            resolve_lock(wheels, own, options.lock, target, index=options.wheels)
        else:
            resolve(wheels, own, extra, target, index=options.wheels)
    fetch_installer(folder / INSTALLER, target, index=options.wheels)
    (folder / REQUIREMENTS).write_text(lock_text(wheels), encoding="utf-8")


def _extra(options: BundleOptions) -> str:
    """The extra of the engine that runs the model there."""
    name, _ = entry_for(options.model, options.engine)
    profile = options.profile
    from_registry = {choice.name: choice.extra for choice in profile.engines}
    # A vendor's wheels are in no registry: whoever has them in a folder may use them.
    usable = {choice.name: choice.extra for choice in profile.preferred} if options.wheels else from_registry
    if name not in usable:
        raise BadInputError(
            f"{options.model.name}: it runs on {name}, for which no wheel is known on {profile.title} "
            f"({profile.system.title}, Python {profile.python}); there are wheels for "
            f"{', '.join(from_registry) or 'no engine'}: convert it for one of these, or give --wheelhouse or "
            "--python-on-board"
        )
    return usable[name]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise BadInputError(f"{source}: it cannot be read: {error}") from error
