"""A file that would end the process is refused by name; a whole one of ours is opened at once, others tried once."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgex_runtime import admission
from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.errors import ContractMismatchError, ModelFileError
from edgex_runtime.metadata.registry import check_seal, write_spec
from edgex_runtime.model import Model
from edgex_runtime.spec import ModelSpec

OPTIONS = EngineOptions(threads=1)
# An engine that others made, which does to the process what a vendor's parser does on a damaged file.
PLUGIN = """
import os, signal, time
from edgex_runtime.engines.registry import Entry
from edgex_runtime.errors import ModelFileError

ENTRY = Entry("harmful:open", extra="", vendors=("harmful",), suffixes=(), by_name=(".onnx",), may_crash=True)

def open(path, options):
    said = path.read_bytes()[-8:].decode()
    if said == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if said == "aborting":
        os.abort()
    if said == "allocate":
        bytearray(64 << 30)
    if said == "sleeping":
        time.sleep(600)
    raise ModelFileError(f"{path}: refused politely")
"""


@pytest.fixture
def harmful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A file that does what it says to the engine `harmful`."""
    site = tmp_path / "site"
    (site / "harmful-1.dist-info").mkdir(parents=True)
    (site / "harmful.py").write_text(PLUGIN)
    (site / "harmful-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: harmful\nVersion: 1\n")
    (site / "harmful-1.dist-info" / "entry_points.txt").write_text("[edgex.engines]\nharmful = harmful:ENTRY\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "harmful", raising=False)

    def make(deed: str) -> Path:
        path = tmp_path / f"{deed}.onnx"
        path.write_bytes(b"\x3a\x08" + deed.encode())
        return path

    return make


@pytest.mark.parametrize(
    ("deed", "what"),
    [
        ("segfault", r"crashes when it opens it \(SIGSEGV\)"),
        ("aborting", r"crashes when it opens it \(SIGABRT\)"),
        ("allocate", "wants more memory"),
        ("politely", "refused politely"),
    ],
)
def test_a_file_that_harms_the_process_is_refused(harmful: Callable[[str], Path], deed: str, what: str) -> None:
    with pytest.raises(ModelFileError, match=what):
        Model(harmful(deed), engine="harmful")


def test_a_file_that_crashes_litert_is_refused(tmp_path: Path, tiny_int8_tflite: Path, tiny_spec: ModelSpec) -> None:
    """Found by `mutate_models.py`: LiteRT 2.3 takes a model without subgraphs, and ends in a segfault."""
    path = tmp_path / "crashes.tflite"
    data = tiny_int8_tflite.read_bytes()
    path.write_bytes(data[:16] + bytes(4) + data[20:])
    with pytest.raises(ModelFileError):
        Model(path, spec=tiny_spec)


def test_an_engine_that_never_comes_back_is_left(
    harmful: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "_LONGEST_S", 3)
    with pytest.raises(ModelFileError, match="within 3 s"):
        Model(harmful("sleeping"), engine="harmful")


def forbid_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the file was tried")

    monkeypatch.setattr(admission, "_try", refuse)


def test_a_foreign_file_is_tried_once(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = admission.admit(tiny_onnx, OPTIONS)
    forbid_trials(monkeypatch)
    assert admission.admit(tiny_onnx, OPTIONS) == digest


def test_another_engine_tries_it_itself(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    admission.admit(tiny_onnx, OPTIONS)
    forbid_trials(monkeypatch)
    with pytest.raises(AssertionError):
        admission.admit(tiny_onnx, OPTIONS, "openvino")


@pytest.fixture(params=["tiny_onnx", "tiny_openvino", "tiny_tflite", "tiny_checkpoint"])
def sealed(request: pytest.FixtureRequest, tmp_path: Path, tiny_spec: ModelSpec) -> Path:
    source: Path = request.getfixturevalue(request.param)
    for file in source.parent.glob(f"{source.stem}.*"):
        shutil.copy(file, tmp_path / file.name)
    write_spec(tmp_path / source.name, tiny_spec)
    return tmp_path / source.name


def test_a_file_of_ours_needs_no_trial(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_trials(monkeypatch)
    admission.admit(sealed, OPTIONS)


def test_writing_the_contract_again_keeps_the_seal(sealed: Path, tiny_spec: ModelSpec) -> None:
    once = sealed.read_bytes()
    write_spec(sealed, tiny_spec)
    assert sealed.read_bytes() == once
    assert check_seal(sealed)


def test_one_changed_bit_of_the_weights_is_refused(sealed: Path) -> None:
    weights = sealed.with_suffix(".bin") if sealed.suffix == ".xml" else sealed
    data = bytearray(weights.read_bytes())
    # A third of the way there are weights in each of these files; the contract stands at the end or, in the header.
    place = len(data) // 3 if sealed.suffix != ".safetensors" else len(data) - 100
    data[place] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ContractMismatchError, match="damaged") as caught:
        Model(sealed, threads=1)
    assert caught.value.field == "bytes"
