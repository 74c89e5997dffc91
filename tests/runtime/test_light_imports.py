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


def test_a_remembered_model_runs_on_a_camera_without_the_image_decoders(
    tmp_path: Path, tiny_tflite: Path, tiny_spec: ModelSpec
) -> None:
    path = Path(shutil.copy(tiny_tflite, tmp_path))
    with closing(open_engine(path, EngineOptions())) as engine:
        write_spec(path, replace(tiny_spec, golden=record_golden(engine, tiny_spec)))
    code = (
        "import sys\nfrom edgex.cli.live import command\n"
        "command([sys.argv[1], 'test://shapes?fps=100', '--max-frames', '2'], standalone_mode=False)"
    )
    cache = {"EDGEX_CACHE_DIR": str(tmp_path / "cache")}
    assert "PIL" in loaded_by(code, str(path), **cache), "the first start decodes the self-test's pictures"
    assert "PIL" not in loaded_by(code, str(path), **cache)
