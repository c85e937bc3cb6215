"""What all hosted models have in common: order, stops, budgets, and nothing paid for lost."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elicit.cache.store import ScoreRow, ScoreStore
from elicit.providers.base import (
    Capabilities,
    Identity,
    LabelScores,
    ScoreRequest,
    Scoring,
    Segment,
    Usage,
)
from elicit.providers.cached import CachedProvider
from elicit.providers.faults import Fault
from elicit.providers.hosted import Call, HostedProvider, Reply, Unanswered
from elicit.providers.limits import Limiter
from elicit.providers.retry import CallFailed, RetryPolicy
from elicit.providers.usage import Account, BudgetReached, Limits, Meter

AT_ONCE = RetryPolicy(first_wait=0.0)
ONE_CALL = Usage(requests=1, forwarded_tokens=10, prompt_tokens=9, calls=1, output_tokens=1)


class Flaw(Exception):
    """A failure of the server, of the kind it says."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


@dataclass
class Fake:
    """A wire whose every call is answered, or fails, as `react(text, tries so far)` says."""

    react: Callable[[str, int], None] = lambda _text, _tries: None
    declined: frozenset[str] = frozenset()
    sent: list[str] = field(default_factory=list)
    tries: dict[str, int] = field(default_factory=dict)
    billed: Usage = field(default_factory=lambda: Usage(calls=1))
    """What a call that fails takes."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    identity: Identity = field(default_factory=lambda: Identity("test", "fake"))
    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities("top_k", None, deterministic=False)
    )

    def calls(self, requests: Sequence[ScoreRequest]) -> list[Call]:
        def call(index: int, request: ScoreRequest) -> Call:
            *shared, item = request.prompt
            prefix = b"".join(segment.digest for segment in shared) or None
            return Call(ONE_CALL, lambda: self.answer(index, item.text), prefix)

        return [call(index, request) for index, request in enumerate(requests)]

    def answer(self, index: int, text: str) -> Reply:
        with self.lock:
            self.sent.append(text)
            tries = self.tries.get(text, 0)
            self.tries[text] = tries + 1
        self.react(text, tries)
        if text in self.declined:
            return Reply((), ONE_CALL, unanswered=((index, f"{text!r}: declined"),))
        return Reply(((index, LabelScores((-0.5, -1.0))),), ONE_CALL)

    def classify(self, error: Exception) -> Fault | None:
        return error.fault if isinstance(error, Flaw) else None

    def headers(self, _error: Exception) -> Mapping[str, str] | None:
        return None

    def spent(self, error: Exception) -> Usage:
        return self.billed if isinstance(error, Flaw) else Usage(calls=1)

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int]:
        return [10] * len(requests)

    def close(self) -> None: ...


def provider(wire: Fake, at_once: int = 16) -> HostedProvider:
    return HostedProvider("fake:model", wire, Limiter(max_concurrency=at_once), AT_ONCE)


def requests(n: int, context: str = "") -> list[ScoreRequest]:
    shown = (Segment.of(context),) if context else ()
    return [ScoreRequest((*shown, Segment.of(f"item {i}")), ("yes", "no")) for i in range(n)]


def collect(units: Scoring, found: list[int]) -> None:
    for unit in units:
        found += [i for i, _ in unit.scores]


def search(units: Scoring, ends_at: int) -> None:
    """Take so many units, then be interrupted."""
    with closing(units):
        for number, _unit in enumerate(units):
            if number == ends_at:
                raise KeyboardInterrupt


def failing(kind: str, times: int = 1, **facts: bool) -> Callable[[str, int], None]:
    def react(_text: str, tries: int) -> None:
        if tries < times:
            assert kind in ("transient", "rate_limited", "permanent")
            raise Flaw(Fault(kind, "out of order", **facts))  # type: ignore[arg-type]  # one of the kinds, as asserted

    return react


@settings(max_examples=25, deadline=None)
@given(n=st.integers(0, 60), at_once=st.integers(1, 20), flaws=st.integers(0, 3))
def test_every_request_is_answered_once_whatever_fails_on_the_way(
    n: int, at_once: int, flaws: int
) -> None:
    wire = Fake(failing("transient", flaws))
    meter = Meter(provider(wire, at_once))
    found = [i for unit in meter.score(requests(n)) for i, _ in unit.scores]
    assert sorted(found) == list(range(n))
    assert meter.usage.requests == n
    assert meter.usage.calls == len(wire.sent) == n * (flaws + 1)


def test_a_server_that_never_recovers_is_given_up_and_what_it_answered_is_kept() -> None:
    def react(text: str, _tries: int) -> None:
        if text == "item 7":
            raise Flaw(Fault("transient", "no luck"))

    wire = Fake(react)
    meter = Meter(provider(wire, at_once=1))
    found: list[int] = []
    with pytest.raises(CallFailed, match="no luck"):
        collect(meter.score(requests(20)), found)
    assert found == list(range(7))
    assert meter.usage.calls == len(wire.sent) == 7 + AT_ONCE.attempts


def test_what_no_repeat_would_mend_is_not_repeated() -> None:
    wire = Fake(failing("permanent"))
    with pytest.raises(CallFailed, match="out of order"):
        list(provider(wire, at_once=1).score(requests(5)))
    assert wire.sent == ["item 0"]


def test_a_bug_is_not_taken_for_a_fault_of_the_server() -> None:
    def react(_text: str, _tries: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(provider(Fake(react)).score(requests(3)))


def test_prompts_that_the_model_declines_are_named_once_all_others_are_answered() -> None:
    wire = Fake(declined=frozenset({"item 2", "item 4"}))
    found: list[int] = []
    with pytest.raises(Unanswered, match=r"2 of 6 prompts: 'item [24]': declined") as told:
        collect(provider(wire).score(requests(6)), found)
    assert sorted(found) == [0, 1, 3, 5]
    assert "is kept" in str(told.value)


@pytest.mark.parametrize("at_once", [1, 16])
def test_a_budget_in_requests_is_never_passed_and_all_that_it_paid_arrives(
    at_once: int,
) -> None:
    wire = Fake(lambda _text, _tries: time.sleep(0.002))
    bounded = Account(Limits(calls=30, tokens=10_000))
    found: list[int] = []
    with pytest.raises(BudgetReached):
        collect(provider(wire, at_once).score(requests(100), bounded), found)
    assert len(wire.sent) == len(found) == 30


def test_tries_that_fail_count_against_the_budget_too() -> None:
    wire = Fake(failing("transient"))
    with pytest.raises(BudgetReached):
        list(provider(wire, at_once=1).score(requests(10), Account(Limits(calls=5))))
    assert len(wire.sent) == 5


def test_the_first_of_a_prefix_goes_alone_and_prefixes_go_side_by_side() -> None:
    at_work: dict[str, set[str]] = {"a": set(), "b": set()}
    seen: list[tuple[int, int]] = []
    lock = threading.Lock()
    done: set[str] = set()

    def react(text: str, _tries: int) -> None:
        name = text[0]
        with lock:
            at_work[name].add(text)
            seen.append((len(at_work["a"]), len(at_work["b"])))
            assert name in done or len(at_work[name]) == 1, "sent before the first came back"
        time.sleep(0.01)
        with lock:
            at_work[name].discard(text)
            done.add(name)

    class Named(Fake):
        def calls(self, requests: Sequence[ScoreRequest]) -> list[Call]:
            return [
                Call(
                    ONE_CALL,
                    lambda i=i, t=r.prompt[-1].text: self.answer(i, t),  # type: ignore[misc]  # mypy can't type a lambda's defaults
                    r.prompt[-1].text[:1].encode(),
                )
                for i, r in enumerate(requests)
            ]

    asked = [
        ScoreRequest((Segment.of(f"{name}{i}"),), ("yes", "no"))
        for name in "ab"
        for i in range(20)
    ]
    warm = provider(Named(), at_once=8)
    list(warm.score(requests(30)))  # the limiter begins with one request at once
    warm.wire = Named(react)
    assert len(list(warm.score(asked))) == 40
    assert max(a for a, _ in seen) > 1
    assert any(a and b for a, b in seen)


def test_an_interrupt_begins_nothing_more_and_keeps_what_was_in_flight() -> None:
    wire = Fake(lambda _text, _tries: time.sleep(0.05))
    before = threading.active_count()
    threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGINT)).start()
    found: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        collect(provider(wire, at_once=4).score(requests(500)), found)
    assert 0 < len(found) == len(wire.sent) < 500
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_an_answer_of_no_use_is_on_the_bill_all_the_same() -> None:
    wire = Fake(failing("transient"), billed=ONE_CALL)
    account = Account(Limits(tokens=100))
    meter = Meter(provider(wire, at_once=1), account)
    with pytest.raises(BudgetReached, match="100 of 100 tokens"):
        collect(meter.score(requests(10)), [])
    assert len(wire.sent) == 10
    assert meter.usage.forwarded_tokens == 100


def test_what_others_set_aside_is_waited_for_and_not_taken_for_spent() -> None:
    """Ten tokens are set aside for each call, and one is taken."""

    class Cheap(Fake):
        def answer(self, index: int, text: str) -> Reply:
            time.sleep(0.002)
            return replace(
                super().answer(index, text), usage=Usage(calls=1, forwarded_tokens=1)
            )

    found: list[int] = []
    collect(provider(Cheap(), 16).score(requests(85), Account(Limits(tokens=100))), found)
    assert len(found) == 85


@pytest.mark.parametrize("at", ["in the store", "in the search"])
def test_wherever_an_interrupt_comes_what_is_under_way_is_kept(tmp_path: Path, at: str) -> None:
    wire = Fake(lambda _text, _tries: time.sleep(0.02))
    warm = provider(wire, at_once=8)
    list(warm.score(requests(20)))
    wire.sent.clear()
    with ScoreStore(tmp_path / "s.db") as store:
        asked = CachedProvider(warm, store)
        if at == "in the store":
            put, calls = store.put, iter(range(100))

            def interrupted(rows: Sequence[ScoreRow]) -> int:
                if next(calls) == 20:
                    raise KeyboardInterrupt
                return put(rows)

            store.put = interrupted  # type: ignore[method-assign]  # an interrupt at that very place
        with pytest.raises(KeyboardInterrupt):
            search(asked.score(requests(200)), 20 if at == "in the search" else 200)
        assert 20 < len(wire.sent) < 200
        assert store.stats().scores == len(wire.sent)


def test_equal_prompts_are_asked_once(tmp_path: Path) -> None:
    wire = Fake()
    with ScoreStore(tmp_path / "s.db") as store:
        found: list[int] = []
        collect(CachedProvider(provider(wire), store).score(requests(3) * 2), found)
    assert sorted(found) == [0, 1, 2, 3, 4, 5]
    assert len(wire.sent) == 3
