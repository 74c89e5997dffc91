"""Under which key a step's result is kept: one digest of everything that the result depends on.

Whatever is not in a key must not matter. Two rules keep that true: the code of this package and of the runtime is in
every key as a whole, since nobody keeps a list of what a stage imports; and where a stage starts from a file, the
file's own bytes are in the key rather than the way it came about.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import edgex_converters
import edgex_runtime
from edgex_converters.config import QuantizeConfig
from edgex_converters.learned import Ranges
from edgex_converters.stage import Stage
from edgex_runtime.provenance import tool_versions
from edgex_runtime.schema import to_plain
from edgex_runtime.spec import ModelSpec
from edgex_runtime.verdicts import cpu_model

# What decodes and resizes photos, and what runs artifacts; an upgrade of one makes every measurement anew.
_PHOTO_TOOLS = ("opencv-python", "opencv-python-headless", "pillow")
_ENGINES = ("onnxruntime", "openvino", "ai-edge-litert", "tflite-runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of one conversion.

    Attributes:
        network: Its identity.
        spec: The checkpoint's contract.
        evaluation: sha256 of each photo that judges, in the order in which they are read.
        calibration: The same of those that calibrate; in the order in which they are read.
        quantize: How to quantise.
        threads: Of the engines.
        ranges: What int8 takes instead of what the calibration photos show; None where it takes that.
    """

    network: str
    spec: ModelSpec
    evaluation: tuple[str, ...]
    calibration: tuple[str, ...]
    quantize: QuantizeConfig
    threads: int | None
    ranges: Ranges | None = None

    def artifact(self, stage: Stage, source: str | None, keep_float: tuple[str, ...] = ()) -> str:
        """Of what `stage` makes of the artifact whose digest is `source`; None stands for the network.

        Args:
            stage: Which.
            source: What it starts from.
            keep_float: The ops that it leaves in float.
        """
        return _key(
            stage.name,
            code=[stage.entry, stage.description],
            source=source or self.network,
            spec=to_plain(self.spec),
            settings={name: getattr(self.quantize, name) for name in stage.settings},
            calibration=self.calibration if stage.calibrates else None,
            keep_float=keep_float,
            ranges=None if self.ranges is None or not stage.calibrates else dict(self.ranges),
            tools=tool_versions((*stage.tools, *(_PHOTO_TOOLS if stage.calibrates else ()))),
        )

    def calibration_verdict(self, paths: tuple[Path, ...], warnings: tuple[str, ...]) -> str:
        """Of what there is to say of the calibration photos; it names their files, and `warnings` of their folder."""
        names = [str(path) for path in paths]
        return _key("calibration", calibration=self.calibration, names=names, warnings=warnings, **self._measured(()))

    def reference(self) -> str:
        """Of the network's logits on the evaluation photos."""
        return _key("reference", network=self.network, **self._measured(("torch", "onnxruntime")))

    def logits(self, artifact: str) -> str:
        """Of an artifact's logits on the evaluation photos, and of its portability."""
        return _key("verify", artifact=artifact, threads=self.threads, **self._measured(_ENGINES))

    def blame(self, artifact: str, source: str | None) -> str:
        """Of what each layer of an artifact does to the answers, next to `source`; None stands for the network."""
        source = source or self.network
        tools = (*_ENGINES, "torch", "onnx")
        return _key("blame", artifact=artifact, source=source, threads=self.threads, **self._measured(tools))

    def seal(self, artifact: str, sealed: ModelSpec) -> str:
        """Of the golden logits for an artifact and of its date; `sealed` is its contract without them."""
        return _key(
            "seal",
            artifact=artifact,
            spec=to_plain(replace(sealed, golden=None)),
            threads=self.threads,
            tools=tool_versions((*_ENGINES, *_PHOTO_TOOLS)),
            cpu=cpu_model(),
        )

    def timing(self, artifacts: Mapping[str, str]) -> str:
        """Of the times of all these artifacts together: figures of different runs must not stand side by side."""
        return _key("timing", artifacts=artifacts, threads=self.threads, **self._measured(_ENGINES))

    def _measured(self, engines: tuple[str, ...]) -> dict[str, object]:
        return {
            "photos": self.evaluation,
            "input": to_plain(self.spec.input),
            "resize": to_plain(self.spec.resize),
            "tools": tool_versions((*engines, *_PHOTO_TOOLS)),
            "cpu": cpu_model(),
        }


@cache
def code_digest(*folders: Path) -> str:
    """Of all Python source in `folders`: the version of the code itself, between two releases as well."""
    return _digest(_source_files(folders))


def _source_files(folders: Iterable[Path]) -> dict[str, str]:
    return {
        f"{folder.name}/{path.relative_to(folder)}": hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted(folder.rglob("*.py"))
    }


def _key(step: str, **parts: object) -> str:
    packages = [Path(next(iter(package.__path__))) for package in (edgex_converters, edgex_runtime)]
    return _digest({"step": step, "packages": code_digest(*packages), **parts})


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
