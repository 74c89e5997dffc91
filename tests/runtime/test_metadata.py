"""Every format carries the same contract, keeps what else is in the file, and speaks to its own ecosystem."""

import hashlib
import json
import shutil
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from edgex_runtime.errors import ContractMismatchError, ModelFileError, SpecError
from edgex_runtime.metadata.registry import (
    artifact_files,
    artifact_sha256,
    read_native_labels,
    read_spec,
    write_spec,
)
from edgex_runtime.spec import InputSpec, ModelSpec, Resize

FORMATS = ["onnx", "xml", "tflite", "safetensors"]


@pytest.fixture(params=FORMATS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file of each format without any metadata; no engine is needed to write into it."""
    return write_bare(tmp_path / f"bare.{request.param}")


def write_bare(path: Path) -> Path:
    """The smallest file that each format's own reader takes."""
    if path.suffix == ".onnx":
        graph = onnx.helper.make_graph([], "empty", [], [])
        onnx.save(onnx.helper.make_model(graph, producer_name="somebody"), path)
    elif path.suffix == ".xml":
        path.write_text('<?xml version="1.0"?>\n<net name="m" version="11"><layers></layers><edges></edges></net>\n')
        path.with_suffix(".bin").write_bytes(b"weights")
    elif path.suffix == ".tflite":
        path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(range(256)))
    else:
        save_file({"weight": np.arange(6, dtype=np.float32)}, path, metadata={"format": "pt"})
    return path


def test_reads_back_the_very_contract(model: Path, tiny_spec: ModelSpec) -> None:
    assert read_spec(model) is None
    write_spec(model, tiny_spec)
    assert read_spec(model) == tiny_spec


def test_writing_again_replaces_the_earlier_contract(model: Path, tiny_spec: ModelSpec) -> None:
    write_spec(model, tiny_spec)
    once = model.read_bytes()
    write_spec(model, replace(tiny_spec, name="another", labels=("a", "b", "c")))
    assert read_spec(model) == replace(tiny_spec, name="another", labels=("a", "b", "c"))
    write_spec(model, tiny_spec)
    assert model.read_bytes() == once


def test_labels_of_every_script_survive(model: Path, tiny_spec: ModelSpec) -> None:
    spec = replace(tiny_spec, labels=("Gänse blümchen", 'a "quoted" <b> & it\'s', "花", "🌼", "back\\slash"))
    write_spec(model, spec)
    assert read_spec(model) == spec


@pytest.mark.parametrize("label", ["two\nlines", "nul\0", "", " ", "\ud800", "\ufffe"])
def test_refuses_a_label_that_no_list_can_hold(model: Path, tiny_spec: ModelSpec, label: str) -> None:
    before = model.read_bytes()
    with pytest.raises(SpecError, match="labels"):
        write_spec(model, replace(tiny_spec, labels=("fine", label)))
    assert model.read_bytes() == before


@pytest.mark.parametrize(
    ("suffix", "quote"), [("onnx", b'"'), ("xml", b"&quot;"), ("safetensors", b'\\"')], ids=lambda value: str(value)
)
def test_refuses_a_contract_of_another_schema(tmp_path: Path, tiny_spec: ModelSpec, suffix: str, quote: bytes) -> None:
    model = write_bare(tmp_path / f"bare.{suffix}")
    write_spec(model, tiny_spec)
    written = b"schema" + quote + b":"
    assert written + b"1" in model.read_bytes()
    model.write_bytes(model.read_bytes().replace(written + b"1", written + b"7"))
    with pytest.raises(SpecError, match="schema 1, the file's is 7"):
        read_spec(model)


def test_digest_follows_every_byte_of_every_file(model: Path) -> None:
    before = artifact_sha256(model)
    last = artifact_files(model)[-1]
    data = bytearray(last.read_bytes())
    data[-1] ^= 1
    last.write_bytes(data)
    assert artifact_sha256(model) != before


def test_digest_of_one_file_is_what_sha256sum_prints(tmp_path: Path) -> None:
    path = write_bare(tmp_path / "m.tflite")
    assert artifact_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_openvino_model_is_two_files(tmp_path: Path) -> None:
    path = write_bare(tmp_path / "m.xml")
    assert artifact_files(path) == (path, tmp_path / "m.bin")
    (tmp_path / "m.bin").unlink()
    with pytest.raises(ModelFileError, match=r"m\.bin is not there"):
        artifact_files(path)


@pytest.mark.parametrize("name", ["m.pt", "m", "m.tflite.zip"])
def test_names_the_formats_for_another_suffix(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelFileError, match=r"\.onnx, \.xml, \.tflite, \.safetensors"):
        read_spec(tmp_path / name)


def test_says_that_a_file_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        read_spec(tmp_path / "m.onnx")


# What each ecosystem's own reader sees.


def test_onnx_itself_reads_the_props_and_the_same_graph(tmp_path: Path, tiny_onnx: Path, tiny_spec: ModelSpec) -> None:
    path = Path(shutil.copy(tiny_onnx, tmp_path))
    foreign = onnx.load(path)
    onnx.helper.set_model_props(foreign, {"author": "somebody", "names": "{0: 'stale'}"})
    onnx.save(foreign, path)
    write_spec(path, tiny_spec)
    after = onnx.load(path)
    onnx.checker.check_model(after)
    props = {entry.key: entry.value for entry in after.metadata_props}
    assert props.keys() == {"author", "names", "edgex", "edgex_seal"}
    assert props["author"] == "somebody"
    assert props["names"] == repr(dict(enumerate(tiny_spec.labels)))
    assert after.graph == foreign.graph


def test_openvino_itself_reads_the_rt_info_and_the_same_graph(
    tmp_path: Path, tiny_openvino: Path, tiny_spec: ModelSpec
) -> None:
    path = Path(shutil.copy(tiny_openvino, tmp_path))
    shutil.copy(tiny_openvino.with_suffix(".bin"), tmp_path)
    before = path.read_text()
    write_spec(path, tiny_spec)
    model = openvino.Core().read_model(path)
    assert ModelSpec.from_json(model.get_rt_info(["edgex"]).astype(str)) == tiny_spec
    info = {key: model.get_rt_info(["model_info", key]).astype(str) for key in ("model_type", "labels", "layout")}
    assert info == {
        "model_type": "Classification",
        "labels": "daisy dandelion rose_of_sharon sunflower tulip",
        "layout": "NHWC",
    }
    graph, own_info = before.split("<rt_info>")
    assert path.read_text().startswith(graph)
    assert own_info.split("/>")[0] in path.read_text()


@pytest.mark.parametrize(
    ("resize", "name"),
    [
        (Resize(mode="crop"), "crop"),
        (Resize(mode="stretch"), "standard"),
        (Resize(mode="letterbox", fill=0), "fit_to_window_letterbox"),
    ],
)
def test_openvino_file_says_the_resize_as_model_api_does(
    tmp_path: Path, tiny_spec: ModelSpec, resize: Resize, name: str
) -> None:
    path = write_bare(tmp_path / "m.xml")
    write_spec(path, replace(tiny_spec, resize=resize))
    assert f'<resize_type value="{name}" />' in path.read_text()


def test_openvino_file_says_that_bgr_models_want_channels_reversed(tmp_path: Path, tiny_spec: ModelSpec) -> None:
    path = write_bare(tmp_path / "m.xml")
    write_spec(path, replace(tiny_spec, input=InputSpec(height=32, width=32, color="BGR")))
    assert '<reverse_input_channels value="True" />' in path.read_text()


def test_tflite_keeps_the_flatbuffer_and_other_members(tmp_path: Path, tiny_spec: ModelSpec) -> None:
    path = write_bare(tmp_path / "m.tflite")
    flatbuffer = path.read_bytes()
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes.txt", "of somebody else " * 50)
        archive.writestr("labels.txt", "stale\n")
    write_spec(path, tiny_spec)
    assert path.read_bytes().startswith(flatbuffer)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == ["edgex.json", "edgex_seal.txt", "labels.txt", "notes.txt"]
        assert archive.read("notes.txt").decode() == "of somebody else " * 50
        assert archive.read("labels.txt").decode().split("\n") == [*tiny_spec.labels, ""]
        assert json.loads(archive.read("edgex.json"))["name"] == tiny_spec.name
        # MediaPipe opens members in place.
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_safetensors_itself_reads_the_header_and_the_same_tensors(tmp_path: Path, tiny_spec: ModelSpec) -> None:
    path = write_bare(tmp_path / "m.safetensors")
    write_spec(path, tiny_spec)
    with safe_open(path, framework="numpy") as file:
        assert file.metadata()["format"] == "pt"
        assert ModelSpec.from_json(file.metadata()["edgex"]) == tiny_spec
        assert file.get_tensor("weight").tolist() == list(range(6))
    assert (8 + struct.unpack("<Q", path.read_bytes()[:8])[0]) % 8 == 0


# The two copies of the labels.


def edit_native_labels(path: Path) -> None:
    """Swap two labels in the ecosystem's own field only."""
    if path.suffix == ".onnx":
        model = onnx.load(path)
        props = {entry.key: entry.value for entry in model.metadata_props}
        props["names"] = props["names"].replace("daisy", "x").replace("tulip", "daisy").replace("x", "tulip")
        onnx.helper.set_model_props(model, props)
        onnx.save(model, path)
    elif path.suffix == ".xml":
        text = path.read_text()
        path.write_text(text.replace('value="daisy dandelion', 'value="dandelion daisy'))
    else:
        with zipfile.ZipFile(path) as archive:
            contract = archive.read("edgex.json")
        path.write_bytes(path.read_bytes()[:264])
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("edgex.json", contract)
            archive.writestr("labels.txt", "dandelion\ndaisy\nrose of sharon\nsunflower\ntulip\n")


@pytest.mark.parametrize("suffix", ["onnx", "xml", "tflite"])
def test_refuses_labels_that_other_programs_would_read_differently(
    tmp_path: Path, tiny_spec: ModelSpec, suffix: str
) -> None:
    path = write_bare(tmp_path / f"m.{suffix}")
    write_spec(path, tiny_spec)
    edit_native_labels(path)
    with pytest.raises(ContractMismatchError, match="label list") as caught:
        read_spec(path)
    assert caught.value.field == "labels"


@pytest.mark.parametrize("names", ["{0: 'cat', 1: 'dog'}", "{'0': 'cat', '1': 'dog'}"])
def test_reads_the_names_of_a_foreign_onnx_file(tmp_path: Path, names: str) -> None:
    path = write_bare(tmp_path / "m.onnx")
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"names": names})
    onnx.save(model, path)
    assert read_native_labels(path) == ("cat", "dog")


@pytest.mark.parametrize("names", ["cat,dog", "{", "(" * 5000, "{0: 'cat', 2: 'dog'}", "-" * 5000 + "1", "[1, 2]"])
def test_names_of_another_form_are_no_labels(tmp_path: Path, names: str) -> None:
    path = write_bare(tmp_path / "m.onnx")
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"names": names})
    onnx.save(model, path)
    assert read_native_labels(path) is None
