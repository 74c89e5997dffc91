"""What a conversion can make: a file format at a precision."""

from dataclasses import dataclass
from typing import Literal

from edgex_runtime.spec import Precision

Format = Literal["onnx", "openvino", "tflite"]

FORMATS: tuple[Format, ...] = ("onnx", "openvino", "tflite")
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml", "tflite": ".tflite"}


@dataclass(frozen=True, slots=True)
class Target:
    """One artifact that a conversion makes."""

    format: Format
    precision: Precision

    def __str__(self) -> str:
        return f"{self.format} {self.precision}"

    def filename(self, name: str) -> str:
        """What its file is called.

        >>> Target("openvino", "int8").filename("flowers")
        'flowers-int8.xml'
        """
        return f"{name}-{self.precision}{SUFFIXES[self.format]}"
