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
from edgex_devices.profile import Profile, oldest_python
from edgex_devices.proof import PHOTOS, record
from edgex_devices.unit import UnitOptions, journald_conf, needs_network, system_unit, user_unit
from edgex_runtime.engines.registry import entry_for
from edgex_runtime.errors import BadInputError, BundleError
from edgex_runtime.metadata.registry import artifact_files, read_spec
from edgex_runtime.sinks.registry import SINKS
from edgex_runtime.sources.registry import SOURCES, WEBCAM

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
    extras = tuple(dict.fromkeys([_engine_extra(options), *_stream_extras(options)]))
    # A vendor's wheels are for its own system, and name no glibc: linux_aarch64.
    own = (f"linux_{profile.arch}",) if options.wheels else ()
    target = Target(python=profile.python, arch=profile.arch, platforms=(*profile.platforms, *own))
    with tempfile.TemporaryDirectory(prefix="edgex-wheel-") as name:
        edgex = write_own_wheel(Path(name))
        if options.lock:
            resolve_lock(wheels, edgex, options.lock, target, index=options.wheels)
        else:
            resolve(wheels, edgex, extras, target, index=options.wheels)
    fetch_installer(folder / INSTALLER, target, index=options.wheels)
    (folder / REQUIREMENTS).write_text(lock_text(wheels), encoding="utf-8")


def _stream_extras(options: BundleOptions) -> Iterator[str]:
    """What its camera and its sinks need beside the engine: a console, a broker, a network camera."""
    source = options.profile.camera if options.source is None else options.source
    by_scheme = {scheme: entry.extra for entry in SOURCES.values() for scheme in entry.schemes}
    # Which pixels a webcam sends is not known before it is there.
    camera = (
        SOURCES["webcam"].extra if re.fullmatch(WEBCAM, source) else by_scheme.get(source.partition(":")[0].lower())
    )
    yield from filter(None, [camera])
    rows = [SINKS.get(sink.partition(":")[0].lower()) for sink in options.sinks]
    yield from (row.extra for row in rows if row and row.extra)


def _engine_extra(options: BundleOptions) -> str:
    """The extra of the engine that runs the model there."""
    name, _ = entry_for(options.model, options.engine)
    profile = options.profile
    # A vendor's wheels are in no registry: whoever has them in a folder may use them.
    usable = [choice for choice in (profile.preferred if options.wheels else profile.engines) if choice.name == name]
    on_device = [choice for choice in usable if choice.device == options.device]
    if options.device in ("gpu", "npu") and usable and not on_device:
        raise BadInputError(f"{options.model.name}: {_no_wheel_for(options.device, name, profile)}")
    if not usable:
        raise BadInputError(f"{options.model.name}: it runs on {name}, for which {_no_wheel(profile)}")
    on_cpu = [choice for choice in usable if choice.device == "cpu"]
    return (on_device or on_cpu or usable)[0].extra


def _no_wheel_for(device: str, name: str, profile: Profile) -> str:
    """That the registry's wheels of an engine do not run on the board's accelerator, and what to do instead."""
    there = [choice for choice in profile.preferred if choice.device == device]
    makers = [choice for choice in there if choice.name == name]
    wanted = f"want wheels of {name} for the {device} of {profile.title}, the registry has none"
    if makers:
        return f"{wanted}, its maker has ({makers[0].source}): give them by --wheelhouse, or leave --device out"
    others = ", ".join(dict.fromkeys(choice.name for choice in there)) or "no engine that edgex knows"
    return f"{wanted}; on it runs {others}: convert it for that, or leave --device out"


def _no_wheel(profile: Profile) -> str:
    """That there is none, and what to do instead."""
    system = profile.system
    why = f"no wheel is known on {profile.title} ({system.title}, Python {system.python})"
    if not system.runs_edgex:
        others = [f"{profile.name}:{other.name}" for other in profile.systems if other.wheels]
        instead = f"; with a newer one there, --board {' or '.join(others)}" if others else ""
        return f"{why}: edgex needs Python {oldest_python()}{instead}; else --python-on-board (docs/boards)"
    there = ", ".join(dict.fromkeys(choice.name for choice in profile.engines)) or "no engine"
    instead = "convert it for one of these, or give --wheelhouse or --python-on-board"
    return f"{why}; there are wheels for {there}: {instead}"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise BadInputError(f"{source}: it cannot be read: {error}") from error
