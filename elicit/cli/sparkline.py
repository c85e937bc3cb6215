"""A curve drawn in one line of text, in memory that does not grow with its length."""

from __future__ import annotations

import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_-:=+*%#"
"""For consoles whose encoding lacks the blocks."""
MOST_POINTS = 512
"""Points kept of a curve: more columns than a terminal has."""


def levels_for(encoding: str) -> str:
    """Eight characters from low to high that a console of this encoding can show."""
    try:
        BLOCKS.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BLOCKS


def sparkline(values: Sequence[float | None], levels: str = BLOCKS) -> str:
    """A character for each value, from the first level for the least to the last for the
    greatest; a space for None and for what is no number. Equal values are in the middle.

    What is infinite is as low or as high as can be, and leaves the others their scale.
    """
    known = [v for v in values if v is not None and not math.isnan(v)]
    finite = [v for v in known if math.isfinite(v)]
    # Halved, so that the span of any two floats is one.
    low, high = (min(finite) / 2, max(finite) / 2) if finite else (0.0, 0.0)
    top = len(levels) - 1

    def drawn(value: float | None) -> str:
        if value is None or math.isnan(value):
            return " "
        if math.isinf(value):
            return levels[top if value > 0 else 0]
        if high <= low:
            return levels[top // 2]
        return levels[round((value / 2 - low) / (high - low) * top)]

    return "".join(map(drawn, values))


class History:
    """A value for each of a number of iterations, thinned so that few are kept."""

    def __init__(self) -> None:
        self._points: list[tuple[int, float]] = []
        self._newest: tuple[int, float] | None = None
        self._stride = 1

    def add(self, iteration: int, value: float) -> None:
        """The value at an iteration that is later than those before."""
        self._newest = (iteration, value)
        if self._points and iteration - self._points[-1][0] < self._stride:
            return
        self._points.append(self._newest)
        if len(self._points) > MOST_POINTS:
            self._points = self._points[::2]
            self._stride *= 2

    def columns(self, width: int, iterations: int) -> list[float | None]:
        """The curve over 0 to `iterations` in `width` columns: each has the newest value of its
        stretch, or that before it; None before the first value and after the newest.
        """
        columns: list[float | None] = [None] * width
        if self._newest is None or width < 1:
            return columns
        span = max(iterations, self._newest[0]) + 1
        for iteration, value in (*self._points, self._newest):
            columns[iteration * width // span] = value
        last = (self._newest[0] + 1) * width // span
        for place in range(1, max(last, 1)):
            if columns[place] is None:
                columns[place] = columns[place - 1]
        return columns
