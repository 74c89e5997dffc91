"""Whatever the bytes, a reader answers or raises an error of ours, at once and in little memory."""

import io
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgex_runtime.errors import ContractMismatchError, ModelFileError, SpecError
from edgex_runtime.metadata.registry import read_spec, write_spec
from edgex_runtime.spec import InputSpec, ModelSpec, Resize

SPEC = ModelSpec(name="m", labels=("a", "b"), input=InputSpec(height=8, width=8), resize=Resize(mode="crop"))
BARE = {
    "onnx": b"\x08\x0a\x12\x02me\x3a\x04\x12\x02gg",
    "xml": b'<?xml version="1.0"?><net name="m"><layers><layer><rt_info/></layer></layers><rt_info/></net>',
    "tflite": b"\x1c\0\0\0TFL3" + bytes(64),
    "safetensors": struct.pack("<Q", 56) + b'{"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}   ' + b"ab",
}
FORMATS = sorted(BARE)


def carrying(folder: Path, suffix: str) -> bytes:
    path = folder / f"whole.{suffix}"
    path.write_bytes(BARE[suffix])
    for weights in ("whole.bin", "damaged.bin"):  # Of an IR: they are part of what it is.
        (folder / weights).write_bytes(b"weights")
    write_spec(path, SPEC)
    return path.read_bytes()


@st.composite
def mutations(draw: st.DrawFn) -> list[tuple[str, float, bytes]]:
    """Cut, overwrite or insert somewhere, a few times; the place is a share of the length."""
    kinds = st.sampled_from(["cut", "overwrite", "insert", "repeat"])
    place = st.floats(0, 1, allow_nan=False)
    payload = st.one_of(st.binary(min_size=1, max_size=9), st.sampled_from([b"\xff" * 10, b"\0" * 8, b"<!DOCTYPE a>"]))
    return draw(st.lists(st.tuples(kinds, place, payload), min_size=1, max_size=4))


def mutate(data: bytes, steps: list[tuple[str, float, bytes]]) -> bytes:
    for kind, place, payload in steps:
        at = int(place * len(data))
        if kind == "cut":
            data = data[:at]
        elif kind == "overwrite":
            data = data[:at] + payload + data[at + len(payload) :]
        elif kind == "insert":
            data = data[:at] + payload + data[at:]
        else:
            data = data + data[at:]
    return data


@pytest.mark.parametrize("suffix", FORMATS)
@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=mutations())
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, suffix: str, steps: list[tuple[str, float, bytes]]) -> None:
    whole = tmp_path / f"whole.{suffix}"
    data = whole.read_bytes() if whole.exists() else carrying(tmp_path, suffix)
    path = tmp_path / f"damaged.{suffix}"
    path.write_bytes(mutate(data, steps))
    try:
        read_spec(path)
        write_spec(path, SPEC)
    except (ModelFileError, SpecError, ContractMismatchError):
        return
    assert read_spec(path) == SPEC


@pytest.mark.parametrize("suffix", FORMATS)
@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.binary(max_size=200))
@example(data=b"")
def test_any_bytes_are_read_or_refused(tmp_path: Path, suffix: str, data: bytes) -> None:
    path = tmp_path / f"any.{suffix}"
    path.write_bytes(data)
    try:
        assert read_spec(path) is None
    except (ModelFileError, SpecError):
        return


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_truncation_is_read_or_refused(tmp_path: Path, suffix: str) -> None:
    whole = carrying(tmp_path, suffix)
    path = tmp_path / f"cut.{suffix}"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        try:
            # Where all but the seal behind the contract is there, the contract is.
            assert read_spec(path) in (None, SPEC)
        except (ModelFileError, SpecError):
            continue


def test_refuses_an_entity_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bomb.xml"
    entities = "".join(f'<!ENTITY a{i} "&a{i - 1};&a{i - 1};">' for i in range(1, 40))
    path.write_text(f'<!DOCTYPE net [<!ENTITY a0 "ha">{entities}]><net><rt_info>&a39;</rt_info></net>')
    with pytest.raises(ModelFileError, match="DTD"):
        read_spec(path)


def test_refuses_endless_nesting(tmp_path: Path) -> None:
    path = tmp_path / "deep.xml"
    path.write_text("<net>" + "<rt_info>" * 200_000)
    with pytest.raises(ModelFileError, match="levels"):
        read_spec(path)


def test_refuses_a_zip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tflite"
    path.write_bytes(BARE["tflite"])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("edgex.json", bytes(100 * 1024 * 1024))
    assert path.stat().st_size < 200_000
    with pytest.raises(ModelFileError, match=r"edgex\.json has more than"):
        read_spec(path)


def test_refuses_an_edited_member(tmp_path: Path) -> None:
    path = tmp_path / "edited.tflite"
    path.write_bytes(carrying(tmp_path, "tflite").replace(b'"schema":1', b'"schema":7'))
    with pytest.raises(ModelFileError, match="CRC"):
        read_spec(path)


@pytest.mark.parametrize("length", [0, 2**63, 100_000_001, 1000])
def test_refuses_a_header_longer_than_the_file(tmp_path: Path, length: int) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    with pytest.raises(ModelFileError, match="header"):
        read_spec(path)


def test_refuses_a_metadata_entry_of_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.write(b"\x72\x80\x80\x80\x80\x04")  # field 14, 1 GiB
        file.truncate(2**30 + 6)
    with pytest.raises(ModelFileError, match="entry of metadata_props"):
        read_spec(path)


def test_a_weights_field_of_gigabytes_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.write(b"\x3a\x80\x80\x80\x80\x08")  # field 7, the graph, 2 GiB
        file.truncate(2**31 + 6)
    assert read_spec(path) is None


def test_refuses_text_of_two_encodings(tmp_path: Path) -> None:
    archive_bytes = io.BytesIO()
    with zipfile.ZipFile(archive_bytes, "w") as archive:
        archive.writestr("edgex.json", b"\xff\xfe{}")
    path = tmp_path / "m.tflite"
    path.write_bytes(BARE["tflite"] + archive_bytes.getvalue())
    with pytest.raises(ModelFileError, match="UTF-8"):
        read_spec(path)
