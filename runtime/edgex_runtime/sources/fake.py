"""A source that plays what it is given: the frames, the failures and the loss that a test wants."""

from collections.abc import Iterable

from edgex_runtime.sources.source import Frame, SourceInfo, Unreadable


class FakeSource:
    """Plays `items` in order; an exception among them is raised, and the end of them is the end of the source."""

    def __init__(self, items: Iterable[Frame | Unreadable | Exception], info: SourceInfo) -> None:
        self._items = iter(items)
        self._info = info
        self.closed = False

    @property
    def info(self) -> SourceInfo:
        """As given."""
        return self._info

    def read(self) -> Frame | Unreadable | None:
        """The next item."""
        item = next(self._items, None)
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True
