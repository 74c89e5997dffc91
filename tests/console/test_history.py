"""What the plots show, and what the page is told of each source, under a clock that the test moves."""

from hypothesis import given
from hypothesis import strategies as st

from edgex_runtime.console.board import NOTICE_NS, Board
from edgex_runtime.console.history import KEEP, PERIOD_NS, History
from edgex_runtime.freshness import State
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.source import SourceInfo

SECOND_NS = 1_000_000_000


def test_a_point_tells_the_oldest_age_and_the_rate_of_two_seconds() -> None:
    history = History(0)
    for index in range(40):
        history.add(index * SECOND_NS // 20, age_ms=10.0 + index % 10, classified=True)
    history.advance(2 * SECOND_NS)
    points = history.after(-1)
    assert [point.number for point in points] == [0, 1, 2, 3]
    assert [point.age_ms for point in points] == [19, 19, 19, 19]
    assert [point.fps for point in points] == [20, 20, 20, 20]
    assert history.after(1) == points[2:]


def test_a_slow_models_rate_does_not_jump() -> None:
    history = History(0)
    for second in range(20):
        history.add(second * SECOND_NS, age_ms=900, classified=True)
    rates = {point.fps for point in history.after(7)}
    assert rates == {1.0}


def test_silence_is_a_gap_and_not_a_young_frame() -> None:
    history = History(0)
    history.add(0, age_ms=5, classified=True)
    history.advance(2 * SECOND_NS)
    assert [point.age_ms for point in history.after(-1)] == [5, None, None, None]


@given(st.lists(st.integers(0, 400 * SECOND_NS), max_size=30))
def test_however_long_it_sleeps_it_keeps_a_minute_and_counts_on(waits: list[int]) -> None:
    history, now_ns = History(0), 0
    for wait_ns in waits:
        now_ns += wait_ns
        history.add(now_ns, age_ms=1, classified=True)
    numbers = [point.number for point in history.after(-1)]
    last = now_ns // PERIOD_NS
    assert numbers == list(range(max(0, last - KEEP), last))[-len(numbers) :]
    assert len(numbers) == min(last, KEEP)


class Clocked:
    """A board whose clock the test moves."""

    def __init__(self, *, live: bool) -> None:
        self.now_ns = 0
        self.board = Board([SourceInfo(name="door", live=live)], now_ns=lambda: self.now_ns)

    def tell(self, state: State, age_ms: float) -> None:
        result = LiveResult(state=state, name="door", source="door", at_ns=0, age_ms=age_ms, dropped=0)
        self.board.put(None, result)

    def status(self, *, after_s: float = 0.0, paused: bool = False) -> tuple[str, float | None]:
        self.now_ns += round(after_s * SECOND_NS)
        status = self.board.statuses(paused=paused)[0]
        return status.state, status.age_ms


def test_nothing_was_heard_yet() -> None:
    assert Clocked(live=True).status(after_s=60) == ("WAITING", None)


def test_a_live_sources_age_goes_on_and_its_silence_is_stale_unless_the_run_is_paused() -> None:
    board = Clocked(live=True)
    board.tell(State.LIVE, 40)
    assert board.status(after_s=1) == ("LIVE", 1040)
    assert board.status(after_s=1.5, paused=True) == ("LIVE", 2540)
    assert board.status() == ("STALE", 2540)
    board.tell(State.LIVE, 30)
    assert board.status() == ("LIVE", 30)


def test_a_files_age_is_that_of_its_result() -> None:
    board = Clocked(live=False)
    board.tell(State.LIVE, 40)
    assert board.status(after_s=30) == ("LIVE", 40)


def test_a_lost_source_stays_lost() -> None:
    board = Clocked(live=True)
    board.tell(State.LOST, 40)
    assert board.status(after_s=30) == ("LOST", 30_040)


def test_a_cameras_damaged_pictures_are_gathered_and_a_folders_each_told() -> None:
    now_ns = 0
    sources = [SourceInfo(name="door", live=True, fps=30), SourceInfo(name="photos", live=False)]
    board = Board(sources, now_ns=lambda: now_ns)

    def put(index: int | None, source: str, error: str) -> None:
        told = {"state": State.LIVE, "name": "x", "at_ns": 0, "age_ms": None, "dropped": 0, "source": source}
        board.put(None, LiveResult(index=index, error=error, **told))

    for index in range(4):
        for source in ("door", "photos"):
            put(index, source, f"{index}: half")
    now_ns = NOTICE_NS
    put(4, "door", "4: half")
    put(None, "door", "the cable was pulled")
    texts = {source: [one.text for one in board.notices(-1) if one.source == source] for source in ("door", "photos")}
    assert texts["photos"] == ["0: half", "1: half", "2: half", "3: half"]
    gathered = "4 pictures could not be read; the last: 4: half"
    assert texts["door"] == ["0: half", gathered, "the cable was pulled"]
