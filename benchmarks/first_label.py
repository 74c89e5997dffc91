"""How long `edgex live` takes to its first label, against a bare program that loads the engine and runs it once.

    python benchmarks/first_label.py MODEL ... [--rounds N]

Both are whole processes, in turns; medians. What has to hold: 1.5 × the bare program's time, and half a second.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

from rich.console import Console
from rich.table import Table

from edgex_runtime.metadata.registry import read_spec

BARE = {
    ".onnx": """
import os; os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy, onnxruntime
session = onnxruntime.InferenceSession({path!r})
session.run(None, {{session.get_inputs()[0].name: numpy.zeros({shape}, "uint8")}})
""",
    ".xml": """
import numpy, openvino
model = openvino.Core().read_model({path!r})
model.reshape({shape})
openvino.compile_model(model, "CPU").create_infer_request().infer([numpy.zeros({shape}, "uint8")])
""",
    ".tflite": """
import numpy
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter({path!r})
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], numpy.zeros({shape}, "uint8"))
interpreter.invoke()
""",
}


def time_s(command: list[str]) -> float:
    """Seconds of a whole process."""
    started = perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return perf_counter() - started


def main() -> None:
    """Print one line a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    table = Table("model", "bare s", "live s", "limit s", title=f"medians of {options.rounds} rounds")
    for path in options.models:
        spec = read_spec(path)
        assert spec is not None, f"{path}: want a file with a contract"
        code = BARE[path.suffix].format(path=str(path), shape=[1, *spec.input.shape])
        live = [sys.executable, "-m", "edgex", "live", str(path), "test://shapes", "--max-frames", "1", "--json"]
        rounds = [(time_s([sys.executable, "-c", code]), time_s(live)) for _ in range(options.rounds)]
        bare, label = (median(column) for column in zip(*rounds, strict=True))
        table.add_row(path.name, f"{bare:.2f}", f"{label:.2f}", f"{1.5 * bare + 0.5:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
