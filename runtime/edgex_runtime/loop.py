"""The frame loop's core: which source's turn it is, one engine for all of them, and a result for every frame taken."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack

from edgex_runtime.ahead import Foresight
from edgex_runtime.batching import Batching
from edgex_runtime.capture import End
from edgex_runtime.clock import Clock
from edgex_runtime.control import Control, ModelChoice
from edgex_runtime.errors import SourceLostError
from edgex_runtime.feed import Feed, FeedOptions, Input, Taken
from edgex_runtime.freshness import State
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.source import Frame, Unreadable

WAIT_S = 0.1
"""Longest wait for a frame before the loop looks at its switches, its clock and the sources' states."""

Results = Generator[tuple[Frame | None, LiveResult], None, None]


class Loop:
    """One run: classifies what its feeds show, each in its turn, in the thread that asks for the results."""

    def __init__(self, models: ModelChoice, inputs: Sequence[Input], options: FeedOptions, clock: Clock) -> None:
        """Take over the inputs' sources; `results` closes them.

        Raises:
            BadInputError: If the options do not fit a source.
        """
        self._models = models
        self._clock = clock
        # One for all captures, so that one thread waits for whichever has news first.
        self._changed = threading.Condition()
        # Of several sources' frames none is sure to be the next.
        self._foresight = Foresight(clock)
        foresight = self._foresight if len(inputs) == 1 else None
        self._feeds = [Feed(given, models, options, clock, self._changed, foresight) for given in inputs]
        self._turns = deque(self._feeds)
        self._batching = Batching()

    def results(self, control: Control, is_over: Callable[[], bool]) -> Results:
        """Yield each frame's result, and a source's state whenever there is no frame to tell it.

        Args:
            control: Asked between frames.
            is_over: Asked between frames, too.

        Raises:
            SourceLostError: When all sources are over, if one of them was lost.
        """
        lost: list[SourceLostError] = []
        with ExitStack() as stack:
            for feed in self._feeds:
                stack.enter_context(feed)
            while not (control.is_stopped or is_over() or all(feed.is_over for feed in self._feeds)):
                yield from self._tell_silence()
                if control.is_paused:
                    self._rest(control)
                else:
                    yield from self._step(lost)
        if lost:
            raise lost[0]

    @property
    def state(self) -> State:
        """How the run stands: of several sources, a lost one is what must be told."""
        states = [feed.state for feed in self._feeds]
        return State.LOST if State.LOST in states else states[0]

    def _step(self, lost: list[SourceLostError]) -> Results:
        """Take what is ready: one source's frame, or where that is faster one of each; and classify it."""
        taken: list[Taken] = []
        for feed in self._whose_turn():
            try:
                item = feed.capture.take(timeout_s=0)
            except SourceLostError as error:
                lost.append(error)
                yield None, feed.tell_lost(error)
                continue
            if item is End.END:
                ended = feed.tell_ended()
                # The end of the last one is the run's, which every sink hears of by being closed.
                if not all(other.is_over for other in self._feeds):
                    yield None, ended
            elif isinstance(item, Unreadable):
                yield None, feed.tell_unreadable(item)
            elif isinstance(item, Frame):
                reused = feed.reuse(item)
                if reused is not None:
                    yield item, reused
                else:
                    taken.append(feed.prepare(item))
        yield from self._classify(taken)

    def _whose_turn(self) -> list[Feed]:
        """The feeds to serve now, the one that was served longest ago first; none after a wait in vain."""
        ready = [feed for feed in self._turns if _has_news(feed)]
        if not ready:
            with self._changed:
                self._changed.wait_for(lambda: any(map(_has_news, self._feeds)), WAIT_S)
            ready = [feed for feed in self._turns if _has_news(feed)]
        chosen = ready if self._batching.choose(len(ready)) else ready[:1]
        for feed in chosen:
            self._turns.remove(feed)
            self._turns.append(feed)
        return chosen

    def _classify(self, taken: Sequence[Taken]) -> Results:
        if not taken:
            return
        self._foresight.begin()
        predictions = self._models.classify([one.prepared for one in taken])
        self._foresight.end()
        if len(self._feeds) > 1:
            self._batching.add(len(taken), predictions[0].timing.inference_ms)
        for one, prediction in zip(taken, predictions, strict=True):
            yield one.frame, one.feed.finish(one, prediction)

    def _tell_silence(self) -> Results:
        for feed in self._feeds:
            told = None if feed.is_over or feed.capture.has_news else feed.tell_silence()
            if told is not None:
                yield None, told

    def _rest(self, control: Control) -> None:
        """Wait while the run is paused. What a live source showed meanwhile is old when it goes on, and is let go."""
        with self._changed:
            self._changed.wait_for(lambda: control.is_stopped, WAIT_S)
            for feed in self._feeds:
                feed.capture.let_go()


def _has_news(feed: Feed) -> bool:
    return not feed.is_over and feed.capture.has_news
