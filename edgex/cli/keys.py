"""`edgex keys new|show`: the key that bundles are signed with."""

import getpass
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgex_devices.keys import SigningKey

KEY_HELP = "The private key's file.  [default: edgex/signing-key in the user's settings]"


@click.group()
def command() -> None:
    """Make and show the key that bundles are signed with (ed25519, of OpenSSH's kind)."""


@command.command()
@click.option("--key", type=click.Path(path_type=Path), help=KEY_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def new(key: Path | None, as_json: bool) -> None:
    """Make a key. Boards trust it from their first deploy on: keep a copy where only you can read it."""
    from edgex_devices.keys import default_key_path, new_key

    _print(new_key(key or default_key_path(), comment=f"edgex {getpass.getuser()}@{socket.gethostname()}"), as_json)


@command.command()
@click.option("--key", type=click.Path(path_type=Path), help=KEY_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def show(key: Path | None, as_json: bool) -> None:
    """Print the public half, which boards get."""
    from edgex_devices.keys import default_key_path, load_key

    _print(load_key(key or default_key_path()), as_json)


def _print(key: "SigningKey", as_json: bool) -> None:
    if as_json:
        click.echo(
            json.dumps({"private": str(key.private), "public": key.public, "fingerprint": key.fingerprint}, indent=2)
        )
        return
    click.echo(f"private      {key.private}")
    click.echo(f"public       {key.public}")
    click.echo(f"fingerprint  {key.fingerprint}")
