"""`edgex bundle MODEL --board PROFILE`: pack a model and all that a board needs, signed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from edgex_runtime.engines.engine import Device
from edgex_runtime.errors import BadInputError, MissingExtraError

if TYPE_CHECKING:
    from edgex_devices.bundle import Bundle, BundleOptions

_MB = 1e6
_PATH = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleConfig:
    """What was typed."""

    model: Path
    board: str
    app: str | None
    source: str | None
    sink: tuple[str, ...]
    spec: Path | None
    engine: str | None
    device: Device
    threads: int | None
    photos: Path | None
    python_on_board: str | None
    wheelhouse: Path | None
    lock: Path | None
    window: float
    start: float
    max_age_ms: float
    watchdog: float
    key: Path | None
    out: Path
    json: bool


@click.command()
@click.argument("model", type=_PATH)
@click.option(
    "--board", required=True, metavar="PROFILE", help="raspberry-pi-5, raspberry-pi-5:trixie or my-board.toml"
)
@click.option("--app", metavar="NAME", help="What it is called on the board.  [default: the contract's name]")
@click.option("--source", metavar="URI", help="What `edgex live` opens there.  [default: the board's camera]")
@click.option("--sink", "-s", multiple=True, metavar="URI", help="Where results go there, as `edgex live --out`.")
@click.option("--spec", type=_PATH, help="The contract (TOML) of a model file that carries none.")
@click.option("--engine", metavar="NAME", help="The engine to run it; by default the one for the file's suffix.")
@click.option("--device", type=click.Choice(get_args(Device)), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads of the engine.  [default: the board's]")
@click.option("--photos", type=_PATH, metavar="DIR", help="Pictures that the board must answer as this machine does.")
@click.option("--python-on-board", metavar="PATH", help="No wheels: edgex stands in this Python's environment there.")
@click.option("--wheelhouse", type=_PATH, metavar="DIR", help="Take wheels from this folder, not from the registry.")
@click.option(
    "--lock", type=_PATH, metavar="FILE", help="Take the very wheels of an earlier bundle's requirements.txt."
)
@click.option(
    "--window", type=float, default=20.0, show_default=True, metavar="S", help="How long a release is watched."
)
@click.option(
    "--start", type=float, default=180.0, show_default=True, metavar="S", help="Longest time to a first frame."
)
@click.option("--max-age-ms", type=float, default=2000.0, show_default=True, help="Oldest that a frame may be.")
@click.option(
    "--watchdog", type=float, default=30.0, show_default=True, metavar="S", help="Longest time without a frame."
)
@click.option("--key", type=_PATH, help="The private key that signs it.  [default: that of `edgex keys`]")
@click.option("--out", "-o", type=_PATH, default=Path("bundles"), show_default=True, help="Where it is put.")
@click.option("--json", is_flag=True, help="Print what was made as JSON.")
def command(**typed: object) -> None:
    """Pack MODEL and all that a board needs to run it without a network: OUT/APP-BOARD/ and OUT/APP-BOARD.edgex."""
    config = BundleConfig(**typed)  # type: ignore[arg-type]  # click has checked them
    from edgex_devices.bundle import make_bundle
    from edgex_devices.keys import default_key_path, load_key

    key = load_key(config.key or default_key_path())
    try:
        bundle = make_bundle(_options(config), key, config.out)
    except ModuleNotFoundError as error:
        if error.name != "packaging":
            raise
        raise MissingExtraError("packaging is not installed: pip install 'edgex[deploy]'") from error
    _print(bundle, as_json=config.json)


def _options(config: BundleConfig) -> "BundleOptions":
    from edgex_devices.agent.config import Health
    from edgex_devices.bundle import BundleOptions
    from edgex_devices.profile import load_profile

    return BundleOptions(
        model=config.model,
        profile=load_profile(config.board),
        app=config.app,
        source=config.source,
        sinks=config.sink,
        spec=config.spec,
        engine=config.engine,
        device=config.device,
        threads=config.threads,
        photos=_photos(config.photos),
        python_on_board=config.python_on_board,
        wheels=config.wheelhouse,
        lock=config.lock,
        health=Health(
            start_s=config.start, window_s=config.window, max_age_ms=config.max_age_ms, watchdog_s=config.watchdog
        ),
    )


def _photos(folder: Path | None) -> tuple[Path, ...]:
    from edgex_runtime.image import is_image_file

    if folder is None:
        return ()
    photos = tuple(sorted(path for path in folder.rglob("*") if is_image_file(path)))
    if not photos:
        raise BadInputError(f"{folder}: want a folder of photos, there are none in it")
    return photos


def _print(bundle: "Bundle", *, as_json: bool) -> None:
    manifest, size = bundle.manifest, bundle.archive.stat().st_size
    if as_json:
        said = {"app": manifest.app, "board": manifest.board, "release": manifest.release, "bytes": size}
        paths = {"folder": str(bundle.folder), "archive": str(bundle.archive)}
        click.echo(json.dumps({**said, **paths}, indent=2))
        return
    click.echo(f"{bundle.archive}  {size / _MB:.1f} MB, {len(manifest.files)} files, signed")
    click.echo(f"{manifest.app} for {manifest.board}, release {manifest.release}")
