"""Run on a board by root, with its Python alone and nothing of edgex's: is what stands there what was signed?

Prints JSON: what is served, which files of the release and of its environment are not what their lists say, what the
service says, and whether the release still proves itself.
"""

import base64
import hashlib
import importlib.metadata
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def main(root: Path) -> None:
    """Look at the app's folder."""
    release = (root / "current").resolve()
    text = (release / "manifest.json").read_bytes()
    verify = ["ssh-keygen", "-Y", "verify", "-f", root / "allowed_signers", "-I", "edgex", "-n", "edgex-bundle"]
    subprocess.run([*verify, "-s", release / "manifest.sig"], input=text, stdout=subprocess.DEVNULL, check=True)
    files = json.loads(text)["files"]
    env = root / "envs" / json.loads((release / "installed.json").read_bytes())["env"]
    (site,) = env.glob("lib/python*/site-packages")
    installed = [
        (Path(distribution.locate_file(file)), file.hash)
        for distribution in importlib.metadata.distributions(path=[str(site)])
        for file in distribution.files or ()
        if file.hash
    ]
    seen = {
        "serving": release.name,
        "kept": json.loads((root / "state.json").read_bytes())["current"],
        "damaged": [file["path"] for file in files if not is_bundled(release, file)],
        "damaged in the environment": [str(path) for path, listed in installed if not is_installed(path, listed)],
        "files in the environment": len(installed),
        "health": json.loads(Path(f"/run/edgex-{root.name}/health.json").read_bytes()),
        "proof": proof(env, release),
    }
    print(json.dumps(seen))


def is_bundled(release: Path, file: dict) -> bool:
    path = release / file["path"]
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"]


def is_installed(path: Path, listed: importlib.metadata.FileHash) -> bool:
    if not path.is_file():
        return False
    found = hashlib.new(listed.mode, path.read_bytes()).digest()
    return base64.urlsafe_b64encode(found).decode().rstrip("=") == listed.value


def proof(env: Path, release: Path) -> dict:
    with tempfile.TemporaryDirectory() as cache:
        Path(cache).chmod(0o777)
        return json.loads(
            subprocess.run(
                [env / "bin" / "python", "-I", "-m", "edgex_devices.proof", release],
                env={"EDGEX_CACHE_DIR": cache, "HOME": cache, "PATH": "/usr/bin:/bin"},
                user="nobody",
                extra_groups=[],
                cwd="/",
                capture_output=True,
                check=True,
            ).stdout
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
