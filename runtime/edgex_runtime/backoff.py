"""How long to wait before a lost source is tried again: longer each time up to a cap, never in step with others."""

import numpy as np

FIRST_S = 0.25
CAP_S = 4.0


class Backoff:
    """Capped exponential backoff with full jitter (AWS Architecture Blog, 2015): no fleet returns all at once."""

    def __init__(self, rng: np.random.Generator | None = None) -> None:
        """Begin with the shortest pause; without `rng` each process gets another one."""
        self._rng = rng
        self._ceiling_s = FIRST_S

    def next_s(self) -> float:
        """Seconds to wait, uniform from 0 to a ceiling that doubles with each call up to `CAP_S`."""
        ceiling_s = self._ceiling_s
        self._ceiling_s = min(2 * ceiling_s, CAP_S)
        if self._rng is None:
            # Made when a source is lost: numpy.random takes 3 MB, and most runs of a board never need it.
            self._rng = np.random.default_rng()
        return float(self._rng.uniform(0.0, ceiling_s))

    def reset(self) -> None:
        """Begin anew: the source has shown that it works."""
        self._ceiling_s = FIRST_S
