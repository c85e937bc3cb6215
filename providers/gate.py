"""When a request may go: places at once, every rate limit, and a server's word to hold.

It starts with one request at once and learns the limits from its answer. Then places double
in each round trip until the server says it is too much; from then on one is added a round
trip, and they are halved at most once a round trip (slow start, then additive increase and
multiplicative decrease, as in TCP).

Nothing here reads a clock or knows a thread: the limiter tells the time and holds its lock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from elicit.providers.faults import Fault
from elicit.providers.pace import Pace, Sent
from elicit.providers.rate_headers import Measure, RateWindow

_MEASURES: tuple[Measure, ...] = ("requests", "tokens", "input_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Flight:
    """A request that was let through."""

    at: float
    sent: tuple[Sent, ...]


class Concurrency:
    """How many requests at once: slow start, then additive increase, halved on too much."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._now = 1.0
        self._threshold = math.inf
        self._cut_at = -math.inf

    @property
    def places(self) -> int:
        return int(self._now)

    def answered(self) -> None:
        step = 1.0 if self._now < self._threshold else 1.0 / self._now
        self._now = min(float(self._most), self._now + step)

    def too_much(self, sent_at: float, now: float) -> None:
        # What was sent before the last cut says nothing about what the cut achieved.
        if sent_at > self._cut_at:
            self._now = self._threshold = max(1.0, self._now / 2)
            self._cut_at = now


class Gate:
    """All that stands between a request and its endpoint. Times are monotonic seconds."""

    def __init__(self, max_concurrency: int) -> None:
        self.concurrency = Concurrency(max_concurrency)
        self.in_flight = 0
        self.rate_limited = 0
        self.paces: dict[Measure, Pace] = {measure: Pace() for measure in _MEASURES}
        self._hold = -math.inf

    def ready_at(self, tokens: int, output_tokens: int, now: float) -> float:
        """The earliest moment; infinite while only an answer can make room."""
        if self.in_flight >= self.concurrency.places:
            return math.inf
        amounts = _amounts(tokens, output_tokens)
        return max(
            self._hold,
            *(self.paces[m].ready_at(a, now) for m, a in zip(_MEASURES, amounts, strict=True)),
        )

    def send(self, tokens: int, output_tokens: int, now: float) -> Flight:
        self.in_flight += 1
        amounts = _amounts(tokens, output_tokens)
        return Flight(
            now,
            tuple(self.paces[m].send(a, now) for m, a in zip(_MEASURES, amounts, strict=True)),
        )

    def land(
        self,
        flight: Flight,
        now: float,
        windows: Mapping[Measure, RateWindow],
        fault: Fault | None,
        actual: tuple[int, int] | None,
        *,
        success: bool,
    ) -> None:
        self.in_flight -= 1
        amounts = None if actual is None else _amounts(*actual)
        for i, measure in enumerate(_MEASURES):
            took = flight.sent[i].amount if amounts is None else amounts[i]
            self.paces[measure].land(flight.sent[i], took, now, windows.get(measure))
        if success:
            self.concurrency.answered()
        elif fault is not None and (fault.kind == "rate_limited" or fault.slow):
            self.rate_limited += fault.kind == "rate_limited"
            self.concurrency.too_much(flight.at, now)
            self._hold = max(self._hold, now + (fault.retry_after or 0.0))


def _amounts(tokens: int, output_tokens: int) -> tuple[int, int, int, int]:
    return 1, tokens + output_tokens, tokens, output_tokens
