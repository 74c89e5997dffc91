"""An app that a slow board starts in a second: what it answers depends on its model file's bytes, and on nothing else.

It stands in for edgex in a bundle's wheels, where a test is about the deploy and the real app's import takes a minute.
"""

import base64
import hashlib
import json
import random
import shutil
import zipfile
from pathlib import Path

from edgex_devices.agent.config import CONFIG, PROOF, REQUIREMENTS, WHEELHOUSE, AppConfig

# `edgex live MODEL … --out watchdog://FILE`: says to systemd and to the health file what the real one's sink does.
LIVE = """
import hashlib, json, os, socket, sys, time
model = sys.argv[2]
path = next(word for word in sys.argv if word.startswith("watchdog://")).removeprefix("watchdog://")
label = hashlib.sha256(open(model, "rb").read()).hexdigest()
record = {"schema": 1, "pid": os.getpid(), "started_ns": time.monotonic_ns(), "frames": 0, "label": label}
systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
systemd.connect(os.environ["NOTIFY_SOCKET"])
while True:
    record.update(frames=record["frames"] + 1, at_ns=time.monotonic_ns(), state="LIVE", age_ms=1.0)
    with open(path + ".tmp", "w") as file:
        file.write(json.dumps(record))
    os.replace(path + ".tmp", path)
    systemd.send(f"READY=1\\nWATCHDOG=1\\nSTATUS=LIVE, {label}".encode())
    time.sleep(0.5)
"""
PROVE = """
import hashlib, json, pathlib, sys
(model,) = pathlib.Path(sys.argv[1], "model").iterdir()
wanted = json.loads(pathlib.Path(sys.argv[1], "proof.json").read_bytes())["answer"]
found = hashlib.sha256(model.read_bytes()).hexdigest()
print(json.dumps({"same": found == wanted, "why": f"want {wanted}, found {found}"}))
"""
MODULES = {
    "edgex/__init__.py": "",
    "edgex/__main__.py": LIVE,
    "edgex_devices/__init__.py": "",
    "edgex_devices/proof.py": PROVE,
}
# So that an environment is more than one file, and `pip` has something to do for a while.
MANY = {f"edgex/of_many/part_{number}.py": f"VALUE = {number}\n" for number in range(300)}


def stand_in(folder: Path) -> None:
    """Let a bundle's folder hold the stand-in in the place of edgex and all that edgex needs."""
    shutil.rmtree(folder / WHEELHOUSE)
    (folder / WHEELHOUSE).mkdir()
    wheel = _write_wheel(folder / WHEELHOUSE)
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    rewrite(folder / REQUIREMENTS, f"edgex==0.0.1 --hash=sha256:{sha256}\n".encode())


def rewrite(path: Path, data: bytes) -> None:
    """Another file in the same place: what stands there may be a link."""
    path.unlink()
    path.write_bytes(data)


def set_model(folder: Path, seed: int, size: int) -> str:
    """Give it another model; returns what it answers by it."""
    config = AppConfig.from_json((folder / CONFIG).read_bytes())
    data = random.Random(seed).randbytes(size)
    answer = hashlib.sha256(data).hexdigest()
    rewrite(folder / config.model, data)
    rewrite(folder / PROOF, json.dumps({"answer": answer}).encode())
    return answer


def _write_wheel(folder: Path) -> Path:
    about = "edgex-0.0.1.dist-info"
    files = {
        **MODULES,
        **MANY,
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: edgex\nVersion: 0.0.1\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    listed = "".join(f"{name},sha256={_digest(text)},{len(text.encode())}\n" for name, text in files.items())
    wheel = folder / "edgex-0.0.1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, f"{about}/RECORD": f"{listed}{about}/RECORD,,\n"}.items():
            archive.writestr(name, text)
    return wheel


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
