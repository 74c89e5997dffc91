import re
import textwrap
from pathlib import Path

import pytest

from edgex_devices.profile import all_profiles, load_profile, read_profile
from edgex_runtime.errors import BadInputError, SpecError

MINE = """
schema = 1
name = "mine"
title = "My board"
arch = "aarch64"

[recognise]
machine = "aarch64"
device_tree = ["acme,board"]

[[systems]]
name = "debian"
title = "Debian 12"
python = "3.11"
glibc = "2.36"
checked = "2026-11-24"
wheels.tflite = { package = "ai-edge-litert", version = "2.3.0", tag = "manylinux_2_27_aarch64" }

[[systems]]
name = "old"
title = "Debian 9"
python = "3.5"

[[preferred]]
name = "onnxruntime"
extra = "onnx"
why = "first"

[[preferred]]
name = "tflite"
extra = "tflite"
why = "second"
"""


def write(folder: Path, text: str = MINE, name: str = "mine") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_user_adds_a_board_by_one_file(tmp_path: Path) -> None:
    write(tmp_path)
    assert "mine" in [profile.name for profile in all_profiles([tmp_path])]
    assert load_profile("mine", [tmp_path]).title == "My board"


def test_a_file_in_the_working_folder_is_found_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "edgex-profiles")
    monkeypatch.chdir(tmp_path)
    assert load_profile("mine").title == "My board"


def test_a_profile_is_also_loaded_from_its_file(tmp_path: Path) -> None:
    assert load_profile(str(write(tmp_path))).name == "mine"


def test_a_users_board_stands_in_for_the_shipped_one_of_that_name(tmp_path: Path) -> None:
    write(tmp_path, MINE.replace('"mine"', '"raspberry-pi-5"'), "raspberry-pi-5")
    assert load_profile("raspberry-pi-5", [tmp_path]).title == "My board"
    assert len(all_profiles([tmp_path])) == len(all_profiles([]))


def test_an_unknown_key_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    path = write(tmp_path, MINE.replace('title = "My board"', 'titel = "My board"'))
    with pytest.raises(SpecError, match=r"unknown key 'titel'; did you mean 'title'"):
        read_profile(path)


@pytest.mark.parametrize(
    ("was", "becomes", "message"),
    [
        ('python = "3.11"', 'python = "3.x"', "want a version as 3.11"),
        ('python = "3.11"', 'python = "3.7"', "edgex needs Python 3.10"),
        ('glibc = "2.36"\n', "", "want glibc and the date"),
        ("wheels.tflite", "wheels.tfflite", "is none of the engines"),
        ("schema = 1", "schema = 9", "schema 1, this one is of 9"),
        ('name = "mine"', 'name = "yours"', "as the file is called"),
        ('arch = "aarch64"', 'arch = "armv7l"', "want one of 'aarch64', 'x86_64'"),
        ('checked = "2026-11-24"', 'checked = "November"', "checked: want a day as 2026-11-30, got 'November'"),
        ('glibc = "2.36"', 'glibc = "2.36"\nread = "2026-11-30"', "want the source that was read on 2026-11-30"),
    ],
)
def test_a_malformed_profile_is_refused_in_words(tmp_path: Path, was: str, becomes: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_profile(write(tmp_path, MINE.replace(was, becomes)))


def test_an_unknown_board_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(BadInputError, match="did you mean 'raspberry-pi-5'"):
        load_profile("rasberry-pi-5")


def test_a_board_has_the_python_and_platforms_of_the_system_that_is_named() -> None:
    assert load_profile("raspberry-pi-5").python == "3.11"
    profile = load_profile("raspberry-pi-5:trixie")
    assert profile.python == "3.13"
    assert profile.platforms[0] == "manylinux_2_41_aarch64"
    assert {"manylinux_2_17_aarch64", "manylinux_2_28_aarch64", "manylinux2014_aarch64"} < set(profile.platforms)


def test_an_unknown_system_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadInputError, match="bookworm, trixie"):
        load_profile("raspberry-pi-5:bullseye")


def test_engines_are_those_with_a_wheel_in_their_order(tmp_path: Path) -> None:
    profile = read_profile(write(tmp_path))
    assert [engine.name for engine in profile.engines] == ["tflite"]
    assert [engine.name for engine in profile.preferred] == ["onnxruntime", "tflite"]
    assert profile.on("old").engines == ()


def test_the_example_of_the_documentation_is_a_profile(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/devices.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^    # edgex-profiles/my-board\.toml\n(?:    .*\n|\n)+", page, flags=re.MULTILINE)
    profile = read_profile(write(tmp_path, textwrap.dedent(example).partition("\nThen")[0], "my-board"))
    assert ([engine.name for engine in profile.engines], profile.threads) == (["tflite"], 4)


def test_what_is_not_known_is_none(tmp_path: Path) -> None:
    profile = read_profile(write(tmp_path))
    assert (profile.threads, profile.memory_limit_mb, profile.on("old").platforms) == (None, None, ())


def test_a_fact_says_when_somebody_read_its_source(tmp_path: Path) -> None:
    """Of those that do not, nobody claims to have looked."""
    trap = '[[traps]]\nwhat = "w"\nmend = "m"\nsource = "https://example.org/"\n'
    profile = read_profile(write(tmp_path, f'{MINE}\n{trap}read = "2026-11-30"\n\n{trap}'))
    assert [item.read for item in profile.traps] == ["2026-11-30", ""]


def test_the_memory_limit_is_half_of_the_smallest_size() -> None:
    assert load_profile("raspberry-pi-5").memory_limit_mb == 512


def test_an_engine_that_only_the_maker_gives_out_is_preferred_but_not_among_the_registrys() -> None:
    profile = load_profile("jetson-orin-nano")
    assert (profile.preferred[0].device, profile.preferred[0].origin) == ("gpu", "vendor")
    assert {engine.device for engine in profile.engines} == {"cpu"}
