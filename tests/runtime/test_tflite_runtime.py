"""The TFLite engine on tflite-runtime 2.14, numpy 1 and OpenCV 4: what older boards have.

It cannot share an environment with the rest (numpy < 2); `make test` makes one for it. The interpreter is the one that
EDGEX_TFLITE_RUNTIME_PYTHON names, or .venv-tflite-runtime's beside the project.
"""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.registry import open_engine
from edgex_runtime.metadata.registry import write_spec
from edgex_runtime.model import Model
from edgex_runtime.selftest import record_golden
from edgex_runtime.spec import ModelSpec

ROOT = Path(__file__).resolve().parents[2]

CODE = """
import json, sys
import numpy, cv2
from edgex_runtime.model import Model
with Model(sys.argv[1], threads=1) as model:
    prediction = model.predict(sys.argv[2])
    print(json.dumps({
        "engine": model.engine.info.version,
        "numpy": numpy.__version__,
        "opencv": cv2.__version__,
        "label": prediction.label,
        "logits": prediction.logits.tolist(),
    }))
"""


@pytest.fixture(scope="module")
def python() -> str:
    named = os.environ.get("EDGEX_TFLITE_RUNTIME_PYTHON", str(ROOT / ".venv-tflite-runtime" / "bin" / "python"))
    if not Path(named).is_file():
        message = f"no environment with tflite-runtime at {named}: `make test` makes it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return named


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels: NDArray[np.uint8] = np.random.default_rng(8).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    return path


def run_elsewhere(python: str, model: Path, picture: Path) -> dict[str, Any]:
    # The tree's own code, whatever version is installed there.
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "runtime")}
    done = subprocess.run([python, "-c", CODE, model, picture], capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(("fixture", "precision"), [("tiny_tflite", "fp32"), ("tiny_int8_tflite", "int8")])
def test_gives_the_same_answer_and_passes_the_same_self_test(
    request: pytest.FixtureRequest,
    python: str,
    tmp_path: Path,
    picture: Path,
    tiny_spec: ModelSpec,
    fixture: str,
    precision: str,
) -> None:
    path = Path(shutil.copy(request.getfixturevalue(fixture), tmp_path / "model.tflite"))
    spec = replace(tiny_spec, precision=precision)  # type: ignore[arg-type]
    golden = record_golden(open_engine(path, EngineOptions(threads=1)), spec)
    write_spec(path, replace(spec, golden=golden))
    with Model(path, threads=1) as model:
        expected = model.predict(picture)
    there = run_elsewhere(python, path, picture)
    assert there["engine"] == "tflite-runtime 2.14.0"
    assert there["numpy"].startswith("1.")
    assert there["label"] == expected.label
    # The artifact's own tolerance: 1e-3 of the range for fp32, int8 rounding for int8.
    np.testing.assert_allclose(there["logits"], expected.logits, rtol=0, atol=golden.tolerance)
