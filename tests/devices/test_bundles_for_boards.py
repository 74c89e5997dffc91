"""What `edgex bundle` takes for a board that is not this machine, and what it says where a board cannot have it."""

import zipfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from edgex_devices import bundle as bundle_module
from edgex_devices.agent.config import CONFIG, AppConfig
from edgex_devices.bundle import BundleOptions, make_bundle
from edgex_devices.keys import SigningKey, new_key
from edgex_devices.profile import load_profile
from edgex_runtime.errors import BadInputError

STREAMS = ("websockets", "paho_mqtt", "av", "simplejpeg")
TINY = Path(bundle_module.__file__).with_name("tiny")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return new_key(tmp_path_factory.mktemp("keys") / "key", comment="test")


def write_wheel(folder: Path, name: str, release: str, tag: str = "py3-none-any") -> None:
    """A wheel that pip takes, with nothing in it."""
    info = f"{name}-{release}.dist-info"
    texts = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{name}-{release}-{tag}.whl", "w") as wheel:
        for member, text in texts.items():
            wheel.writestr(member, text)


@pytest.fixture
def vendors(tmp_path: Path) -> Path:
    """A folder as a Jetson's `pip download` leaves it: onnxruntime-gpu of NVIDIA's index, and what edgex needs."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    write_wheel(folder, "onnxruntime_gpu", "1.30.0", "cp312-cp312-linux_aarch64")
    for name in ("numpy", "opencv_python_headless", "pillow", "click", "rich", "pip", *STREAMS):
        write_wheel(folder, name, "2.99" if name == "paho_mqtt" else "99.0")
    return folder


def test_a_makers_wheels_for_its_gpu_come_from_a_folder(vendors: Path, key: SigningKey, tmp_path: Path) -> None:
    """They name no glibc, and the host has no such GPU: its CPU answers for the proof."""
    profile = load_profile("jetson-orin-nano:jetpack-7", [])
    options = BundleOptions(model=TINY / "tiny.onnx", profile=profile, device="gpu", wheels=vendors)
    folder = make_bundle(options, key, tmp_path / "out").folder
    wheels = {wheel.name for wheel in (folder / "wheelhouse").iterdir()}
    assert "onnxruntime_gpu-1.30.0-cp312-cp312-linux_aarch64.whl" in wheels
    assert f"edgex-{version('edgex')}-py3-none-any.whl" in wheels
    assert AppConfig.from_json((folder / CONFIG).read_bytes()).device == "gpu"


def test_what_camera_and_sinks_need_travels_along(vendors: Path, key: SigningKey, tmp_path: Path) -> None:
    """A board has no network to fetch it from, and a service without its console does not start."""
    profile = load_profile("jetson-orin-nano:jetpack-7", [])
    bare = BundleOptions(
        model=TINY / "tiny.onnx", profile=profile, device="gpu", wheels=vendors, source="test://shapes"
    )
    webcam = replace(bare, source=None)
    streams = replace(bare, source="rtsp://camera/1", sinks=("http://127.0.0.1:8080", "mqtt://broker/door", "a.jsonl"))

    def packages(options: BundleOptions) -> set[str]:
        wheels = (make_bundle(options, key, tmp_path / "out").folder / "wheelhouse").iterdir()
        return {wheel.name.partition("-")[0] for wheel in wheels}

    assert packages(streams) - packages(bare) == set(STREAMS)
    # Most webcams send JPEGs, and a board's camera is a webcam unless somebody says otherwise.
    assert packages(webcam) - packages(bare) == {"simplejpeg"}


def test_a_gpu_that_the_registry_has_no_wheels_for_is_refused(key: SigningKey, tmp_path: Path) -> None:
    options = BundleOptions(model=TINY / "tiny.onnx", profile=load_profile("jetson-orin-nx", []), device="gpu")
    with pytest.raises(BadInputError, match=r"the gpu of NVIDIA Jetson Orin NX, the registry has none, its maker has"):
        make_bundle(options, key, tmp_path)


@pytest.mark.parametrize("board", ["jetson-nano", "jetson-xavier-nx", "coral-dev-board"])
def test_a_board_whose_python_is_too_old_is_refused_with_what_to_do(
    board: str, key: SigningKey, tmp_path: Path
) -> None:
    options = BundleOptions(model=TINY / "tiny.onnx", profile=load_profile(board, []))
    with pytest.raises(BadInputError, match=rf"edgex needs Python 3\.10; .*--board {board}:python3\.11; .*docs/boards"):
        make_bundle(options, key, tmp_path)


def test_an_engine_that_has_no_gpu_there_is_refused_with_one_that_has(key: SigningKey, tmp_path: Path) -> None:
    options = BundleOptions(model=TINY / "tiny-int8.tflite", profile=load_profile("desktop-cuda", []), device="gpu")
    with pytest.raises(BadInputError, match=r"wheels of tflite for the gpu .*; on it runs onnxruntime: convert it"):
        make_bundle(options, key, tmp_path)
