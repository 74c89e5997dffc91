"""OpenVINO IR: the contract stands in `<rt_info>` of the .xml, beside the `model_info` that Model API reads.

Only the bytes of that one element are replaced: the graph's text stays as OpenVINO wrote it.
"""

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from edgex_runtime.atomic import atomic_write
from edgex_runtime.errors import ModelFileError
from edgex_runtime.metadata.carrier import CONTRACT_KEY, SEAL_KEY, Carried
from edgex_runtime.spec import ModelSpec

_ROOT, _RT_INFO, _MODEL_INFO = "net", "rt_info", "model_info"
_END_TAG = b"</rt_info"
# IRs of the largest classifiers have some 20 MB of text; the weights are in the .bin.
_LARGEST_XML_BYTES = 512 * 1024 * 1024
_DEEPEST = 1000
# https://github.com/open-edge-platform/model_api: its names for what `preprocess.resize` does.
_RESIZE_TYPES = {"crop": "crop", "stretch": "standard", "letterbox": "fit_to_window_letterbox"}


@dataclass(slots=True, kw_only=True)
class _Span:
    """Where `<rt_info>` of the document starts and ends, in bytes; both at `</net>` in a document without one."""

    start: int = -1
    end: int = -1


def files(path: Path) -> tuple[Path, ...]:
    """The graph and its weights.

    Raises:
        ModelFileError: If the weights are not there.
    """
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise ModelFileError(f"{path}: want its weights beside it, {weights.name} is not there: copy both files")
    return path, weights


def spell(label: str) -> str:
    """Model API splits its list at spaces, so that a label's own become underscores."""
    return label.replace(" ", "_")


def read(path: Path) -> Carried:
    """Read `<rt_info>`."""
    text = _read_bytes(path)
    span = _find(text, path)
    info = _rt_info(text, span, path)
    contract, labels, seal = info.find(CONTRACT_KEY), info.find(f"{_MODEL_INFO}/labels"), info.find(SEAL_KEY)
    return Carried(
        contract=None if contract is None else contract.get("value"),
        labels=None if labels is None else tuple(labels.get("value", "").split()),
        seal=None if seal is None else seal.get("value"),
        content=((0, span.start), (span.end, len(text))),
    )


def write(path: Path, spec: ModelSpec, seal: str) -> None:
    """Replace our entries of `<rt_info>`."""
    text = _read_bytes(path)
    span = _find(text, path)
    info = _rt_info(text, span, path)
    _put(info, CONTRACT_KEY, spec.to_json())
    _put(info, SEAL_KEY, seal)
    model_info = info.find(_MODEL_INFO)
    if model_info is None:
        model_info = ElementTree.SubElement(info, _MODEL_INFO)
    for key, value in _model_info(spec).items():
        _put(model_info, key, value)
    with atomic_write(path) as target:
        target.write(text[: span.start])
        target.write(ElementTree.tostring(info, encoding="utf-8", xml_declaration=False))
        target.write(text[span.end :])


def _model_info(spec: ModelSpec) -> dict[str, str]:
    """Model API's parameters. No mean or scale: they are inside the graph. Its callers give RGB images."""
    return {
        "model_type": "Classification",
        "labels": " ".join(map(spell, spec.labels)),
        "resize_type": _RESIZE_TYPES[spec.resize.mode],
        "pad_value": str(spec.resize.fill),
        "reverse_input_channels": str(spec.input.color == "BGR"),
        "layout": spec.input.layout,
        "input_dtype": "u8" if spec.input.dtype == "uint8" else "f32",
        "output_raw_scores": "True",
    }


def _put(parent: ElementTree.Element, key: str, value: str) -> None:
    first, *others = parent.findall(key) or [ElementTree.SubElement(parent, key)]
    first.set("value", value)
    for other in others:
        parent.remove(other)


def _read_bytes(path: Path) -> bytes:
    size = path.stat().st_size
    if size > _LARGEST_XML_BYTES:
        raise ModelFileError(f"{path}: want the .xml of an OpenVINO IR, got {size} bytes")
    return path.read_bytes()


def _rt_info(text: bytes, span: _Span, path: Path) -> ElementTree.Element:
    if span.start == span.end:
        return ElementTree.Element(_RT_INFO)
    try:
        return ElementTree.fromstring(text[span.start : span.end].decode())
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise ModelFileError(f"{path}: its rt_info cannot be read: {error}") from error


def _find(text: bytes, path: Path) -> _Span:
    """Find the root's own `<rt_info>` (layers have some too).

    Raises:
        ModelFileError: If the text is no IR, or has a DTD, which no IR has and entity bombs need.
    """
    span, stack = _Span(), list[str]()
    parser = expat.ParserCreate("utf-8")

    def open_element(name: str, _: dict[str, str]) -> None:
        stack.append(name)
        if len(stack) > _DEEPEST or stack[0] != _ROOT:
            raise ModelFileError(f"{path}: not an OpenVINO IR: <{stack[0]}> with {len(stack)} levels")
        if stack == [_ROOT, _RT_INFO]:
            span.start = parser.CurrentByteIndex

    def close_element(_: str) -> None:
        if stack == [_ROOT, _RT_INFO]:
            index = parser.CurrentByteIndex
            # At the start of an end tag, but already behind an element that closes itself.
            span.end = text.index(b">", index) + 1 if text.startswith(_END_TAG, index) else index
        elif stack == [_ROOT] and span.end < 0:
            span.start = span.end = parser.CurrentByteIndex
        stack.pop()

    def refuse_dtd(*_: object) -> None:
        raise ModelFileError(f"{path}: not an OpenVINO IR: it has a DTD, which an IR never has")

    parser.StartElementHandler, parser.EndElementHandler = open_element, close_element
    parser.StartDoctypeDeclHandler = refuse_dtd
    try:
        parser.Parse(text, True)  # noqa: FBT003 (expat takes it by position only)
    except expat.ExpatError as error:
        raise ModelFileError(f"{path}: not an OpenVINO IR: {error}") from error
    return span
