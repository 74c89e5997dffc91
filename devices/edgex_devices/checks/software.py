"""The system, its Python, the wheels that suit it, and what is installed."""

import re
from collections.abc import Iterator

from edgex_devices.facts import Facts
from edgex_devices.finding import Finding
from edgex_devices.profile import OLDEST_PYTHON, Profile

_ENGINE_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "openvino", "ai-edge-litert")
_TFLITE_RUNTIME = "tflite-runtime"
_PAIRS_IN_ONE_FOLDER = (("opencv-python", "opencv-python-headless"), ("onnxruntime", "onnxruntime-gpu"))


def check_board(facts: Facts, profile: Profile | None) -> Iterator[Finding]:
    """Which board it is."""
    name = facts.board.model or f"{facts.board.vendor} {facts.board.product}".strip() or facts.system.machine
    if profile is None:
        yield Finding(
            check="board",
            severity="warning",
            what=f"{name}: no profile is for this machine ({facts.system.machine})",
            why="engines, threads and wheels that suit it are not known",
            mend="edgex devices list; a new board is one file: docs/devices.md",
        )
        return
    known = f"profile {profile.name}:{profile.system.name}"
    yield Finding(check="board", severity="ok", what=f"{name}, {facts.system.os or facts.system.kernel}: {known}")


def check_python(facts: Facts, profile: Profile | None) -> Iterator[Finding]:
    """Version, width, C library, and whether pip may install."""
    python = facts.python
    oldest = ".".join(map(str, OLDEST_PYTHON))
    if facts.python_version < OLDEST_PYTHON:
        yield Finding(
            check="python",
            severity="error",
            what=f"Python {python.version} at {python.executable}",
            why=f"edgex needs {oldest} or newer, and wheels of engines are made for one version each",
            mend="install a newer system, or a Python of your own beside this one, and name it with --python",
        )
    if python.bits == 32:
        yield Finding(
            check="python",
            severity="error",
            what=f"a 32-bit Python on a {facts.system.machine} kernel",
            why="no engine has wheels for 32 bits",
            mend="install the 64-bit system",
        )
    if not python.glibc:
        yield Finding(
            check="python",
            severity="error",
            what="a system without glibc (musl)",
            why="the wheels of all engines are linked to glibc (manylinux)",
            mend="use a system with glibc: Debian, Ubuntu, Raspberry Pi OS",
        )
    if python.is_managed:
        extra = profile.engines[0].extra if profile and profile.engines else "onnx"
        yield Finding(
            check="python",
            severity="note",
            what="this Python belongs to the system: pip does not install into it",
            why="PEP 668: a system's own programs run on it",
            mend=f"python3 -m venv ~/edgex && ~/edgex/bin/pip install 'edgex[{extra}]'",
        )
    if facts.python_version >= OLDEST_PYTHON and python.bits == 64 and python.glibc:
        yield Finding(check="python", severity="ok", what=f"Python {python.version}, glibc {python.glibc}")


def check_wheels(facts: Facts, profile: Profile | None) -> Iterator[Finding]:
    """Whether the wheels that the profile knows of suit this glibc."""
    if profile is None or not profile.system.wheels or not facts.python.glibc:
        return
    version = ".".join(map(str, facts.python_version))
    if version != profile.python:
        known = ", ".join(system.python for system in profile.systems)
        yield Finding(
            check="wheels",
            severity="note",
            what=f"which wheels exist for Python {version} here is not known; known are {known}",
            why="pip would build from source what has no wheel, which takes hours here or fails",
            mend="pip install --only-binary=:all: 'edgex[onnx]'",
        )
        return
    minor = int(facts.python.glibc.split(".")[1])
    fitting = {name for name, wheel in profile.system.wheels.items() if _needs(wheel.tag) <= minor}
    for name in sorted(set(profile.system.wheels) - fitting):
        wheel = profile.system.wheels[name]
        yield Finding(
            check="wheels",
            severity="note" if fitting else "error",
            what=f"{wheel.package} {wheel.version} wants glibc 2.{_needs(wheel.tag)}, here is {facts.python.glibc}",
            why=f"the engine {name} cannot be installed from its wheel",
            mend="use another engine, or a newer system",
        )
    if fitting:
        yield Finding(check="wheels", severity="ok", what=f"wheels exist for {', '.join(sorted(fitting))}")


def check_packages(facts: Facts, profile: Profile | None) -> Iterator[Finding]:
    """What is installed, and what should not be installed together."""
    there = facts.packages
    extra = profile.engines[0].extra if profile and profile.engines else "onnx"
    if "edgex" not in there:
        yield Finding(
            check="packages",
            severity="note",
            what=f"edgex is not installed in {facts.python.executable or 'this Python'}",
            why="its engines could not be tried",
            mend=f"pip install 'edgex[{extra}]'",
        )
    elif not [name for name in (*_ENGINE_PACKAGES, _TFLITE_RUNTIME) if name in there]:
        yield Finding(
            check="packages",
            severity="error",
            what="no engine is installed",
            why="nothing here can run a model",
            mend=f"pip install 'edgex[{extra}]'",
        )
    for one, other in _PAIRS_IN_ONE_FOLDER:
        if one in there and other in there:
            yield Finding(
                check="packages",
                severity="warning",
                what=f"{one} and {other} are both installed",
                why="they share a folder: which of the two runs is chance, and removing one breaks the other",
                mend=f"pip uninstall {one} {other}, and install the one that is wanted",
            )
    numpy = there.get("numpy", "")
    if _TFLITE_RUNTIME in there and re.match(r"[2-9]", numpy):
        yield Finding(
            check="packages",
            severity="error" if "ai-edge-litert" not in there else "note",
            what=f"{_TFLITE_RUNTIME} {there[_TFLITE_RUNTIME]} with numpy {numpy}",
            why="it was built for numpy 1 and ends with an error when it is imported; pip does not know",
            mend="pip install 'edgex[tflite]', or 'numpy<2' beside it",
        )


def check_pages(facts: Facts, profile: Profile | None) -> Iterator[Finding]:
    """Pages that are not 4 KiB."""
    if facts.system.page_bytes > 4096:
        yield Finding(
            check="pages",
            severity="note",
            what=f"the kernel has pages of {facts.system.page_bytes // 1024} KiB",
            why="programs that were built for 4 KiB stop (jemalloc: Unsupported system page size)",
            mend="on a Raspberry Pi, if one does: kernel=kernel8.img in /boot/firmware/config.txt",
        )


def _needs(tag: str) -> int:
    """The minor version of glibc that a manylinux tag asks for.

    >>> _needs("manylinux_2_28_aarch64"), _needs("manylinux2014_x86_64")
    (28, 17)
    """
    found = re.match(r"manylinux_2_(\d+)_", tag)
    return int(found[1]) if found else 17
