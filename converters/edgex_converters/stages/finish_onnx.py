"""What every fp32 ONNX file of ours has in common, whoever wrote it: constant kernels, named layers, folded scaling."""

import onnx
from onnxscript import optimizer

from edgex_converters.graph import layer_name
from edgex_converters.stages.fold import fold_input_scaling

# JetPack 6 stays at onnxruntime 1.23, which reads IR 10 and opset 18.
OPSET = 18
IR_VERSION = 10
INPUT = "image"
OUTPUT = "logits"
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def finish(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold, name and strip; `model` may be changed on the way.

    Raises:
        onnx.checker.ValidationError: If what comes out is no valid model.
    """
    model = _fold_constants(model)
    name_layers(model)
    fold_input_scaling(model)
    _strip(model)
    model.ir_version = min(model.ir_version, IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def _fold_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Finish what the exporter leaves undone where a network stores its kernels in another layout than torch's.

    Keras's are transposed in the graph. The exporter looks for batch-norm to fold before it computes the small ones,
    and never computes the large ones; int8 would then take those for activations. An op that took in its batch-norm is
    called as it was before: ``conv2d_3``.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    unfinished = [
        node
        for node in model.graph.node
        if node.op_type == "BatchNormalization" or (node.op_type == "Transpose" and node.input[0] in constants)
    ]
    if not unfinished:
        return model
    limit = 1 << 31  # Bytes; protobuf ends there. The optimizer's own limits are what left these.
    names = {node.input[1]: node.output[0] for node in model.graph.node if node.op_type in _LAYERS}
    finished: onnx.ModelProto = optimizer.optimize(model, input_size_limit=limit, output_size_limit=limit)
    for node in finished.graph.node:
        if node.op_type in _LAYERS:
            # A kernel that two ops share names the first.
            node.name = names.pop(node.input[1], node.name)
    return finished


def name_layers(model: onnx.ModelProto) -> None:
    """Call each op with weights as the network calls its layer; quantisers and OpenVINO keep the name.

    The exporter names initializers by the state dict, ops by a counter.
    """
    layers = {tensor.name: layer_name(tensor.name) for tensor in model.graph.initializer if _is_weight(tensor)}
    for node in model.graph.node:
        if len(node.input) > 1 and node.input[1] in layers:
            node.name = layers[node.input[1]]


def _is_weight(tensor: onnx.TensorProto) -> bool:
    return tensor.name.endswith(".weight") and len(tensor.dims) > 1


def _strip(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes of this machine's source files; the nodes' names stay."""
    del model.metadata_props[:]
    for item in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info):
        del item.metadata_props[:]
        item.doc_string = ""
    model.doc_string = ""
