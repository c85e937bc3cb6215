"""The one limiter of hosted calls: how many at once, how many a minute, how many tokens.

One `Limiter` stands before one endpoint and serves every thread of the process in turn. The
threads wait here; when a request may go is decided in `gate.py` and `pace.py`.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from elicit.cache.errors import InputError
from elicit.providers.faults import Fault
from elicit.providers.gate import Flight, Gate
from elicit.providers.rate_headers import Measure, read_windows
from elicit.providers.retry import CallFailed, Stopped


@dataclass(frozen=True, slots=True)
class Known:
    """One limit as it stands: `left` until the reset, None where the server did not say."""

    limit: int
    window_seconds: float
    left: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A limiter at one moment, for progress lines and `elicit doctor`."""

    concurrency: int
    """Requests allowed at once."""
    in_flight: int
    waiting: int
    windows: Mapping[Measure, Known]
    next_in: float | None
    """Seconds until the first waiting request may go; None: nobody waits, or for an answer."""
    waited_seconds: float
    """Waiting of all requests let through so far, added up."""
    rate_limited: int
    """Answers so far that said it was too much."""


def _never() -> bool:
    return False


class Slot:
    """Leave to send one request. Tell how it ended through `finished`, once."""

    def __init__(self, limiter: Limiter, flight: Flight, estimate: tuple[int, int]) -> None:
        self._limiter = limiter
        self._flight: Flight | None = flight
        self._estimate = estimate

    def finished(
        self,
        headers: Mapping[str, str] | None,
        fault: Fault | None,
        *,
        tokens: int | None = None,
        output_tokens: int | None = None,
    ) -> None:
        """The answer's headers, or the fault that came instead; a second call does nothing.

        `tokens` and `output_tokens` are what the request really took, where it is known.
        """
        given, expected = (tokens, output_tokens), self._estimate
        actual = (
            expected[0] if given[0] is None else given[0],
            expected[1] if given[1] is None else given[1],
        )
        self._land(headers or {}, fault, actual, success=fault is None)

    def abandoned(self) -> None:
        """Nobody knows how it ended: it counts as sent, and teaches nothing."""
        self._land({}, None, None, success=False)

    def _land(
        self,
        headers: Mapping[str, str],
        fault: Fault | None,
        actual: tuple[int, int] | None,
        *,
        success: bool,
    ) -> None:
        flight, self._flight = self._flight, None
        if flight is not None:
            self._limiter.landed(flight, headers, fault, actual, success=success)


class Limiter:
    """Lets requests to one endpoint through, first come first served, from any thread.

    Args:
        max_concurrency: most requests at once, at least 1.
        longest_wait: seconds; where a used-up quota would hold a request longer, the request
            fails at once and says so.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        max_concurrency: int = 64,
        longest_wait: float = 900.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_concurrency < 1:
            raise InputError(
                f"max_concurrency is {max_concurrency}: at least 1 request at once"
            )
        self._gate = Gate(max_concurrency)
        self._longest_wait = longest_wait
        self._clock = clock
        self._lock = threading.Lock()
        self._line: deque[tuple[threading.Condition, tuple[int, int]]] = deque()
        self._waited = 0.0
        self.max_concurrency = max_concurrency

    @contextmanager
    def slot(
        self, tokens: int, output_tokens: int = 0, *, stopped: Callable[[], bool] = _never
    ) -> Iterator[Slot]:
        """Wait until a request of about `tokens` input tokens may be sent.

        Raises:
            Stopped: `stopped` said so, before or while waiting; see `wake`.
            CallFailed: the wait would be longer than `longest_wait`.
        """
        flight = self._admitted(tokens, output_tokens, stopped)
        slot = Slot(self, flight, (tokens, output_tokens))
        try:
            yield slot
        finally:
            slot.abandoned()

    def wake(self) -> None:
        """Have all that wait look whether they were stopped. Sent requests go on."""
        with self._lock:
            for turn, _ in self._line:
                turn.notify()

    def snapshot(self) -> Snapshot:
        with self._lock:
            now, gate = self._clock(), self._gate
            ready = gate.ready_at(*self._line[0][1], now) if self._line else math.inf
            return Snapshot(
                concurrency=gate.concurrency.places,
                in_flight=gate.in_flight,
                waiting=len(self._line),
                windows={
                    measure: Known(pace.limit, pace.window, pace.left(now))
                    for measure, pace in gate.paces.items()
                    if pace.limit is not None
                },
                next_in=max(0.0, ready - now) if math.isfinite(ready) else None,
                waited_seconds=self._waited,
                rate_limited=gate.rate_limited,
            )

    def landed(
        self,
        flight: Flight,
        headers: Mapping[str, str],
        fault: Fault | None,
        actual: tuple[int, int] | None,
        *,
        success: bool,
    ) -> None:
        """A slot's own way back; callers use `Slot.finished`."""
        windows = read_windows(headers, time.time())
        with self._lock:
            now = self._clock()
            self._gate.land(flight, now, windows, fault, actual, success=success)
            self._wake_first()

    def _admitted(self, tokens: int, output_tokens: int, stopped: Callable[[], bool]) -> Flight:
        with self._lock:
            asked = self._clock()
            turn = threading.Condition(self._lock)
            place = (turn, (tokens, output_tokens))
            self._line.append(place)
            try:
                while not stopped():
                    wait = None
                    if self._line[0] is place:
                        now = self._clock()
                        ready = self._gate.ready_at(tokens, output_tokens, now)
                        if ready <= now:
                            self._waited += now - asked
                            return self._gate.send(tokens, output_tokens, now)
                        wait = self._bounded(ready - now)
                    turn.wait(wait)
                raise Stopped("stopped while waiting to send a request")
            finally:
                self._line.remove(place)
                self._wake_first()

    def _bounded(self, wait: float) -> float | None:
        if math.isinf(wait):
            return None
        if wait > self._longest_wait:
            raise CallFailed(
                f"the endpoint's rate limit is used up: the next request may go in {wait:,.0f} "
                f"s, more than the {self._longest_wait:,.0f} s allowed. Mend: go on after "
                "that, or use a model or an account with a higher limit"
            )
        return wait

    def _wake_first(self) -> None:
        if self._line:
            self._line[0][0].notify()
