"""Writes TFLite Metadata into a model: what MediaPipe and Android Studio read of its input, output and labels.

https://ai.google.dev/edge/litert/models/metadata, schema 1.0 (`metadata_schema.fbs` of tensorflow/tflite-support). The
label file that it names travels in the archive at the file's end, which the contract's writer appends.
"""

from collections.abc import Sequence
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from edgex_runtime.metadata.tflite import LABELS_MEMBER
from edgex_runtime.spec import ModelSpec

ENTRY = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
_MIN_PARSER_VERSION = "1.0.0"
_TENSOR_AXIS_LABELS = 2
_RGB = 1
_IMAGE_PROPERTIES = 2


def run(path: Path, spec: ModelSpec) -> None:
    """Put the metadata into the file at `path`, in place of an earlier one."""
    model = flatbuffer_utils.read_model(str(path))
    model.metadata = [entry for entry in model.metadata or [] if entry.name != ENTRY.encode()]
    model.buffers.append(_buffer(_model_metadata(spec)))
    entry = schema.MetadataT()
    entry.name = ENTRY
    entry.buffer = len(model.buffers) - 1
    model.metadata.append(entry)
    for buffer in model.buffers:
        # What stands outside of the flatbuffer is read as a view, which the writer would copy byte by byte in Python:
        # minutes for Xception's fp16 file instead of half a second.
        if buffer.data is not None and not isinstance(buffer.data, np.ndarray):
            buffer.data = np.frombuffer(buffer.data, dtype=np.uint8)
    path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _buffer(data: bytes) -> schema.BufferT:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, dtype=np.uint8)
    return buffer


class _Table:
    """Builds one flatbuffer table; fields are given as (slot in the schema, offset of the child)."""

    def __init__(self, builder: flatbuffers.Builder) -> None:
        self._builder = builder

    def text(self, value: str) -> int:
        offset: int = self._builder.CreateString(value)
        return offset

    def vector(self, offsets: Sequence[int]) -> int:
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        vector: int = self._builder.EndVector()
        return vector

    def floats(self, values: Sequence[float]) -> int:
        vector: int = self._builder.CreateNumpyVector(np.asarray(values, dtype=np.float32))
        return vector

    def table(self, slots: int, *children: tuple[int, int], tags: Sequence[tuple[int, int]] = ()) -> int:
        """A table of `slots` fields; `tags` are its bytes (enums), `children` its offsets."""
        self._builder.StartObject(slots)
        for slot, offset in children:
            self._builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, value in tags:
            self._builder.PrependInt8Slot(slot, value, 0)
        table: int = self._builder.EndObject()
        return table


def _model_metadata(spec: ModelSpec) -> bytes:
    builder = flatbuffers.Builder(1024)
    make = _Table(builder)
    subgraph = make.table(
        7,
        (2, make.vector([_input(make, spec)])),
        (3, make.vector([_output(make)])),
    )
    model = make.table(
        8,
        (0, make.text(spec.name)),
        (1, make.text(f"Image classifier, {len(spec.labels)} classes, {spec.precision}, made by edgex.")),
        (3, make.vector([subgraph])),
        (7, make.text(_MIN_PARSER_VERSION)),
    )
    builder.Finish(model, file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _input(make: _Table, spec: ModelSpec) -> int:
    """uint8 RGB; mean 0 and std 1, since the scaling is inside the graph."""
    image = make.table(2, tags=[(0, _RGB)])
    content = make.table(3, (1, image), tags=[(0, _IMAGE_PROPERTIES)])
    options = make.table(2, (0, make.floats([0.0])), (1, make.floats([1.0])))
    unit = make.table(2, (1, options), tags=[(0, 1)])
    stats = make.table(2, (0, make.floats([255.0])), (1, make.floats([0.0])))
    return make.table(
        7,
        (0, make.text("image")),
        (1, make.text(f"RGB, 0..255, {spec.input.height}x{spec.input.width}, resized by {spec.resize.mode}.")),
        (3, content),
        (4, make.vector([unit])),
        (5, stats),
    )


def _output(make: _Table) -> int:
    labels = make.table(4, (0, make.text(LABELS_MEMBER)), tags=[(2, _TENSOR_AXIS_LABELS)])
    return make.table(
        7,
        (0, make.text("logits")),
        (1, make.text("One logit a class, before the softmax.")),
        (6, make.vector([labels])),
    )
