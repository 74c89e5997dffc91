"""Folding the input's scaling into the first convolution: same numbers, fewer ops, never where it would be wrong."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgex_converters.stages.fold import fold_input_scaling


def scaled_convolution(*, padding: int, bias: bool, second_consumer: bool = False) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights = {
        "mean": np.array([127.5, 110.0, 90.0], np.float32).reshape(1, 3, 1, 1),
        "scale": np.array([1 / 127.5, 1 / 60, 1 / 70], np.float32).reshape(1, 3, 1, 1),
        "kernel": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "bias": rng.normal(size=4).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["scaled"]),
        helper.make_node(
            "Conv", ["scaled", "kernel", *(["bias"] if bias else [])], ["out"], name="first", pads=[padding] * 4
        ),
    ]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    if second_consumer:
        nodes.append(helper.make_node("Identity", ["scaled"], ["also"]))
        outputs.append(helper.make_tensor_value_info("also", TensorProto.FLOAT, None))
    graph = helper.make_graph(
        nodes,
        "scaled",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 3, 9, 9])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in weights.items() if bias or name != "bias"],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model: onnx.ModelProto) -> np.ndarray:
    image = np.random.default_rng(1).integers(0, 256, (1, 3, 9, 9), dtype=np.uint8)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"image": image})[0]


@pytest.mark.parametrize("bias", [True, False])
def test_gives_the_same_numbers_with_two_ops_less(bias: bool) -> None:
    model = scaled_convolution(padding=0, bias=bias)
    before = run(model)
    assert fold_input_scaling(model)
    assert [node.op_type for node in model.graph.node] == ["Cast", "Conv"]
    # Sums of 27 float32 products of up to 255 · 3: the last digits move.
    np.testing.assert_allclose(run(model), before, atol=1e-4)


def test_leaves_a_padding_convolution_alone() -> None:
    model = scaled_convolution(padding=1, bias=True)
    before = model.SerializeToString()
    assert not fold_input_scaling(model)
    assert model.SerializeToString() == before


def test_leaves_a_scaled_image_that_is_needed_elsewhere_alone() -> None:
    assert not fold_input_scaling(scaled_convolution(padding=0, bias=True, second_consumer=True))
