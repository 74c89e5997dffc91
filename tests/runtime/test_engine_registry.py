from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from edgex_runtime.engines import registry
from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.fake import FakeEngine
from edgex_runtime.engines.registry import ENGINES, Entry, engine_for, open_engine
from edgex_runtime.errors import BadInputError, MissingExtraError, ModelFileError

ELSEWHERE = Entry("edgex_runtime.engines.fake:FakeEngine", extra="other", vendors=(), suffixes=(".rknn",))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("m.onnx", "OnnxRuntimeEngine"),
        ("m.xml", "OpenVinoEngine"),
        ("m.tflite", "TfliteEngine"),
        ("m.TFLITE", "TfliteEngine"),
        ("m.safetensors", "TorchEngine"),
    ],
)
def test_the_suffix_decides(name: str, kind: str) -> None:
    assert engine_for(Path(name)).__name__ == kind  # type: ignore[attr-defined]


def test_a_name_decides_over_the_suffix() -> None:
    assert engine_for(Path("m.onnx"), "openvino").__name__ == "OpenVinoEngine"  # type: ignore[attr-defined]


def test_refuses_a_file_that_the_named_engine_does_not_run() -> None:
    with pytest.raises(BadInputError, match=r"'tflite' runs \.tflite, not '\.onnx'"):
        engine_for(Path("m.onnx"), "tflite")


def test_names_the_nearest_engine() -> None:
    with pytest.raises(BadInputError, match="did you mean 'onnxruntime'"):
        engine_for(Path("m.onnx"), "onxruntime")


def test_names_the_suffixes_that_it_knows() -> None:
    with pytest.raises(ModelFileError, match=r"\.onnx, \.safetensors, \.tflite, \.xml"):
        engine_for(Path("m.pt"))


def test_a_missing_vendor_is_told_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Entry("no_such_vendor:Engine", extra="some", vendors=("no_such_vendor",), suffixes=(".some",))
    monkeypatch.setitem(ENGINES, "some", row)
    with pytest.raises(MissingExtraError, match=r"engine 'some' is not installed: pip install 'edgex\[some\]'"):
        engine_for(Path("m.some"))


def test_another_missing_module_is_a_bug_that_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Entry("edgex_runtime.engines.no_such_file:Engine", extra="some", vendors=("vendor",), suffixes=(".some",))
    monkeypatch.setitem(ENGINES, "some", row)
    with pytest.raises(ModuleNotFoundError, match="no_such_file"):
        engine_for(Path("m.some"))


def test_third_parties_join_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("rknn", "elsewhere:ENTRY", registry.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda _: ELSEWHERE)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: EntryPoints([point]))
    assert engine_for(Path("m.rknn")) is FakeEngine
    assert engine_for(Path("m.rknn"), "rknn") is FakeEngine
    with pytest.raises(BadInputError, match=r"known are .*rknn"):
        engine_for(Path("m.rknn"), "zzz")


def test_every_row_names_an_extra_that_the_project_has() -> None:
    from importlib.metadata import metadata

    extras = set(metadata("edgex").get_all("Provides-Extra") or [])
    assert {entry.extra for name, entry in ENGINES.items() if name != "fake"} <= extras


def test_a_file_that_is_not_there_is_said_so() -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        open_engine(Path("nowhere.onnx"), EngineOptions())
