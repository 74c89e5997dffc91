"""When a result is news: for those who are told of changes and not of frames."""

from dataclasses import replace

from sample_results import RESULT

from edgex_runtime.freshness import State
from edgex_runtime.sinks.pacing import Novelty, Pace


def test_a_label_is_told_when_it_changes_and_not_too_often() -> None:
    novelty = Novelty(Pace(every_ns=1000, refresh_ns=5000))
    told = []
    for at_ns in range(0, 12_000, 100):
        result = replace(RESULT, at_ns=at_ns, label="dog" if at_ns >= 1500 else "cat")
        if novelty.is_due(result):
            told.append((at_ns, result.label))
    assert told == [(0, "cat"), (1500, "dog"), (6500, "dog"), (11500, "dog")]


def test_a_flickering_label_is_told_at_most_so_often_and_a_new_state_at_once() -> None:
    novelty = Novelty(Pace(every_ns=1000, refresh_ns=None))
    flicker = [replace(RESULT, at_ns=at, label="ab"[at // 100 % 2]) for at in range(0, 4000, 100)]
    assert sum(novelty.is_due(result) for result in flicker) == 4
    assert novelty.is_due(replace(RESULT, at_ns=4000, state=State.STALE))
    assert novelty.is_due(replace(RESULT, at_ns=4001, state=State.LIVE))
