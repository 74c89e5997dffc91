"""What starts on a board, or at every `edgex --help`, stays light."""

import os
import resource
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.registry import open_engine
from edgex_runtime.metadata.registry import write_spec
from edgex_runtime.selftest import record_golden
from edgex_runtime.spec import ModelSpec

ROUNDS = 9
TOOLCHAINS = ("torch", "onnx", "onnxruntime", "openvino", "tensorflow", "safetensors", "nncf", "litert_torch")


def cpu_seconds(*command: str) -> float:
    """CPU time of a process: on a quiet machine its wall time, and not longer on a busy one."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def test_importing_edgex_takes_at_most_50_ms() -> None:
    pairs = [
        (cpu_seconds(sys.executable, "-c", "pass"), cpu_seconds(sys.executable, "-c", "import edgex"))
        for _ in range(ROUNDS)
    ]
    assert median(loaded for _, loaded in pairs) - median(bare for bare, _ in pairs) <= 0.050


def test_help_takes_at_most_300_ms() -> None:
    program = str(Path(sys.executable).with_name("edgex"))
    assert median(cpu_seconds(program, "--help") for _ in range(ROUNDS)) <= 0.300


def loaded_by(code: str, *arguments: str, **environ: str) -> set[str]:
    """Top-level modules that a fresh process has imported after `code`."""
    code += "\nimport sys\nprint('\\n'.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("code", ["import edgex", "from edgex.cli import main", "from edgex import Model"])
def test_importing_loads_no_engine(code: str) -> None:
    assert not loaded_by(code) & {*TOOLCHAINS, "ai_edge_litert", "tflite_runtime"}


def test_running_a_tflite_model_loads_no_other_engine(tmp_path: Path, tiny_tflite: Path, tiny_spec: ModelSpec) -> None:
    path = Path(shutil.copy(tiny_tflite, tmp_path))
    write_spec(path, tiny_spec)
    code = (
        "import sys, numpy\nfrom edgex import Model\n"
        "with Model(sys.argv[1]) as model:\n    model.predict(numpy.zeros((9, 9, 3), numpy.uint8))"
    )
    loaded = loaded_by(code, str(path))
    assert "ai_edge_litert" in loaded
    assert not loaded & set(TOOLCHAINS)


@pytest.fixture
def sealed_tflite(tmp_path: Path, tiny_tflite: Path, tiny_spec: ModelSpec) -> Path:
    path = Path(shutil.copy(tiny_tflite, tmp_path))
    with closing(open_engine(path, EngineOptions())) as engine:
        write_spec(path, replace(tiny_spec, golden=record_golden(engine, tiny_spec)))
    return path


def test_a_models_first_start_on_a_camera_loads_no_image_decoder_and_nothing_that_only_others_need(
    tmp_path: Path, sealed_tflite: Path
) -> None:
    code = (
        "import sys\nfrom edgex.cli.live import command\n"
        "command([sys.argv[1], 'test://shapes?fps=100', '--max-frames', '2'], standalone_mode=False)"
    )
    loaded = loaded_by(code, str(sealed_tflite), EDGEX_CACHE_DIR=str(tmp_path / "cache"))
    assert (tmp_path / "cache" / "selftest").is_dir(), "the self-test ran"
    # Pictures' decoders, OpenVINO's text, entry points (email), trials of strangers' files, exact fractions.
    assert not loaded & {"PIL", "xml", "email", "subprocess", "statistics"}


BARE = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
engine = Interpreter(sys.argv[1], num_threads=1)
engine.allocate_tensors()
image = engine.get_input_details()[0]
engine.set_tensor(image["index"], np.zeros(image["shape"], image["dtype"]))
engine.invoke()
for _ in range(5):
    print(flush=True)
sys.stdin.read()
"""


def resident_kb(*command: str, **environ: str) -> int:
    """Resident memory of a process that has said five lines, and goes on."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, *command], **pipes, env={**os.environ, **environ}) as process:
        for _ in range(5):
            assert process.stdout.readline()
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.terminate()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_a_models_first_start_on_a_camera_takes_at_most_40_mb_more_than_its_bare_engine(
    tmp_path: Path, sealed_tflite: Path
) -> None:
    live = ("-m", "edgex", "live", str(sealed_tflite), "test://shapes?fps=5", "--threads", "1", "--out", "-")
    quiet = {"EDGEX_CACHE_DIR": str(tmp_path / "cache"), "XDG_STATE_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    assert resident_kb(*live, **quiet) - resident_kb("-c", BARE, str(sealed_tflite), **quiet) <= 40 * 1024
