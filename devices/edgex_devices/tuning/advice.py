"""What would fit, where nothing does: what came nearest, and how small an input or network would have to be.

Times of other sizes are estimates, and say so: convolutions cost in proportion to the picture's area, and to the square
of a network's width.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from edgex_devices.tuning.limits import Limits
from edgex_devices.tuning.tuned import Figures, Row
from edgex_runtime.spec import ModelSpec

# Below this a classifier has little left to look at.
_SMALLEST_SIDE = 32
_WIDTH = "width"


def advise(rows: Sequence[Row], limits: Limits, specs: Mapping[str, ModelSpec | None]) -> tuple[str, ...]:
    """Sentences, the most certain first; `specs` are the contracts by a candidate's `model`."""
    measured = [(row, row.figures) for row in rows if row.figures]
    if not measured:
        return ("nothing could be measured; the table says why",)
    row, figures = min(measured, key=lambda pair: max(limits.excesses(pair[1]).values(), default=1.0))
    nearest = f"nearest came {row.candidate}: {'; '.join(limits.excesses(figures))}"
    spec = specs.get(row.candidate.model)
    return (nearest, *_precision(rows), *_memory(measured, limits), *(_smaller(figures, limits, spec) if spec else ()))


def _precision(rows: Sequence[Row]) -> Iterator[str]:
    if not any(row.precision == "int8" for row in rows):
        yield "no int8 file was among them: edgex convert --precision int8 makes one, which is often the fastest"


def _memory(measured: Sequence[tuple[Row, Figures]], limits: Limits) -> Iterator[str]:
    least, figures = min(measured, key=lambda pair: pair[1].peak_mb)
    if limits.memory_mb is not None and figures.peak_mb > limits.memory_mb:
        yield f"the least memory takes {least.candidate}: {figures.peak_mb:.0f} MB, measured"


def _smaller(figures: Figures, limits: Limits, spec: ModelSpec) -> Iterator[str]:
    if limits.frame_ms is None:
        return
    # The limit on nineteen of twenty frames is one on their median, if they scatter as they did.
    scatter = figures.p95_ms / figures.frame_ms if limits.max_latency_ms else 1.0
    rest = figures.frame_ms - figures.inference_ms
    allowed = limits.frame_ms / scatter - rest
    if allowed >= figures.inference_ms:
        return
    if allowed <= 0:
        yield f"everything but inference takes {rest:.1f} ms already: smaller frames of the camera, or a faster board"
        return
    share = allowed / figures.inference_ms
    side = math.floor(min(spec.input.height, spec.input.width) * math.sqrt(share))
    if side >= _SMALLEST_SIDE:
        yield (
            f"an input of about {side} × {side} instead of {spec.input.height} × {spec.input.width} might fit: an "
            "estimate, if time goes with the area; train or convert at that size and tune again"
        )
    width = spec.network.config.get(_WIDTH) if spec.network else None
    if isinstance(width, (int, float)) and not isinstance(width, bool):
        yield (
            f"a network of width {width * math.sqrt(share):.2g} instead of {width:g} might fit: an estimate, if time "
            "goes with its square; train it and tune again"
        )
