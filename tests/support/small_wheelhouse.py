"""A wheelhouse of a few kilobytes: Python's own pip, and a wheel in which edgex is a stand-in."""

import base64
import ensurepip
import hashlib
import shutil
import sys
import zipfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from edgex_devices.agent.config import CONFIG, AppConfig
from edgex_devices.wheelhouse import lock_text


def write_wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    """A small real wheel."""
    folder.mkdir(parents=True, exist_ok=True)
    release = version("edgex")
    info = f"{name}-{release}.dist-info"
    texts = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},{len(text)}"
        for path, text in texts.items()
    ]
    path = folder / f"{name}-{release}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, text in texts.items():
            wheel.writestr(zipfile.ZipInfo(member, (1980, 1, 1, 0, 0, 0)), text)
        wheel.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,", ""]))
    return path


def write_wheelhouse(folder: Path, live: str) -> None:
    proof = "print('{\"same\": true}')\n"
    write_wheel(
        folder / "wheelhouse",
        "edgex",
        {"edgex/__main__.py": live, "edgex_devices/__init__.py": "", "edgex_devices/proof.py": proof},
    )
    (folder / "requirements.txt").write_text(lock_text(folder / "wheelhouse"))
    (folder / "installer").mkdir()
    bundled = Path(ensurepip.__file__).parent / "_bundled"
    shutil.copy(next(bundled.glob("pip-*.whl")), folder / "installer")
    config = AppConfig.from_json((folder / CONFIG).read_bytes())
    python = ".".join(map(str, sys.version_info[:2]))
    (folder / CONFIG).write_bytes(replace(config, environment="wheelhouse", python=python).to_json())
