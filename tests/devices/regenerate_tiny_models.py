"""Make the tiny models that `edgex doctor` runs: ``python tests/devices/regenerate_tiny_models.py``.

The network of tests/runtime/conftest.py in every format, fp32 and int8, each sealed with its contract and the logits
that its own engine gives here.
"""

import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from ai_edge_quantizer import quantizer, recipe
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

import edgex_devices
from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.registry import open_engine
from edgex_runtime.golden import load_golden_images
from edgex_runtime.metadata.registry import write_spec
from edgex_runtime.preprocess import to_input
from edgex_runtime.selftest import record_golden
from edgex_runtime.spec import InputSpec, ModelSpec, Normalise, Resize

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runtime"))
from conftest import LABELS, SIDE, random_weights, write_onnx, write_openvino, write_tflite

FOLDER = Path(edgex_devices.__file__).with_name("tiny")
SPEC = ModelSpec(
    name="tiny",
    labels=LABELS,
    input=InputSpec(height=SIDE, width=SIDE),
    resize=Resize(mode="crop", crop_fraction=0.875),
    normalise=Normalise(mean=(123.0, 117.0, 104.0), std=(58.0, 57.0, 57.0)),
)


class GoldenImages(CalibrationDataReader):
    def __init__(self) -> None:
        self.batches = iter([{"image": to_input([image.image], SPEC)} for image in load_golden_images()])

    def get_next(self):  # type: ignore[no-untyped-def]
        return next(self.batches, None)


def quantise_onnx(source: Path, path: Path) -> None:
    quantize_static(
        source,
        path,
        GoldenImages(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        extra_options={"ForceQuantizeNoInputCheck": False},
    )


def quantise_tflite(source: Path, path: Path) -> None:
    quantiser = quantizer.Quantizer(str(source), recipe.static_wi8_ai8())
    images = [{"args_0": to_input([image.image], SPEC)} for image in load_golden_images()]
    quantiser.quantize(quantiser.calibrate({"serving_default": images})).export_model(str(path), overwrite=True)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    weights = random_weights(SPEC, np.random.default_rng(7))
    plain = write_onnx(FOLDER / "tiny.onnx", weights)
    tflite = write_tflite(FOLDER / "tiny.tflite", weights)
    quantise_onnx(plain, FOLDER / "tiny-int8.onnx")
    quantise_tflite(tflite, FOLDER / "tiny-int8.tflite")
    write_openvino(FOLDER / "tiny.xml", plain)
    for path in sorted(FOLDER.iterdir()):
        if path.suffix == ".bin":
            continue
        spec = replace(SPEC, precision="int8" if "int8" in path.name else "fp32")
        engine = open_engine(path, EngineOptions(threads=1))
        write_spec(path, replace(spec, golden=record_golden(engine, spec)))


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
