"""Keeping one rate limit, whatever kind of server counts it.

Two rules together, both on what has been *sent*:

- **Count.** A request may reach the server at any time between sending it and its answer, so
  it counts from its sending until one window after its answer. While that count stays within
  the limit, no window of that length, wherever it begins, holds more than the limit on the
  server's side: each arrival in a window is either still in flight at the window's end or was
  answered within it. This holds for sliding and for fixed windows.
- **Spacing.** Sends are spread evenly at 97 % of the rate, since servers with a token bucket
  may hold only a second's worth of a minute's limit. A send may be 25 ms early, less than the
  headroom of a second, so late wake-ups cost no throughput and no whole second goes over.

Beside them stands what the server said was left: nothing is sent beyond it before the reset.

**The window's length** is the server's where stated, else a minute, which is how the vendors
define their limits, and never shorter than a stated reset. Some limits under the same header
names are a day's. A bucket shows its refill rate as (limit − remaining) / reset; a fixed
window can't show the same rate at twice the use, since its reset only falls. So two answers
within one reset that agree in the rate at twice the use prove a bucket, and its window is
limit / rate. That only ever makes a window longer: a server whose limit is, say, a second's
and which does not state it is paced as if it were a minute's, safe but slow. A window over
two minutes is a quota to use up, not a pace: only the count holds it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

from elicit.providers.rate_headers import RateWindow

HEADROOM = 0.03
"""Part of a stated rate that is left unused."""
EARLY = 0.025
"""Seconds (or part of a window under a second) that a send may run ahead of its place."""
DEFAULT_WINDOW = 60.0
LONGEST_PACED = 120.0
_PROVABLE_RESET = 2.0
"""Seconds: shorter resets prove nothing, as servers round them to whole seconds."""
_CELLS = 512
"""A window's answered requests are kept in this many cells, however many they are."""


@dataclass(slots=True)
class _Cell:
    """What was answered between two moments; it counts until a window after the later."""

    first: float
    last: float
    amount: float


@dataclass(frozen=True, slots=True)
class _Witness:
    """An answer that may yet prove a bucket, until its reset."""

    used: int
    window: float
    ends: float


@dataclass(frozen=True, slots=True)
class Sent:
    """One request's place in a `Pace`: its amount, and the account when it went out."""

    amount: float
    landed_before: float
    at: float


class Pace:
    """One limit: requests, or tokens of one kind. Times are seconds of one monotonic clock.

    The caller sends only when `ready_at(amount) <= now`, and answers each `send` with one
    `land`. Not safe for threads: the limiter holds its lock around every call.
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        self.window = DEFAULT_WINDOW
        self._sent = 0.0
        self._landed = 0.0
        self._cells: deque[_Cell] = deque()
        self._recent = 0.0
        self._next = -math.inf
        self._last: Sent | None = None
        self._allowance = math.inf
        self._until = -math.inf
        self._witness: _Witness | None = None
        self._proved = False

    @property
    def flying(self) -> float:
        """Amount sent and not yet answered."""
        return self._sent - self._landed

    def left(self, now: float) -> float | None:
        """What may still be sent before the stated reset; None where nothing stands."""
        return max(0.0, self._allowance) if now < self._until < math.inf else None

    def ready_at(self, amount: float, now: float) -> float:
        """The earliest moment to send `amount`; infinite while only an answer can tell.

        An amount above the whole limit counts as the limit: it goes alone, and the server
        has the last word on it.
        """
        if self.limit is None:
            return now
        amount = min(amount, self.limit)
        ready = now
        if self._paced:
            ready = max(ready, self._next - EARLY * min(1.0, self.window))
        # A request of unknown size is at least one: with nothing left, nothing goes.
        if now < self._until and self._allowance < max(amount, 1):
            ready = max(ready, self._until)
        return max(ready, self._counted_until(amount, now))

    def send(self, amount: float, now: float) -> Sent:
        sent = self._last = Sent(amount, self._landed, now)
        self._sent += amount
        self._allowance -= amount
        self._next = max(self._next, now) + self._spacing(amount)
        return sent

    def land(self, sent: Sent, actual: float, now: float, seen: RateWindow | None) -> None:
        """An answer came (or a failure): what it really took, and what the server says."""
        self._landed += sent.amount
        self._count(actual, now)
        self._allowance += sent.amount - actual
        self._next += self._spacing(actual - sent.amount)
        if self._last is sent:
            self._last = replace(sent, amount=actual)
        if seen is not None:
            self._learn(seen, now)
            self._allow(sent, seen, now)

    def _allow(self, sent: Sent, seen: RateWindow, now: float) -> None:
        if seen.remaining is None:
            return
        reset = self.window if seen.reset_seconds is None else seen.reset_seconds
        # The server had counted only what had landed before this request was sent: all else
        # may have reached it afterwards, but no more of it than the pace allows until the
        # reset makes good for it.
        uncounted = self._sent - sent.landed_before - sent.amount
        self._allowance = seen.remaining - min(uncounted, seen.limit * reset / self.window)
        self._until = now + reset

    @property
    def _paced(self) -> bool:
        return self.window <= LONGEST_PACED

    def _spacing(self, amount: float) -> float:
        if self.limit is None or not self._paced:
            return 0.0
        return amount * self.window / (self.limit * (1 - HEADROOM))

    def _learn(self, seen: RateWindow, now: float) -> None:
        if seen.limit != self.limit:
            first, self.limit = self.limit is None, seen.limit
            self._witness, self._proved = None, False
            self.window = seen.window_seconds or DEFAULT_WINDOW
            if first and self._last is not None:
                self._next = self._last.at + self._spacing(self._last.amount)
        if seen.window_seconds is not None:
            self.window = seen.window_seconds
        elif not self._proved:
            self._prove_bucket(seen, now)
            if not self._proved:
                self.window = max(self.window, seen.reset_seconds or 0.0)
        self._expire(now)

    def _prove_bucket(self, seen: RateWindow, now: float) -> None:
        reset, remaining = seen.reset_seconds or 0.0, seen.remaining
        if remaining is None or remaining >= seen.limit or reset < _PROVABLE_RESET:
            return
        used = seen.limit - remaining
        window = seen.limit * reset / used
        first = self._witness
        if first is None or now >= first.ends or used < first.used:
            self._witness = _Witness(used, window, now + reset)
        elif (
            used >= 2 * first.used
            and window > 1.5 * DEFAULT_WINDOW
            and math.isclose(window, first.window, rel_tol=0.1)
        ):
            self.window, self._proved = window, True

    def _count(self, amount: float, now: float) -> None:
        self._recent += amount
        last = self._cells[-1] if self._cells else None
        if last is not None and now - last.first <= self.window / _CELLS:
            last.last = now
            last.amount += amount
        else:
            self._cells.append(_Cell(now, now, amount))
        self._expire(now)

    def _expire(self, now: float) -> None:
        while self._cells and self._cells[0].last + self.window <= now:
            self._recent -= self._cells.popleft().amount

    def _counted_until(self, amount: float, now: float) -> float:
        """When enough of what counts has run out for `amount` to fit within the limit."""
        self._expire(now)
        limit = math.inf if self.limit is None else self.limit
        over = self.flying + self._recent + amount - limit
        ready = now
        for cell in self._cells:
            if over <= 0:
                return ready
            over -= cell.amount
            ready = cell.last + self.window
        return ready if over <= 0 else math.inf
