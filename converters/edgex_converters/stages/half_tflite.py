"""TFLite fp32 → fp16: weights stored in half precision, arithmetic in float32."""

from pathlib import Path

from ai_edge_quantizer import qtyping, quantizer
from ai_edge_quantizer.algorithm_manager import AlgorithmName

from edgex_converters.stage import Job


def run(job: Job, source: Path | None, destination: Path) -> None:
    """Convert."""
    tool = quantizer.Quantizer(str(source))
    tool.update_quantization_recipe(
        ".*",
        qtyping.TFLOperationName.ALL_SUPPORTED,
        qtyping.OpQuantizationConfig(
            weight_tensor_config=qtyping.TensorQuantizationConfig(16, dtype=qtyping.TensorDataType.FLOAT),
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
        algorithm_key=AlgorithmName.FLOAT_CASTING,
    )
    tool.quantize().export_model(str(destination))
