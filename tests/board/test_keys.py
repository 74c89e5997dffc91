"""`edgex keys`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgex.cli.keys import command
from edgex_devices.keys import SigningKey, load_key, new_key
from edgex_runtime.errors import BadInputError


def test_new_and_show_print_the_same_key(tmp_path: Path) -> None:
    runner = CliRunner()
    made = runner.invoke(command, ["new", "--key", str(tmp_path / "own" / "k"), "--json"])
    shown = runner.invoke(command, ["show", "--key", str(tmp_path / "own" / "k"), "--json"])
    assert json.loads(made.stdout) == json.loads(shown.stdout)
    assert json.loads(made.stdout)["public"].startswith("ssh-ed25519 ")


def test_only_its_owner_reads_it(key: SigningKey) -> None:
    assert key.private.stat().st_mode & 0o777 == 0o600


def test_refuses_a_key_that_others_may_read(tmp_path: Path) -> None:
    key = new_key(tmp_path / "k", comment="")
    key.private.chmod(0o644)
    with pytest.raises(BadInputError, match="chmod 600"):
        load_key(key.private)


def test_never_replaces_a_key(key: SigningKey) -> None:
    before = key.private.read_bytes()
    with pytest.raises(BadInputError, match="there is a key already"):
        new_key(key.private, comment="again")
    assert key.private.read_bytes() == before


def test_says_how_to_make_the_one_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="edgex keys new"):
        load_key(tmp_path / "none")
