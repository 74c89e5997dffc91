"""Whatever a stranger, a page or a user sends: it is understood, or refused in words."""

import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgex_runtime.console.camera import HEADER, read_stamps
from edgex_runtime.console.collect import MAX_NAME_BYTES, check_class_name
from edgex_runtime.console.guard import Guard
from edgex_runtime.console.messages import Command, read_command
from edgex_runtime.console.options import ConsoleOptions, parse_console_uri
from edgex_runtime.errors import BadInputError, SpecError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(max_size=200) | st.dictionaries(st.sampled_from(["do", "number", "x"]), JSON).map(str))
@example("[" * 100_000)
@example('{"do": "seen", "number": ' + "9" * 5000 + "}")
def test_a_command_is_understood_or_refused(text: str) -> None:
    try:
        command = read_command(text)
    except SpecError:
        return
    assert isinstance(command, Command)


@given(st.text(max_size=120))
def test_a_class_stays_in_its_folder(name: str) -> None:
    try:
        folder = check_class_name(name)
    except BadInputError:
        return
    assert PurePosixPath(folder).name == folder
    assert folder not in ("", ".", "..")
    assert len(os.fsencode(folder)) <= MAX_NAME_BYTES
    assert check_class_name(folder) == folder


@given(st.from_regex(r"https?://[\x20-\x7e]{0,40}", fullmatch=True))
@example("http://[::1]:0?host=a&host=b")
@example("http://[")
@example("http://127.0.0.1:٣")
def test_an_address_is_understood_or_refused(uri: str) -> None:
    try:
        options = parse_console_uri(uri)
    except BadInputError:
        return
    assert 0 <= options.port <= 65_535
    assert options.host


@given(st.binary(max_size=80) | st.text(max_size=20))
def test_a_pictures_header_is_understood_or_refused(message: bytes | str) -> None:
    stamps = read_stamps(message)
    assert stamps is None or len(message) > HEADER.size


@given(host=st.text(max_size=30), origin=st.text(max_size=30), cookies=st.text(max_size=60))
@example(host="[::1", origin="http://[::1", cookies="a=b; edgex-console-1=")
def test_a_requests_headers_let_nobody_in(host: str, origin: str, cookies: str) -> None:
    guard = Guard(ConsoleOptions(host="0.0.0.0", port=1), 1)
    guard.knows_host(host)
    assert not guard.is_admitted(cookies)
    if guard.knows_origin(origin, host):
        assert origin.lower().startswith(("http://", "https://"))
        assert host.lower() in origin.lower()


@pytest.mark.parametrize("name", ["daisy", "Große Blume", "日本", "a.b", "x" * 100])
def test_ordinary_names_are_classes(name: str, tmp_path: Path) -> None:
    (tmp_path / check_class_name(name)).mkdir()
