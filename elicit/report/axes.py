"""Where the points of a chart lie: ticks, scales, and fewer points where there are many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Pair = tuple[float, float]
"""x and y."""

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
"""Between ticks, times a power of ten."""

EQUAL = 1e-9
"""Values that differ by less, of their size or of 1, are drawn as one."""


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to places on the page: `low` is drawn at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def limits(values: Sequence[float], *, from_zero: bool = False) -> Pair:
    """The least and the greatest of finite values with a little room; never equal."""
    low, high = min(values), max(values)
    if from_zero:
        low = min(low, 0.0)
    if high - low <= EQUAL * max(1.0, abs(low), abs(high)):
        room = abs(low) / 10 if abs(low) > EQUAL else 1.0
        return (low if from_zero else low - room), high + room
    room = (high - low) / 20
    return (low if from_zero else low - room), high + room


def ticks(low: float, high: float, most: int = 6, *, whole: bool = False) -> list[float]:
    """Round numbers from low to high, at most `most` of them; whole numbers if asked for."""
    raw = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in STEPS if s * power >= raw * (1 - 1e-9))
    if whole:
        step = max(1.0, float(math.ceil(step)))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def thinned(points: Sequence[Pair], most: int) -> list[Pair]:
    """At most `most` (6 or more) of points in order of x: the first, the last, the two of the
    extreme y, and of each stretch between them the lowest and the highest."""
    if len(points) <= most:
        return list(points)
    inner = range(1, len(points) - 1)
    stretches = (most - 4) // 2
    kept = {0, len(points) - 1, _lowest(points, inner), _highest(points, inner)}
    for number in range(stretches):
        begin = 1 + number * len(inner) // stretches
        end = 1 + (number + 1) * len(inner) // stretches
        kept |= {_lowest(points, range(begin, end)), _highest(points, range(begin, end))}
    return [points[place] for place in sorted(kept)]


def _lowest(points: Sequence[Pair], places: range) -> int:
    return min(places, key=lambda place: points[place][1])


def _highest(points: Sequence[Pair], places: range) -> int:
    return max(places, key=lambda place: points[place][1])


def apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places moved as little as is easy to tell, so that those next to each other are `gap`
    apart, all of them from low to high where there is room."""
    order = sorted(range(len(places)), key=lambda k: places[k])
    moved = [0.0] * len(places)
    last = low - gap
    for k in order:
        last = moved[k] = max(places[k], last + gap)
    ceiling = high
    for k in reversed(order):
        moved[k] = min(moved[k], ceiling)
        ceiling = moved[k] - gap
    return moved


def told(value: float) -> str:
    """A tick's number, with a minus sign and separators."""
    text = f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.6g}"
    return text.replace("-", "\N{MINUS SIGN}")
