"""Does this file, on this engine and this machine, still do what it did when it was made?

The golden images go through the artifact once; the labels, the input tensors and the logits must be those that its
contract recorded. What differs is named: channel order, resize, labels, layout, input or weights. A verdict is
remembered (`verdicts.py`), so that the next start costs nothing.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.engines.engine import Engine
from edgex_runtime.engines.tensors import ANY
from edgex_runtime.errors import ContractMismatchError
from edgex_runtime.golden import NAMES, load_golden_image
from edgex_runtime.preprocess import to_input
from edgex_runtime.spec import Golden, GoldenSample, InputSpec, ModelSpec, Precision, labels_sha256
from edgex_runtime.verdicts import is_remembered, remember, verdict_key

# Share of the logits' range that another CPU's kernels may cause. Float kernels differ in the order of their sums, int8
# kernels in how they round. Measured on the golden images with an int8 Xception of real weights: tflite-runtime 2.14 is
# 0.020 from ai-edge-litert 2.3, OpenVINO 0.035 from onnxruntime; swapped channels are 0.18 off, a turned picture 0.46,
# halved brightness 0.15, shifted labels 0.91.
_TOLERANCES: dict[Precision, float] = {"fp32": 1e-3, "fp16": 1e-2, "int8": 5e-2}


def tolerance(precision: Precision, logits: NDArray[np.float32]) -> float:
    """Largest absolute difference of a logit that is still the same answer.

    Args:
        precision: Of the artifact.
        logits: (samples, classes) that it gave for the golden images; their range is the measure.
    """
    return _TOLERANCES[precision] * float(logits.max() - logits.min())


def record_golden(engine: Engine, spec: ModelSpec) -> Golden:
    """Run the golden images through an artifact and record what it does.

    Args:
        engine: The artifact, loaded.
        spec: Its contract so far; `golden` in it is not looked at.

    Raises:
        ContractMismatchError: If the graph's declaration contradicts the contract, or the logits are no numbers.
    """
    check_signature(engine, spec)
    tensors = _tensors(NAMES, spec)
    logits = _run(engine, tensors, spec)
    return Golden(
        samples=tuple(
            GoldenSample(image=name, input_sha256=_sha256(tensor), logits=tuple(map(float, row)))
            for name, tensor, row in zip(NAMES, tensors, logits, strict=True)
        ),
        tolerance=tolerance(spec.precision, logits),
        labels_sha256=labels_sha256(spec.labels),
    )


def check(engine: Engine, spec: ModelSpec, digest: str) -> None:
    """Hold an artifact to its golden samples; at once when this very check has passed here before.

    Args:
        engine: The artifact, loaded.
        spec: Its contract. Without golden samples only the graph's declaration is checked.
        digest: `artifact_sha256` of the file.

    Raises:
        ContractMismatchError: If it does not do what its contract says; `field` names what differs: ``labels``,
            ``input``, ``layout``, ``resize``, ``channel order``, ``output``, ``golden`` or ``weights``.
    """
    check_signature(engine, spec)
    if spec.golden is None:
        return
    if spec.golden.labels_sha256 != labels_sha256(spec.labels):
        raise _mismatch(spec, "labels", "its labels are not those, or not in the order, that its golden samples have")
    key = verdict_key(engine.info, digest)
    if is_remembered(key):
        return
    tensors = _tensors(_names(spec, spec.golden), spec)
    _check_tensors(tensors, spec, spec.golden)
    _check_logits(engine, tensors, spec, spec.golden)
    remember(key)


def check_signature(engine: Engine, spec: ModelSpec) -> None:
    """Hold what the graph declares to the contract.

    Raises:
        ContractMismatchError: ``input`` for another size or dtype, ``layout`` for other axes, ``labels`` for another
            number of outputs.
    """
    declared, wanted = engine.signature, spec.input.shape
    got = declared.input_shape[1:]
    found = f"the contract says {wanted} {spec.input.dtype}, the graph takes {got} {declared.input_dtype}"
    if not _fits(wanted, got):
        field = "layout" if _fits(_other_layout(spec.input), got) else "input"
        raise _mismatch(spec, field, found)
    if declared.input_dtype != spec.input.dtype:
        raise _mismatch(spec, "input", found)
    if declared.output_shape[-1] not in (ANY, len(spec.labels)):
        raise _mismatch(
            spec, "labels", f"the contract has {len(spec.labels)} labels, the graph {declared.output_shape[-1]} outputs"
        )


def _fits(wanted: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    return all(size in (ANY, want) for want, size in zip(wanted, declared, strict=True))


def _other_layout(spec: InputSpec) -> tuple[int, int, int]:
    return (3, spec.height, spec.width) if spec.layout == "NHWC" else (spec.height, spec.width, 3)


def _names(spec: ModelSpec, golden: Golden) -> list[str]:
    unknown = [sample.image for sample in golden.samples if sample.image not in NAMES]
    if unknown or not golden.samples:
        raise _mismatch(spec, "golden", f"its golden images ({', '.join(unknown) or 'none'}) are not in this edgex")
    return [sample.image for sample in golden.samples]


def _tensors(names: Sequence[str], spec: ModelSpec) -> NDArray[np.generic]:
    # One picture at a time: together they are 2 MB, and as much of heap that a board's process would keep.
    return np.concatenate([to_input([load_golden_image(name).image], spec) for name in names])


def _run(engine: Engine, tensors: NDArray[np.generic], spec: ModelSpec) -> NDArray[np.float32]:
    logits = engine.run(tensors)
    if logits.shape != (len(tensors), len(spec.labels)):
        raise _mismatch(spec, "labels", f"want logits of {(len(tensors), len(spec.labels))}, got {logits.shape}")
    if not np.isfinite(logits).all():
        raise _mismatch(spec, "output", "its logits for the golden images hold NaN or infinity")
    return logits


def _check_tensors(tensors: NDArray[np.generic], spec: ModelSpec, golden: Golden) -> None:
    recorded = [sample.input_sha256 for sample in golden.samples]
    if [_sha256(tensor) for tensor in tensors] == recorded:
        return
    if [_sha256(tensor) for tensor in _flip_channels(tensors, spec)] == recorded:
        raise _mismatch(
            spec, "channel order", f"its contract says {spec.input.color}, its golden samples say otherwise"
        )
    raise _mismatch(
        spec,
        "resize",
        f"its contract's resize ({spec.resize.mode}, {spec.input.height}x{spec.input.width}) does not make the tensors "
        "of its golden samples: the contract was edited, or this edgex or OpenCV resizes differently",
    )


def _check_logits(engine: Engine, tensors: NDArray[np.generic], spec: ModelSpec, golden: Golden) -> None:
    recorded = np.array([sample.logits for sample in golden.samples], dtype=np.float32)
    logits = _run(engine, tensors, spec)
    if recorded.shape != logits.shape:
        raise _mismatch(
            spec, "labels", f"its golden samples have {recorded.shape[1]} logits, it gives {logits.shape[1]}"
        )
    distance = float(np.abs(logits - recorded).max())
    if distance <= golden.tolerance:
        return
    causes = dict(_hypotheses(engine, tensors, spec, logits, recorded))
    field = min(causes, key=causes.__getitem__)
    if causes[field] > golden.tolerance:
        field = "weights"
    raise _mismatch(
        spec,
        field,
        f"on {engine.info.name} {engine.info.version} ({engine.info.device}) a logit of the golden images is "
        f"{distance:.3g} off, {golden.tolerance:.3g} is allowed",
    )


def _hypotheses(
    engine: Engine,
    tensors: NDArray[np.generic],
    spec: ModelSpec,
    logits: NDArray[np.float32],
    recorded: NDArray[np.float32],
) -> Iterator[tuple[str, float]]:
    """Single faults that might explain other logits, each with the distance that is left if it is the one."""
    flipped = engine.run(_flip_channels(tensors, spec))
    yield "channel order", float(np.abs(flipped - recorded).max())
    if spec.input.height == spec.input.width:
        rows, columns = (1, 2) if spec.input.layout == "NHWC" else (2, 3)
        turned = engine.run(np.ascontiguousarray(tensors.swapaxes(rows, columns)))
        yield "layout", float(np.abs(turned - recorded).max())
    # Each class's logits over the samples, held to the nearest class of the record: a permutation fits all of them.
    apart = np.abs(logits.T[:, None, :] - recorded.T[None, :, :]).max(-1)
    nearest = apart.argmin(1)
    if len(set(nearest.tolist())) == len(nearest):
        yield "labels", float(apart.min(1).max())


def _flip_channels(tensors: NDArray[np.generic], spec: ModelSpec) -> NDArray[np.generic]:
    return np.ascontiguousarray(np.flip(tensors, axis=3 if spec.input.layout == "NHWC" else 1))


def _sha256(tensor: NDArray[np.generic]) -> str:
    return hashlib.sha256(np.ascontiguousarray(tensor).tobytes()).hexdigest()


_ADVICE = {
    "weights": "the weights or the scaling inside the graph are others than when it was made: copy or convert it again",
    "golden": "install the edgex that made the file, or convert it again",
}


def _mismatch(spec: ModelSpec, field: str, found: str) -> ContractMismatchError:
    advice = _ADVICE.get(field, "do not edit a model's contract or graph; convert the network again")
    return ContractMismatchError(f"{spec.name}: {field} mismatch: {found}. What to do: {advice}", field=field)
