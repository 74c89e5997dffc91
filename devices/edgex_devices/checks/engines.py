"""What running a tiny model on each engine showed."""

from collections.abc import Iterable, Iterator

from edgex_devices.detect import ACCELERATOR_OF, accelerators
from edgex_devices.engine_check import EngineRun
from edgex_devices.facts import Facts
from edgex_devices.finding import Finding
from edgex_runtime.engines.engine import Device


def check_runs(facts: Facts, runs: Iterable[EngineRun]) -> Iterator[Finding]:
    """Each engine that is installed: did it run, was it right, and on what?"""
    for run in runs:
        if run.verdict == "right":
            yield Finding(check="engine", severity="ok", what=_right(run))
        elif run.verdict == "wrong":
            yield Finding(
                check="engine",
                severity="error",
                what=f"{run.engine} gives wrong answers on {run.device}: {run.why}",
                why="the same file is right elsewhere: this build of it is wrong on this machine",
                mend="use another engine, or another version of it; edgex live --engine NAME --device cpu",
            )
        elif run.verdict == "failed":
            yield Finding(
                check="engine",
                severity="error" if run.device == "cpu" else "warning",
                what=f"{run.engine} does not run on {run.device}: {run.why}",
                why="a model would end the same way",
                mend="install another version of it, or use another engine",
            )
        elif run.verdict == "unavailable" and ACCELERATOR_OF.get((run.engine, run.device)) in accelerators(facts):
            yield Finding(
                check="engine",
                severity="warning",
                what=f"{run.engine} cannot use the {run.device.upper()} that is here: {run.why}",
                why="models run on the CPU instead",
                mend=_DRIVERS.get((run.engine, run.device), "install its driver"),
            )


_DRIVERS: dict[tuple[str, Device], str] = {
    ("onnxruntime", "gpu"): "pip uninstall onnxruntime; pip install 'edgex[onnx-gpu]'",
    ("openvino", "gpu"): "sudo apt install intel-opencl-icd; sudo usermod -aG render $USER",
    ("openvino", "npu"): "install the driver: https://github.com/intel/linux-npu-driver/releases",
}


def not_checked(why: str, mend: str) -> Finding:
    """In place of the runs, where they could not be made."""
    return Finding(
        check="engine",
        severity="note",
        what=f"engines were not tried: {why}",
        why="whether they run and what they run on is not known",
        mend=mend,
    )


def _right(run: EngineRun) -> str:
    # OpenVINO adds the build and the branch to its version.
    version = run.version.partition("-")[0] if run.engine == "openvino" else run.version
    return f"{run.engine} {version} runs {run.model} on {run.ran_on}, with the right answers, {run.ms:.2f} ms"
