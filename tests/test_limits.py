"""The limiter keeps every stated limit, uses nearly all of it, and lets everyone through."""

from __future__ import annotations

import heapq
import http.client
import http.server
import itertools
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rate_servers import Bucket, FixedWindow, Server

from elicit.cache.errors import InputError
from elicit.providers.faults import Fault
from elicit.providers.gate import Flight, Gate
from elicit.providers.limits import Limiter
from elicit.providers.pace import Pace
from elicit.providers.rate_headers import Measure, RateWindow
from elicit.providers.retry import CallFailed, Stopped

TOO_MUCH = Fault("rate_limited", "too many requests", status=429)


# --- on a virtual clock ---------------------------------------------------------------------


@dataclass(frozen=True)
class Demand:
    """A request: what it takes, and how long it is on its way to the server and back."""

    tokens: int = 1
    there: float = 0.05
    back: float = 0.05


@dataclass
class Simulation:
    """Sends demands through a gate in turn, each as soon as the gate allows."""

    gate: Gate
    servers: dict[Measure, Server]
    now: float = 1000.0
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=itertools.count)

    def run(self, demands: list[Demand]) -> None:
        for demand in demands:
            ready = self.gate.ready_at(demand.tokens, 0, self.now)
            while ready > self.now:
                self._advance(ready)
                ready = self.gate.ready_at(demand.tokens, 0, self.now)
            self.sent_at.append(self.now)
            flight = self.gate.send(demand.tokens, 0, self.now)
            self._at(self.now + demand.there, partial(self._arrive, demand, flight))
        while self._events:
            self._advance(math.inf)

    def _advance(self, ready: float) -> None:
        due = self._events[0][0] if self._events else math.inf
        assert min(due, ready) < math.inf, "deadlock: nothing is in flight, nothing may go"
        if due <= ready:
            self.now, _, happen = heapq.heappop(self._events)
            happen()
        else:
            self.now = ready

    def _at(self, when: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), happen))

    def _arrive(self, demand: Demand, flight: Flight) -> None:
        self.arrivals.append((self.now, demand.tokens))
        took: dict[Measure, int] = {"requests": 1, "tokens": demand.tokens}
        verdicts = [s.arrive(took[m], self.now) for m, s in self.servers.items()]
        windows = {measure: server.state(self.now) for measure, server in self.servers.items()}
        self._at(self.now + demand.back, partial(self._land, flight, windows, all(verdicts)))

    def _land(self, flight: Flight, windows: dict[Measure, RateWindow], accepted: bool) -> None:
        fault = None if accepted else TOO_MUCH
        self.gate.land(flight, self.now, windows, fault, None, success=accepted)


def most_in_a_window(arrivals: list[tuple[float, int]], window: float) -> int:
    """The largest sum of amounts in any half-open window of that length."""
    most = total = first = 0
    for when, amount in arrivals:
        total += amount
        # A hair inside, since the length of a window is only known to a rounding.
        while arrivals[first][0] <= when - window * (1 - 1e-9):
            total -= arrivals[first][1]
            first += 1
        most = max(most, total)
    return most


delays = st.floats(0, 0.5) | st.floats(0, 100)
demands = st.lists(
    st.builds(Demand, st.integers(0, 60), delays, delays), min_size=1, max_size=120
)
limits = st.integers(1, 50)
phases = st.floats(0, 60)


@settings(max_examples=300, deadline=None)
@given(demands, limits, phases, st.integers(1, 64), st.booleans())
def test_no_window_ever_holds_more_than_the_limit_whatever_the_latencies(
    wanted: list[Demand], limit: int, phase: float, places: int, bucket: bool
) -> None:
    server: Server = Bucket(limit) if bucket else FixedWindow(limit, phase=phase)
    simulation = Simulation(Gate(places), {"requests": server})
    simulation.run(wanted)
    assert len(simulation.arrivals) == len(wanted)
    assert server.refused == 0
    counted = [(when, 1) for when, _ in simulation.arrivals]
    assert most_in_a_window(counted, 60.0) <= limit


@settings(max_examples=300, deadline=None)
@given(demands, st.integers(60, 400), phases, st.integers(1, 64), st.booleans())
def test_tokens_are_held_to_their_limit_in_the_same_way(
    wanted: list[Demand], limit: int, phase: float, places: int, bucket: bool
) -> None:
    server: Server = Bucket(limit) if bucket else FixedWindow(limit, phase=phase)
    simulation = Simulation(Gate(places), {"tokens": server})
    simulation.run(wanted)
    assert len(simulation.arrivals) == len(wanted)
    assert server.refused == 0
    assert most_in_a_window(simulation.arrivals, 60.0) <= limit


@settings(max_examples=100, deadline=None)
@given(demands, limits, st.integers(1, 100), st.floats(0.1, 300))
def test_everyone_gets_through_in_the_end_though_a_request_be_above_the_whole_limit(
    wanted: list[Demand], requests: int, tokens: int, window: float
) -> None:
    servers: dict[Measure, Server] = {
        "requests": FixedWindow(requests, window, stated=True),
        "tokens": Bucket(tokens, window, stated=True),
    }
    simulation = Simulation(Gate(64), servers)
    simulation.run(wanted)
    assert len(simulation.arrivals) == len(wanted)


def steady(count: int, *, latency: float, tokens: int = 1) -> list[Demand]:
    return [Demand(tokens, latency / 2, latency / 2)] * count


SERVERS = {
    "a fixed window": lambda limit: FixedWindow(limit, phase=13.0),
    "a bucket of a minute": Bucket,
    "a bucket of half a second": lambda limit: Bucket(limit, capacity=limit / 120),
}


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize("latency", [0.05, 0.9])
def test_nearly_all_that_is_allowed_is_used(
    server: Callable[[int], Server], latency: float
) -> None:
    kept = server(600)
    simulation = Simulation(Gate(64), {"requests": kept})
    simulation.run(steady(3000, latency=latency))
    seconds = simulation.sent_at[-1] - simulation.sent_at[0]
    assert kept.refused == 0
    assert 3000 / seconds >= 0.93 * 10


def test_nearly_all_tokens_that_are_allowed_are_used() -> None:
    server = Bucket(60_000)
    simulation = Simulation(Gate(64), {"tokens": server})
    simulation.run(steady(500, latency=0.5, tokens=900))
    seconds = simulation.sent_at[-1] - simulation.sent_at[0]
    assert server.refused == 0
    assert 499 * 900 / seconds >= 0.93 * 1000


def test_sends_are_spread_so_that_no_whole_second_goes_over_its_share() -> None:
    simulation = Simulation(Gate(64), {"requests": Bucket(600)})
    simulation.run(steady(300, latency=0.05))
    assert most_in_a_window(simulation.arrivals, 1.0) <= 10


def test_one_request_goes_alone_until_the_first_answer() -> None:
    gate = Gate(64)
    gate.send(1, 0, 0.0)
    assert gate.ready_at(1, 0, 0.0) == math.inf


def answered(gate: Gate, flights: list[Flight], now: float, fault: Fault | None = None) -> None:
    for flight in flights:
        gate.land(flight, now, {}, fault, None, success=fault is None)


def filled(gate: Gate, now: float) -> list[Flight]:
    """Send all that may go now."""
    flights = []
    while gate.ready_at(1, 0, now) <= now:
        flights.append(gate.send(1, 0, now))
    return flights


def test_places_double_each_round_trip_then_halve_once_a_round_trip_then_grow_by_one() -> None:
    gate, now = Gate(100), 0.0
    places = []
    for _ in range(6):
        flights = filled(gate, now)
        places.append(len(flights))
        now += 1
        answered(gate, flights, now)
    assert places == [1, 2, 4, 8, 16, 32]
    flights = filled(gate, now)
    answered(gate, flights, now + 1, TOO_MUCH)
    assert gate.concurrency.places == 32
    assert gate.rate_limited == 64
    for later in (2, 3):
        flights = filled(gate, now + later)
        answered(gate, flights, now + later + 0.5)
    assert gate.concurrency.places in (33, 34)


def test_places_never_pass_the_setting() -> None:
    gate = Gate(5)
    for now in range(10):
        flights = filled(gate, now)
        answered(gate, flights, now + 0.5)
    assert gate.concurrency.places == 5


def test_a_wait_the_server_asks_for_holds_everyone() -> None:
    gate = Gate(5)
    flight = gate.send(1, 0, 0.0)
    answered(gate, [flight], 1.0, Fault("rate_limited", "busy", retry_after=30.0))
    assert gate.ready_at(1, 0, 1.0) == 31.0


@pytest.mark.parametrize("fault", [None, TOO_MUCH])
def test_nothing_goes_while_nothing_is_left_before_the_reset(fault: Fault | None) -> None:
    gate = Gate(5)
    flight = gate.send(1, 0, 0.0)
    seen = RateWindow(100, 0, 40.0)
    gate.land(flight, 1.0, {"requests": seen}, fault, None, success=fault is None)
    assert gate.ready_at(1, 0, 2.0) == 41.0


def test_an_answer_s_remaining_does_not_count_what_was_still_on_its_way() -> None:
    pace = Pace()
    early, late = pace.send(1, 0.0), pace.send(1, 0.0)
    pace.land(late, 1, 1.0, RateWindow(100, 1, 50.0))
    assert pace.left(1.0) == 0
    pace.land(early, 1, 2.0, RateWindow(100, 1, 49.0))
    assert pace.left(2.0) == 0


def test_what_a_request_really_took_corrects_its_estimate() -> None:
    gate = Gate(5)
    flight = gate.send(1000, 0, 0.0)
    gate.land(flight, 0.0, {"tokens": RateWindow(1000)}, None, (100, 0), success=True)
    # Spaced for the 100 it took, and counted so: 900 are left in the window, not none.
    assert gate.ready_at(900, 0, 0.0) < 7
    assert gate.ready_at(901, 0, 0.0) == 60.0


def test_output_tokens_are_counted_where_the_server_limits_them() -> None:
    gate = Gate(5)
    flight = gate.send(10, 5, 0.0)
    seen: dict[Measure, RateWindow] = {"output_tokens": RateWindow(10)}
    gate.land(flight, 0.0, seen, None, None, success=True)
    assert gate.ready_at(10_000, 5, 0.0) < 31
    assert gate.ready_at(1, 6, 0.0) == 60.0


def test_a_day_s_quota_under_a_minute_s_header_is_known_by_its_refill() -> None:
    server = Bucket(14_400, 86_400.0)
    simulation = Simulation(Gate(8), {"requests": server})
    simulation.run(steady(40, latency=0.2))
    pace = simulation.gate.paces["requests"]
    assert pace.window == pytest.approx(86_400, rel=0.05)
    # A quota is there to be used up: nothing spreads it over the day.
    assert simulation.sent_at[-1] - simulation.sent_at[0] < 10


def test_a_fixed_window_is_not_taken_for_a_slow_bucket() -> None:
    simulation = Simulation(Gate(8), {"requests": FixedWindow(600, phase=1.0)})
    simulation.run(steady(2000, latency=0.2))
    assert simulation.gate.paces["requests"].window == pytest.approx(60.0, abs=0.1)


def test_the_account_of_a_window_stays_small() -> None:
    pace = Pace()
    for i in range(20_000):
        pace.land(pace.send(1, i / 1000), 1, i / 1000, None)
    assert len(pace._cells) < 600  # noqa: SLF001 - memory shows nowhere else


# --- with threads ---------------------------------------------------------------------------


def test_a_stop_wakes_all_that_wait_and_refuses_all_that_come() -> None:
    limiter, stop = Limiter(), threading.Event()
    ended: list[type[BaseException]] = []

    def ask() -> None:
        try:
            with limiter.slot(1, stopped=stop.is_set):
                ended.append(AssertionError)
        except Stopped as error:
            ended.append(type(error))

    with limiter.slot(1):
        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        while limiter.snapshot().waiting < 20:
            time.sleep(0.001)
        stop.set()
        limiter.wake()
        for thread in threads:
            thread.join(timeout=10)
    assert ended == [Stopped] * 20
    with pytest.raises(Stopped), limiter.slot(1, stopped=stop.is_set):
        pass
    with limiter.slot(1):
        """What nobody stopped goes on."""


def test_a_slot_left_by_an_exception_gives_its_place_back_and_teaches_nothing() -> None:
    limiter = Limiter()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), limiter.slot(1):
            raise ZeroDivisionError
    assert (limiter.snapshot().in_flight, limiter.snapshot().concurrency) == (0, 1)


def test_a_quota_used_up_for_hours_is_an_error_not_a_silent_wait() -> None:
    limiter = Limiter(longest_wait=60)
    headers = {
        "x-ratelimit-limit-requests": "50",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "5h",
    }
    with limiter.slot(1) as slot:
        slot.finished(headers, None)
    with pytest.raises(CallFailed, match=r"rate limit is used up.* Mend: "), limiter.slot(1):
        pass


def test_a_limiter_of_no_places_is_refused() -> None:
    with pytest.raises(InputError, match="max_concurrency is 0"):
        Limiter(max_concurrency=0)


def test_a_snapshot_tells_what_is_known_and_who_waits() -> None:
    now = 0.0
    limiter = Limiter(clock=lambda: now)
    with limiter.slot(1) as slot:
        assert limiter.snapshot().in_flight == 1
        slot.finished(
            {
                "x-ratelimit-limit-requests": "60",
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-reset-requests": "1s",
            },
            None,
        )
    shot = limiter.snapshot()
    assert (shot.concurrency, shot.in_flight, shot.waiting, shot.next_in) == (2, 0, 0, None)
    known = shot.windows["requests"]
    assert (known.limit, known.window_seconds, known.left) == (60, 60.0, 59)


class Handler(http.server.BaseHTTPRequestHandler):
    """Counts on the server's side, after a delay, and answers after another."""

    protocol_version = "HTTP/1.1"
    server: LimitedServer

    def do_GET(self) -> None:
        time.sleep(random.uniform(0, self.server.delay))
        with self.server.lock:
            now = time.monotonic()
            self.server.arrivals.append((now, 1))
            accepted = self.server.rate.arrive(1, now)
            seen = self.server.rate.state(now)
        time.sleep(random.uniform(0, self.server.delay))
        self.send_response(200 if accepted else 429)
        for name, value in self.server.words(seen).items():
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


class LimitedServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, rate: Server, delay: float, words: Callable[[RateWindow], dict[str, str]]
    ) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.rate, self.delay, self.words = rate, delay, words
        self.lock = threading.Lock()
        self.arrivals: list[tuple[float, int]] = []


def openai_words(seen: RateWindow) -> dict[str, str]:
    return {
        "x-ratelimit-limit-requests": str(seen.limit),
        "x-ratelimit-remaining-requests": str(seen.remaining),
        "x-ratelimit-reset-requests": f"{(seen.reset_seconds or 0) * 1000:.0f}ms",
    }


def draft_words(seen: RateWindow) -> dict[str, str]:
    return {
        "ratelimit-limit": f"{seen.limit}, {seen.limit};w={seen.window_seconds}",
        "ratelimit-remaining": str(seen.remaining),
        "ratelimit-reset": str(seen.reset_seconds),
    }


@contextmanager
def serving(server: LimitedServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def load(server: LimitedServer, limiter: Limiter, threads: int, seconds: float) -> None:
    """Every thread asks again and again until it is stopped."""
    stop = threading.Event()

    def ask() -> None:
        host, port = server.server_address[:2]
        connection = http.client.HTTPConnection(str(host), port, timeout=30)
        try:
            while True:
                with limiter.slot(1, stopped=stop.is_set) as slot:
                    connection.request("GET", "/")
                    response = connection.getresponse()
                    response.read()
                    fault = None if response.status == 200 else TOO_MUCH
                    slot.finished(dict(response.getheaders()), fault)
        except Stopped:
            return
        finally:
            connection.close()

    workers = [threading.Thread(target=ask) for _ in range(threads)]
    for worker in workers:
        worker.start()
    time.sleep(seconds)
    stop.set()
    limiter.wake()
    for worker in workers:
        worker.join(timeout=30)
    assert not any(worker.is_alive() for worker in workers)


def test_64_threads_keep_a_real_server_s_rate_and_use_nearly_all_of_it() -> None:
    rate = Bucket(600, capacity=3)
    server = LimitedServer(rate, delay=0.02, words=openai_words)
    limiter = Limiter()
    with serving(server):
        load(server, limiter, threads=64, seconds=6.0)
    first, last = server.arrivals[0][0], server.arrivals[-1][0]
    assert rate.refused == 0
    assert limiter.snapshot().rate_limited == 0
    assert last - first > 5
    assert len(server.arrivals) - 1 >= 0.85 * 10 * (last - first)
    for window in (1.0, 2.0, 5.0):
        assert most_in_a_window(server.arrivals, window) <= 10 * window + 1


def test_256_threads_keep_a_real_server_s_fixed_window_and_use_nearly_all_of_it() -> None:
    rate = FixedWindow(200, window=1.0, phase=0.4, stated=True)
    server = LimitedServer(rate, delay=0.01, words=draft_words)
    limiter = Limiter()
    with serving(server):
        load(server, limiter, threads=256, seconds=5.0)
    first, last = server.arrivals[0][0], server.arrivals[-1][0]
    assert rate.refused == 0
    assert most_in_a_window(server.arrivals, 1.0) <= 200
    assert len(server.arrivals) >= 0.85 * 200 * (last - first)
