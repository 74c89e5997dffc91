"""One picture of a network for every format: its layers, what each computes, and which ranges its values are cut to.

The readers in `stages` (`blame_onnx`, `blame_openvino`, `blame_tflite`, `blame_torch`) list a file's ops as they stand;
`assemble` makes of them the same places by the same names, whatever the format fused or split: a bias, a ReLU and a
quantiser belong to the op that they follow alone. Layers with weights are named as in the reference network
(``block5_sepconv2_pointwise``), what stands between them by its block (``block5_add``, ``block5_relu``).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.errors import StageError

Kind = Literal["image", "conv", "linear", "add", "max_pool", "mean", "relu", "quantise", "bias", "transpose", "pass"]
Array = NDArray[np.float32]

_ABSORBED: tuple[Kind, ...] = ("relu", "quantise", "bias", "transpose")
_PARTS: dict[Kind, str] = {"max_pool": "pool"}
TO_NCHW = (0, 3, 1, 2)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantiser:
    """Cuts values to a range and rounds them to `steps` equal steps in it.

    Attributes:
        low: Least value that stays itself; a scalar, or (1, C, 1, 1) where each channel has its own.
        high: Greatest.
        steps: Between them: 255 for 8 bits.
    """

    low: Array
    high: Array
    steps: int

    @property
    def step(self) -> Array:
        """Width of one."""
        return np.asarray((self.high - self.low) / np.float32(self.steps))

    def equals(self, other: "Quantiser") -> bool:
        """Whether it cuts and rounds as another."""
        return (
            self.steps == other.steps and np.array_equal(self.low, other.low) and np.array_equal(self.high, other.high)
        )

    @classmethod
    def affine(cls, scale: float, zero_point: int, dtype: np.dtype[np.integer]) -> "Quantiser":
        """From a scale and a zero point, as ONNX and TFLite have them: value = scale · (code − zero point)."""
        codes = np.iinfo(dtype)
        low, high = (np.float32(scale) * np.float32(code - zero_point) for code in (codes.min, codes.max))
        return cls(low=np.asarray(low), high=np.asarray(high), steps=int(codes.max) - int(codes.min))


Step = Quantiser | Literal["relu"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """One op of a file as a reader finds it, and after `assemble` one place of the network.

    Attributes:
        kind: What it computes. `image` is the network's input.
        inputs: Values that it reads; after `assemble` the names of the places that they leave.
        value: The file's name for what leaves it; after `assemble` with all its `steps` done.
        name: In the reference network; readers give it to layers with weights only.
        weight: In torch's layout, dequantised: (out, in / groups, h, w) or (out, in).
        bias: (out,), dequantised.
        stride: Down and across; of a convolution or a pool.
        pads: Top, left, bottom, right.
        kernel: Of a pool.
        groups: Of a convolution.
        rounds_up: Whether a pool's last window may hang over the edge.
        permutation: Of a transposition; of the image, from NHWC to NCHW.
        steps: What is done to the result, in order.
        cuts: For each input the quantiser that stands on this edge alone, or None.
        ops: What the format's quantiser calls the ops that compute it.
    """

    kind: Kind
    inputs: tuple[str, ...]
    value: str
    name: str = ""
    weight: Array | None = None
    bias: Array | None = None
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    kernel: tuple[int, int] = (1, 1)
    groups: int = 1
    rounds_up: bool = False
    permutation: tuple[int, ...] = ()
    steps: tuple[Step, ...] = ()
    cuts: tuple[Quantiser | None, ...] = ()
    ops: tuple[str, ...] = ()

    @property
    def is_quantised(self) -> bool:
        """Whether something of it is cut to a range: what goes in or what comes out."""
        return any(isinstance(step, Quantiser) for step in (*self.steps, *self.cuts))

    @property
    def output_range(self) -> Quantiser | None:
        """The quantiser that its result leaves by."""
        found = [step for step in self.steps if isinstance(step, Quantiser)]
        return found[-1] if found else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graph:
    """A network as one file has it: its places, each after those that it reads."""

    places: tuple[Place, ...]
    output: str

    def __getitem__(self, name: str) -> Place:
        return next(place for place in self.places if place.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all places, in order."""
        return tuple(place.name for place in self.places)


def layer_name(parameter: str) -> str:
    """The layer of a tensor of `Deployed`'s state dict.

    >>> layer_name("network.block5.sepconv2.pointwise.weight")
    'block5_sepconv2_pointwise'
    """
    return parameter.removeprefix("network.").removesuffix(".weight").replace(".", "_")


def assemble(ops: Sequence[Place], output: str) -> Graph:
    """Make places of a file's ops.

    Args:
        ops: In an order in which each follows those that it reads; `inputs` and `value` are the file's names.
        output: The file's name for the logits.

    Raises:
        StageError: If two layers have one name, or something stands where it cannot be told what it belongs to.
    """
    ops, output = _without_passes(ops, output)
    places = _absorb(ops, output)
    makers = {place.value: index for index, place in enumerate(places)}
    names = _names(places, makers)
    named = tuple(
        replace(place, name=name, inputs=tuple(names[makers[value]] for value in place.inputs))
        for place, name in zip(places, names, strict=True)
    )
    return Graph(places=named, output=names[makers[output]])


def require_match(reference: Graph, other: Graph) -> None:
    """Both have the same places, joined in the same way, with weights of the same shapes.

    Raises:
        StageError: If not, naming the first that differs.
    """
    theirs = {place.name: place for place in other.places}
    for place in reference.places:
        twin = theirs.pop(place.name, None)
        if twin is None:
            raise StageError(f"blame: want {place.name} in both files, found it in the reference only")
        if twin.kind != place.kind or sorted(twin.inputs) != sorted(place.inputs):
            raise StageError(
                f"blame: {place.name}: want {place.kind} of {', '.join(place.inputs)} as in the reference, "
                f"found {twin.kind} of {', '.join(twin.inputs)}"
            )
        shapes = [None if weight is None else weight.shape for weight in (place.weight, twin.weight)]
        if shapes[0] != shapes[1]:
            raise StageError(f"blame: {place.name}: want weights {shapes[0]} as in the reference, found {shapes[1]}")
    if theirs:
        raise StageError(f"blame: {next(iter(theirs))}: the reference has no such place")


def _without_passes(ops: Sequence[Place], output: str) -> tuple[list[Place], str]:
    """Drop what changes no value (casts, reshapes); what reads it reads its source."""
    source: dict[str, str] = {}
    kept = []
    for op in ops:
        inputs = tuple(source.get(value, value) for value in op.inputs)
        if op.kind == "pass":
            source[op.value] = inputs[0]
        else:
            kept.append(replace(op, inputs=inputs))
    return kept, source.get(output, output)


def _absorb(ops: Iterable[Place], output: str) -> list[Place]:
    """Give each bias, ReLU and quantiser to the op that it alone follows; other quantisers to their edges."""
    ops = list(ops)
    readers = Counter([value for op in ops for value in op.inputs] + [output])
    places: list[Place] = []
    makers: dict[str, int] = {}
    edges: dict[str, tuple[str, Quantiser]] = {}
    for op in ops:
        source = makers.get(op.inputs[0]) if op.inputs else None
        if op.kind in _ABSORBED and source is not None and readers[op.inputs[0]] == 1:
            places[source] = _with(places[source], op)
            makers[op.value] = source
        elif op.kind == "quantise":
            assert isinstance(op.steps[0], Quantiser)  # A reader's quantise op holds its quantiser there.
            edges[op.value] = (op.inputs[0], op.steps[0])
        elif op.kind in ("bias", "transpose"):
            raise StageError(f"blame: {op.ops[0]}: a {op.kind} of a value that others read as well is not known here")
        else:
            read = [edges.get(value, (value, None)) for value in op.inputs]
            places.append(replace(op, inputs=tuple(value for value, _ in read), cuts=tuple(cut for _, cut in read)))
            makers[op.value] = len(places) - 1
    # Whoever read a value before the last step was added reads the place all the same.
    joined = [replace(place, inputs=tuple(places[makers[value]].value for value in place.inputs)) for place in places]
    return [_without_repetition(place, joined, makers) for place in joined]


def _without_repetition(place: Place, places: Sequence[Place], makers: dict[str, int]) -> Place:
    """Drop the range of a pool or a ReLU that is its input's: what it picks from stands on those steps already.

    Kept, it would be blamed for rounding what another place has rounded.
    """
    if place.kind not in ("max_pool", "relu") or place.output_range is None:
        return place
    before = places[makers[place.inputs[0]]].output_range
    if before is None or not before.equals(place.output_range):
        return place
    return replace(place, steps=tuple(step for step in place.steps if step is not place.output_range))


def _with(place: Place, op: Place) -> Place:
    if op.kind == "bias":
        if place.bias is not None or place.steps or place.weight is None:
            raise StageError(f"blame: {op.ops[0]}: want a bias after a layer without one, found it after {place.ops}")
        return replace(place, bias=op.bias, value=op.value)
    if op.kind == "transpose":
        if place.kind != "image":
            raise StageError(f"blame: {op.ops[0]}: a transposition inside the network is not known here")
        return replace(place, permutation=tuple(place.permutation[axis] for axis in op.permutation), value=op.value)
    step: tuple[Step, ...] = ("relu",) if op.kind == "relu" else op.steps
    return replace(place, steps=(*place.steps, *step), value=op.value)


def _names(places: Sequence[Place], makers: dict[str, int]) -> list[str]:
    """Layers keep theirs; the rest is named by its block: of the layers that it feeds if it only prepares them."""
    names = [place.name for place in places]
    doubled = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    if doubled:
        raise StageError(f"blame: two layers are called {doubled[0]}: the file cannot tell them apart")
    before: list[tuple[int, str]] = []  # For each place, the deepest layer up to it: (depth, name).
    for place in places:
        depth, name = max((before[makers[value]] for value in place.inputs), default=(0, ""))
        before.append((depth + 1, place.name) if place.name else (depth, name))
    taken = Counter(names)
    for index, place in enumerate(places):
        if place.name:
            continue
        fed = [reader.name for reader in places if place.value in reader.inputs and reader.name]
        owner = min(fed) if fed and place.kind in ("relu", "mean") else before[index][1]
        name = (
            place.kind if place.kind == "image" else f"{owner.partition('_')[0]}_{_PARTS.get(place.kind, place.kind)}"
        )
        taken[name] += 1
        names[index] = name if taken[name] == 1 else f"{name}_{taken[name]}"
    return names
