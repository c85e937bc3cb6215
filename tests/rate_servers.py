"""Servers that keep a rate limit in the ways the vendors do, for the limiter's tests.

They know only arrival times. Each answers with the window it would state, and counts what it
refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

from elicit.providers.rate_headers import RateWindow


class Server(Protocol):
    refused: int

    def arrive(self, amount: int, now: float) -> bool:
        """Whether it is accepted. Times never fall from one call to the next."""

    def state(self, now: float) -> RateWindow: ...


@dataclass
class FixedWindow:
    """Counts start again at every multiple of `window` after `phase`."""

    limit: int
    window: float = 60.0
    phase: float = 0.0
    stated: bool = False
    refused: int = 0
    _used: int = 0
    _index: int = -(10**9)

    def arrive(self, amount: int, now: float) -> bool:
        self._turn(now)
        accepted = self._used + amount <= self.limit
        self._used += amount if accepted else 0
        self.refused += not accepted
        return accepted

    def state(self, now: float) -> RateWindow:
        self._turn(now)
        reset = max(0.0, (self._index + 1) * self.window + self.phase - now)
        stated = self.window if self.stated else None
        return RateWindow(self.limit, self.limit - self._used, reset, stated)

    def _turn(self, now: float) -> None:
        index = math.floor((now - self.phase) / self.window)
        if index != self._index:
            self._index, self._used = index, 0


@dataclass
class Bucket:
    """Refills evenly at `limit` a window; holds `capacity`, or the whole limit."""

    limit: int
    window: float = 60.0
    capacity: float | None = None
    stated: bool = False
    refused: int = 0
    _level: float = field(init=False)
    _at: float = -math.inf

    def __post_init__(self) -> None:
        self._level = self._size

    @property
    def _size(self) -> float:
        return self.limit if self.capacity is None else self.capacity

    def arrive(self, amount: int, now: float) -> bool:
        self._fill(now)
        accepted = self._level >= amount - 1e-9
        self._level -= amount if accepted else 0
        self.refused += not accepted
        return accepted

    def state(self, now: float) -> RateWindow:
        self._fill(now)
        reset = (self._size - self._level) * self.window / self.limit
        left = min(self.limit, max(0, int(self._level)))
        return RateWindow(self.limit, left, reset, self.window if self.stated else None)

    def _fill(self, now: float) -> None:
        gained = (now - self._at) * self.limit / self.window
        self._level, self._at = min(self._size, self._level + gained), now
