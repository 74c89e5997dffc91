"""The rules themselves, at their edges."""

import math

import pytest

from edgex_converters.config import GateConfig
from edgex_converters.gates import Measurement, judge

GATES = GateConfig()


def measured(**changes: float) -> Measurement:
    values = {
        "images": 500,
        "accuracy": 0.9,
        "accuracy_low": 0.87,
        "accuracy_high": 0.92,
        "reference_accuracy": 0.9,
        "agreement": 1.0,
        "difference": 1e-6,
        "sqnr_db": 100.0,
    }
    return Measurement(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("precision", "changes", "passed"),
    [
        ("fp32", {}, True),
        ("fp32", {"difference": 1e-3}, True),
        ("fp32", {"difference": 1.01e-3}, False),
        ("fp32", {"difference": math.nan}, False),
        ("fp32", {"agreement": 0.998}, False),
        ("fp16", {"agreement": 0.995}, True),
        ("fp16", {"agreement": 0.994}, False),
        ("fp16", {"images": 199}, False),
        ("fp16", {"images": 200}, True),
        ("int8", {"accuracy": 0.891}, True),
        ("int8", {"accuracy": 0.8909}, False),
        ("int8", {"accuracy": math.nan}, False),
        ("int8", {"images": 99}, False),
        ("int8", {"images": 100}, True),
        ("int8", {"agreement": 0.5}, True),
    ],
)
def test_gate_edges(precision, changes, passed: bool) -> None:
    verdict = judge(precision, measured(**changes), GATES)
    assert verdict.passed == passed
    assert bool(verdict.why) != passed


def test_says_what_fell_short() -> None:
    verdict = judge("int8", measured(accuracy=0.8), GATES)
    assert verdict.gate == "accuracy ≥ 99.0% of fp32's"
    assert verdict.why == "top-1 80.0%, wanted 89.1%, which is 99.0% of fp32's 90.0%"


def test_a_portability_fault_fails_the_best_measurement() -> None:
    verdict = judge("int8", measured(), GATES, portability_fault="saturates elsewhere")
    assert (verdict.passed, verdict.why) == (False, "saturates elsewhere")


@pytest.mark.parametrize("gate", [0.0, -1.0, 1.1])
def test_refuses_a_gate_that_is_no_share(gate: float) -> None:
    with pytest.raises(ValueError, match="int8_accuracy"):
        GateConfig(int8_accuracy=gate)
