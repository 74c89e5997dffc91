"""The suite that every engine passes; a new engine is a new row of CASES."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgex_runtime.engines.engine import Device, Engine, EngineOptions
from edgex_runtime.engines.registry import open_engine
from edgex_runtime.errors import BadInputError, DeviceUnavailableError, ModelFileError
from edgex_runtime.spec import ModelSpec

# Engine → the fixture of its file.
CASES = {
    "onnxruntime": "tiny_onnx",
    "openvino": "tiny_openvino",
    "openvino on .onnx": "tiny_onnx",
    "tflite": "tiny_tflite",
    "torch": "tiny_checkpoint",
    "fake": "tiny_fake",
}
# Those that run the one network of conftest's TinyWeights.
SAME_NETWORK = ["onnxruntime", "openvino", "openvino on .onnx", "tflite"]


def file_of(case: str, request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(CASES[case])
    return path


def name_of(case: str) -> str:
    return case.split()[0]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(case: str, request: pytest.FixtureRequest) -> Path:
    return file_of(case, request)


@pytest.fixture
def engine(case: str, path: Path) -> Engine:
    return open_engine(path, EngineOptions(threads=1), name_of(case))


@pytest.fixture
def batch(tiny_spec: ModelSpec) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (3, *tiny_spec.input.shape), dtype=np.uint8)


def test_says_who_runs_it(engine: Engine, case: str) -> None:
    assert engine.info.name == name_of(case)
    assert engine.info.version
    assert engine.info.device == "cpu"


def test_declares_its_graph(engine: Engine, tiny_spec: ModelSpec) -> None:
    assert engine.signature.input_shape[1:] == tiny_spec.input.shape
    assert engine.signature.input_dtype == "uint8"
    assert engine.signature.output_shape[-1] == len(tiny_spec.labels)
    assert engine.signature.output_dtype == "float32"


def test_gives_float32_logits_for_any_batch(engine: Engine, batch: NDArray[np.uint8], tiny_spec: ModelSpec) -> None:
    for count in (1, 2, 3):
        logits = engine.run(batch[:count])
        assert logits.shape == (count, len(tiny_spec.labels))
        assert logits.dtype == np.float32


def test_an_image_has_the_same_logits_alone_and_in_a_batch(engine: Engine, batch: NDArray[np.uint8]) -> None:
    together = engine.run(batch)
    alone = np.concatenate([engine.run(batch[i : i + 1]) for i in range(len(batch))])
    # Kernels for other batch sizes sum in another order: float32 keeps some 6 digits.
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-4)
    assert np.ptp(together, axis=0).max() > 1e-2


def test_results_belong_to_the_caller(engine: Engine, batch: NDArray[np.uint8]) -> None:
    first = engine.run(batch[:1])
    kept = first.copy()
    second = engine.run(batch[1:2])
    np.testing.assert_array_equal(first, kept)
    second += 1000
    np.testing.assert_array_equal(engine.run(batch[:1]), kept)


def test_takes_a_batch_that_cannot_be_written_to(engine: Engine, batch: NDArray[np.uint8]) -> None:
    expected = engine.run(batch)
    batch.flags.writeable = False
    np.testing.assert_array_equal(engine.run(batch), expected)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 32, 32, 3), np.float32),
        np.zeros((1, 3, 32, 32), np.uint8),
        np.zeros((1, 31, 32, 3), np.uint8),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((0, 32, 32, 3), np.uint8),
    ],
    ids=["float", "nchw", "size", "no batch", "empty"],
)
def test_refuses_another_tensor(engine: Engine, wrong: NDArray[np.generic]) -> None:
    with pytest.raises(BadInputError, match=r"want \(N ≥ 1, 32, 32, 3\) uint8"):
        engine.run(wrong)


def test_closes_twice(engine: Engine) -> None:
    engine.close()
    engine.close()


@pytest.mark.parametrize("device", ["gpu", "npu"])
def test_says_which_devices_there_are_for_one_that_is_not(case: str, path: Path, device: Device) -> None:
    with pytest.raises(DeviceUnavailableError, match=f"(?i)'{device}'.*cpu"):
        open_engine(path, EngineOptions(device=device), name_of(case))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_the_answer(case: str, path: Path, batch: NDArray[np.uint8], threads: int) -> None:
    got = open_engine(path, EngineOptions(threads=threads), name_of(case)).run(batch)
    expected = open_engine(path, EngineOptions(), name_of(case)).run(batch)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("damage", ["empty", "text", "first half", "zeros in front"])
def test_a_broken_file_is_an_error_of_ours(case: str, path: Path, tmp_path: Path, damage: str) -> None:
    whole = path.read_bytes()
    middle = len(whole) // 2
    broken = {
        "empty": b"",
        "text": b"this is no model\n" * 10,
        "first half": whole[:middle],
        "zeros in front": bytes(middle) + whole[middle:],
    }
    target = tmp_path / path.name
    target.write_bytes(broken[damage])
    if path.suffix == ".xml":
        shutil.copy(path.with_suffix(".bin"), tmp_path)
    # In a process of its own: what a vendor makes of such bytes may be worse than an exception.
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from edgex_runtime.engines.engine import EngineOptions\n"
        "from edgex_runtime.engines.registry import open_engine\n"
        "from edgex_runtime.errors import BadInputError\n"
        "try:\n    open_engine(Path(sys.argv[1]), EngineOptions(threads=1), sys.argv[2])\n"
        "except BadInputError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, target, name_of(case)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(target) in done.stdout


FUZZ = """
import random, sys
from pathlib import Path
import numpy
from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.registry import open_engine
from edgex_runtime.errors import BadInputError
path, whole = Path(sys.argv[1]), Path(sys.argv[1]).read_bytes()
for seed in range(40):
    rng, damaged = random.Random(seed), bytearray(whole)
    for _ in range(rng.choice((1, 2, 8))):
        damaged[rng.randrange(len(damaged))] = rng.choice((0, 255, rng.randrange(256)))
    path.write_bytes(damaged)
    try:
        open_engine(path, EngineOptions(threads=1)).run(numpy.zeros((1, 32, 32, 3), numpy.uint8))
    except BadInputError:
        continue
print("survived")
"""


@pytest.mark.parametrize("fixture", ["tiny_onnx", "tiny_openvino", "tiny_tflite"])
def test_bytes_changed_anywhere_end_in_logits_or_in_an_error_of_ours(
    request: pytest.FixtureRequest, tmp_path: Path, fixture: str
) -> None:
    source: Path = request.getfixturevalue(fixture)
    path = Path(shutil.copy(source, tmp_path))
    if path.suffix == ".xml":
        shutil.copy(source.with_suffix(".bin"), tmp_path)
    done = subprocess.run([sys.executable, "-c", FUZZ, path], capture_output=True, text=True)
    assert done.stdout == "survived\n", done.stderr


def test_a_missing_file_is_an_error_of_ours(case: str, path: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        open_engine(tmp_path / path.name, EngineOptions(), name_of(case))


def test_the_formats_agree(request: pytest.FixtureRequest, batch: NDArray[np.uint8]) -> None:
    engines = [open_engine(file_of(case, request), EngineOptions(), name_of(case)) for case in SAME_NETWORK]
    reference = engines[0].run(batch)
    for other in engines[1:]:
        # fp32 in every engine, sums in another order; bf16, OpenVINO's default on CPUs that have it, is off by 1e-2.
        assert np.abs(other.run(batch) - reference).max() < 1e-4 * np.ptp(reference)


def test_a_fixed_batch_is_filled_up(
    tmp_path: Path, make_onnx: Callable[..., Path], tiny_weights: object, tiny_onnx: Path, batch: NDArray[np.uint8]
) -> None:
    fixed = open_engine(make_onnx(tmp_path / "fixed.onnx", tiny_weights, batch=2), EngineOptions(threads=1))
    free = open_engine(tiny_onnx, EngineOptions(threads=1))
    assert fixed.signature.input_shape[0] == 2
    for count in (1, 2, 3):
        np.testing.assert_allclose(fixed.run(batch[:count]), free.run(batch[:count]), rtol=1e-4, atol=1e-4)


def test_a_quantised_output_is_dequantised(tiny_tflite: Path, tiny_int8_tflite: Path, batch: NDArray[np.uint8]) -> None:
    quantised = open_engine(tiny_int8_tflite, EngineOptions(threads=1))
    assert quantised.signature.output_dtype == "int8"
    expected = open_engine(tiny_tflite, EngineOptions(threads=1)).run(batch)
    # int8 has 256 steps; noise is outside what this network was calibrated on.
    assert np.abs(quantised.run(batch) - expected).max() < 0.2 * np.ptp(expected)


def test_an_execution_that_fails_is_an_error_of_ours(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    # Loads, since its batch is free; runs for no batch, since 3072 values are not 7.
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", ["float", "shape"], ["logits"]),
        ],
        "broken",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 32, 32, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 7])],
        [helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 7])],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "m.onnx")
    engine = open_engine(tmp_path / "m.onnx", EngineOptions(threads=1))
    with pytest.raises(ModelFileError, match=r"m\.onnx: onnxruntime cannot run it"):
        engine.run(np.zeros((1, 32, 32, 3), np.uint8))


def test_a_silent_fall_back_to_the_cpu_is_refused(monkeypatch: pytest.MonkeyPatch, tiny_onnx: Path) -> None:
    import onnxruntime

    # What an onnxruntime for CUDA says on a machine without CUDA's libraries: the provider is listed, and then dropped.
    listed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"), pytest.raises(DeviceUnavailableError, match="CUDA"):
        open_engine(tiny_onnx, EngineOptions(device="gpu"))


def test_cudas_libraries_are_looked_for_where_pip_puts_them(
    monkeypatch: pytest.MonkeyPatch, tiny_onnx: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import onnxruntime

    def preload() -> None:
        print("Failed to load libcudnn.so.9: no such file")

    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(onnxruntime, "preload_dlls", preload)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"), pytest.raises(DeviceUnavailableError) as caught:
        open_engine(tiny_onnx, EngineOptions(device="gpu"))
    assert str(caught.value).endswith("(Failed to load libcudnn.so.9: no such file)")
    assert "libcudnn" not in capfd.readouterr().out


def test_an_unknown_device_is_told(case: str, path: Path) -> None:
    with pytest.raises(BadInputError, match="'cuda' is not known; known are auto, cpu, gpu, npu"):
        open_engine(path, EngineOptions(device="cuda"), name_of(case))  # type: ignore[arg-type]


def test_onnxruntime_is_told_not_to_report(tmp_path: Path, tiny_onnx: Path) -> None:
    code = (
        "import os\nfrom edgex_runtime.engines.onnxruntime import OnnxRuntimeEngine\n"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"
    )
    environ = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"} | {
        "HOME": str(tmp_path)
    }
    subprocess.run([sys.executable, "-c", code], check=True, env=environ)
    assert list(tmp_path.iterdir()) == []


def test_onnxruntimes_device_is_told_from_the_kernels_that_ran(tmp_path: Path, tiny_onnx: Path) -> None:
    import onnxruntime

    from edgex_runtime.engines.onnxruntime import devices_used

    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(str(tiny_onnx), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    session.run(None, {given.name: np.zeros([size if isinstance(size, int) else 1 for size in given.shape], np.uint8)})
    profile = json.loads(Path(session.end_profiling()).read_text())
    assert devices_used(profile) == "cpu"
    kernels = [event for event in profile if event.get("args", {}).get("op_name")]
    # The same run as it looks where an accelerator took all of it, and all but one kernel.
    arithmetic = [event for event in kernels if re.search("Conv|Gemm|MatMul|Pool", event["args"]["op_name"])]
    for event in kernels:
        event["args"]["provider"] = "CUDAExecutionProvider"
    assert devices_used(profile) == "gpu"
    arithmetic[-1]["args"]["provider"] = "CPUExecutionProvider"
    assert devices_used(profile) == "gpu cpu"
