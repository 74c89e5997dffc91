import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from edgex.training.schedule import Schedule


def test_warms_up_linearly_to_the_peak_and_falls_to_the_floor():
    schedule = Schedule(peak=0.4, steps=100, warmup_steps=4, floor=0.1)

    assert [round(schedule.at(step), 12) for step in range(5)] == [0.1, 0.2, 0.3, 0.4, 0.4]
    assert abs(schedule.at(52) - 0.4 * (0.1 + 0.9 / 2)) < 1e-12  # Half of the cosine is half of the way down.
    assert abs(schedule.at(100) - 0.04) < 1e-12


@settings(derandomize=True, deadline=None)
@given(steps=st.integers(1, 500), warmup=st.integers(0, 1000))
def test_never_leaves_zero_to_peak_and_never_rises_after_the_warm_up(steps, warmup):
    schedule = Schedule(peak=0.1, steps=steps, warmup_steps=warmup)

    rates = [schedule.at(step) for step in range(steps)]

    assert all(0 < rate <= 0.1 + 1e-15 for rate in rates)
    after = rates[min(warmup, steps // 2) :]
    assert all(later <= earlier for earlier, later in itertools.pairwise(after))
