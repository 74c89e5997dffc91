"""Several sources' pictures go through the engine at once only where that was measured to be faster."""

import pytest

from edgex_runtime.batching import AGAIN_AFTER, TRIALS, Batching


def run(batching: Batching, rounds: int, *, single_ms: float, batch_ms: float) -> list[bool]:
    chosen = []
    for _ in range(rounds):
        at_once = batching.choose(3)
        batching.add(3 if at_once else 1, batch_ms if at_once else single_ms)
        chosen.append(at_once)
    return chosen


@pytest.mark.parametrize(("batch_ms", "at_once"), [(6.0, True), (9.8, False), (12.0, False)])
def test_what_was_faster_in_the_trials_is_used(batch_ms: float, at_once: bool) -> None:
    chosen = run(Batching(), 60, single_ms=10.0, batch_ms=batch_ms)
    assert set(chosen[: 2 * TRIALS]) == {True, False}
    assert set(chosen[2 * TRIALS :]) == {at_once}


def test_one_ready_picture_never_waits_for_another() -> None:
    batching = Batching()
    run(batching, 40, single_ms=10.0, batch_ms=1.0)
    assert not batching.choose(1)


def test_it_changes_its_mind_when_the_machine_does() -> None:
    batching = Batching()
    assert run(batching, 100, single_ms=10.0, batch_ms=12.0)[-1] is False
    chosen = run(batching, AGAIN_AFTER + 3 * TRIALS, single_ms=10.0, batch_ms=4.0)
    assert chosen[-1] is True
