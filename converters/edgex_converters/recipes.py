"""Which stages a target needs: a table, read backwards from what was asked for."""

from collections.abc import Iterable

from edgex_converters.source import Kind
from edgex_converters.stage import Stage
from edgex_converters.target import Target
from edgex_runtime.errors import BadInputError

_ONNX = Target("onnx", "fp32")
_OPENVINO = Target("openvino", "fp32")
_TFLITE = Target("tflite", "fp32")
_AT = "edgex_converters.stages."
_DESCRIBE_TFLITE = _AT + "describe_tflite:run"
# ai-edge-litert also runs the calibration photos.
_TFLITE_FILE = ("ai-edge-litert", "flatbuffers")

# OpenVINO starts from the ONNX file: the same graph as straight from torch in 2 s instead of 34, with better names.
STAGES: tuple[Stage, ...] = (
    Stage(
        name="export_onnx",
        entry=_AT + "export_onnx:run",
        requires=None,
        ensures=_ONNX,
        tools=("torch", "onnx", "onnxscript"),
    ),
    Stage(
        name="half_onnx",
        entry=_AT + "half_onnx:run",
        requires=_ONNX,
        ensures=Target("onnx", "fp16"),
        tools=("onnx", "onnxruntime"),
    ),
    Stage(
        name="quantize_onnx",
        entry=_AT + "quantize_onnx:run",
        requires=_ONNX,
        ensures=Target("onnx", "int8"),
        tools=("onnx", "onnxruntime", "torch"),  # torch says what each layer should have given.
        calibrates=True,
        settings=("activation_range", "weight_bits"),
        portability=_AT + "saturation_onnx:fault",
    ),
    Stage(
        name="export_openvino",
        entry=_AT + "export_openvino:run",
        requires=_ONNX,
        ensures=_OPENVINO,
        tools=("openvino",),
    ),
    Stage(
        name="half_openvino",
        entry=_AT + "half_openvino:run",
        requires=_OPENVINO,
        ensures=Target("openvino", "fp16"),
        tools=("openvino",),
    ),
    Stage(
        name="quantize_openvino",
        entry=_AT + "quantize_openvino:run",
        requires=_OPENVINO,
        ensures=Target("openvino", "int8"),
        tools=("openvino", "nncf"),
        calibrates=True,
        settings=("activation_range", "weight_bits"),
        portability=_AT + "saturation_openvino:fault",
    ),
    Stage(
        name="export_tflite",
        entry=_AT + "export_tflite:run",
        requires=None,
        ensures=_TFLITE,
        tools=("torch", "litert-torch", "litert-converter", *_TFLITE_FILE),
        description=_DESCRIBE_TFLITE,
    ),
    Stage(
        name="half_tflite",
        entry=_AT + "half_tflite:run",
        requires=_TFLITE,
        ensures=Target("tflite", "fp16"),
        tools=("ai-edge-quantizer", *_TFLITE_FILE),
        description=_DESCRIBE_TFLITE,
    ),
    Stage(
        name="quantize_tflite",
        entry=_AT + "quantize_tflite:run",
        requires=_TFLITE,
        ensures=Target("tflite", "int8"),
        tools=("ai-edge-quantizer", "torch", *_TFLITE_FILE),
        calibrates=True,
        settings=("activation_range",),
        description=_DESCRIBE_TFLITE,
    ),
)

# What takes the place of the exporters where the source is an ONNX file.
ADOPT = Stage(
    name="adopt_onnx",
    entry=_AT + "adopt_onnx:run",
    requires=None,
    ensures=_ONNX,
    tools=("onnx", "onnxscript"),
)

_MAKERS: dict[Kind, dict[Target, Stage]] = {
    "torch": {stage.ensures: stage for stage in STAGES},
    "onnx": {stage.ensures: stage for stage in (*STAGES, ADOPT) if stage.name not in ("export_onnx", "export_tflite")},
}


def plan(targets: Iterable[Target], kind: Kind = "torch") -> tuple[Stage, ...]:
    """The stages that make `targets` of a source of that kind, each once, each after the one that it starts from.

    Raises:
        BadInputError: If there is no way from such a source to a target.

    >>> [stage.name for stage in plan([Target("openvino", "int8")])]
    ['export_onnx', 'export_openvino', 'quantize_openvino']
    >>> [stage.name for stage in plan([Target("openvino", "fp16")], "onnx")]
    ['adopt_onnx', 'export_openvino', 'half_openvino']
    """
    planned: dict[str, Stage] = {}

    def add(target: Target) -> None:
        stage = _MAKERS[kind].get(target)
        if stage is None:
            raise BadInputError(
                f"{target} is made from the network itself, and the source is an ONNX file: give the network "
                "(package.module:function, .pt2, or its library's name), or leave tflite out: --to onnx,openvino"
            )
        if stage.requires is not None:
            add(stage.requires)
        planned.setdefault(stage.name, stage)

    for target in targets:
        add(target)
    return tuple(planned.values())
