"""One policy decides what is tried again, when, and when a call is given up."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elicit.cache.errors import InputError
from elicit.providers.base import ModelError
from elicit.providers.retry import (
    CallFailed,
    Fault,
    RetryPolicy,
    Stopped,
    fault_of_status,
    retry_after,
    retrying,
)


class Refused(Exception):
    """An SDK's exception, holding what the adapter would make of it."""

    def __init__(self, fault: Fault | None) -> None:
        super().__init__("sk-secret in the SDK's own words")
        self.fault = fault


def fault_in(error: Exception) -> Fault | None:
    return error.fault if isinstance(error, Refused) else None


@dataclass
class Endpoint:
    """Raises the faults in turn, then answers."""

    faults: Iterator[Fault | None]
    tries: int = 0

    def __call__(self) -> str:
        self.tries += 1
        for fault in self.faults:
            raise Refused(fault)
        return "answer"


@dataclass
class Caller:
    """Runs the loop on a clock that only sleeping moves."""

    policy: RetryPolicy = field(default_factory=RetryPolicy)
    draw: Callable[[float, float], float] = max
    now: float = 0.0
    waits: list[float] = field(default_factory=list)
    stopped: Callable[[], bool] = lambda: False

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def note(self, _fault: Fault, _attempt: int, wait: float) -> None:
        self.waits.append(wait)

    def call(self, *faults: Fault | None) -> str:
        return retrying(
            Endpoint(iter(faults)),
            fault_in,
            self.policy,
            stopped=self.stopped,
            sleep=self.sleep,
            on_fault=self.note,
            clock=lambda: self.now,
            uniform=self.draw,
        )


DOWN = Fault("transient", "the server is down", status=503, request_id="req_1")


def busy(seconds: float) -> Fault:
    return Fault("rate_limited", "too many requests", retry_after=seconds, status=429)


def test_an_answer_is_returned_without_a_wait() -> None:
    caller = Caller()
    assert caller.call() == "answer"
    assert caller.waits == []


def test_waits_double_up_to_the_longest() -> None:
    caller = Caller(RetryPolicy(attempts=7, first_wait=1, longest_wait=10))
    assert caller.call(*[DOWN] * 6) == "answer"
    assert caller.waits == [1, 2, 4, 8, 10, 10]


def test_an_exception_that_nobody_classifies_is_a_bug_and_passes_through() -> None:
    with pytest.raises(Refused):
        Caller().call(None)


def test_a_used_up_policy_says_what_failed_how_often_and_over_how_long() -> None:
    caller = Caller(RetryPolicy(attempts=3, first_wait=1))
    with pytest.raises(CallFailed) as caught:
        caller.call(*[DOWN] * 3)
    assert str(caught.value) == (
        "the server is down (HTTP 503, request req_1); tried 3 times over 3.0 s. "
        "Mend: try again later"
    )
    assert caught.value.exit_code == 1


def test_the_sdk_s_words_are_in_no_error_since_they_may_hold_a_key() -> None:
    with pytest.raises(CallFailed) as caught:
        Caller(RetryPolicy(attempts=1)).call(DOWN)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_permanent_fault_is_tried_once() -> None:
    caller = Caller()
    with pytest.raises(CallFailed, match=r"no credit \(HTTP 429\)\. Mend: pay"):
        caller.call(Fault("permanent", "no credit", status=429, hint="pay"))
    assert caller.waits == []


def test_bad_input_is_the_users_to_mend() -> None:
    with pytest.raises(ModelError, match="no such model") as caught:
        Caller().call(Fault("permanent", "no such model", bad_input=True))
    assert caught.value.exit_code == 2


def test_a_wait_the_server_asks_for_is_kept_though_it_is_longer_than_the_longest() -> None:
    caller = Caller(RetryPolicy(first_wait=1, longest_wait=2), draw=min)
    caller.call(busy(100))
    assert caller.waits == [100]


def test_a_wait_longer_than_what_is_left_ends_the_call_at_once_and_says_so() -> None:
    caller = Caller(RetryPolicy(total=300))
    with pytest.raises(CallFailed, match=r"wait of 3,600 s, and 300 s of the 300 s allowed"):
        caller.call(busy(3600))
    assert caller.now == 0


def test_a_stop_ends_a_wait_at_once() -> None:
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        retrying(
            Endpoint(iter([busy(200)])),
            fault_in,
            RetryPolicy(),
            stopped=stop.is_set,
            sleep=stop.wait,
        )
    assert time.monotonic() - began < 5


def test_a_stop_ends_a_plain_sleep_soon() -> None:
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        retrying(Endpoint(iter([busy(200)])), fault_in, RetryPolicy(), stopped=stop.is_set)
    assert time.monotonic() - began < 5


def test_nothing_is_sent_once_stopped() -> None:
    endpoint = Endpoint(iter([]))
    with pytest.raises(Stopped):
        retrying(endpoint, fault_in, RetryPolicy(), stopped=lambda: True)
    assert endpoint.tries == 0


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"total": -1.0}, {"first_wait": float("nan")}]
)
def test_a_policy_that_bounds_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        RetryPolicy(**wrong)  # type: ignore[arg-type]  # the floats stand for any field


faults = st.builds(
    lambda wait: DOWN if wait is None else busy(wait),
    st.none() | st.floats(0, 100, allow_nan=False),
)
policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 12),
    first_wait=st.floats(0, 10),
    longest_wait=st.floats(0, 60),
    total=st.floats(0, 300),
)


@given(st.lists(faults, max_size=15), policies, st.randoms(use_true_random=False))
def test_waits_keep_the_policy_and_never_undercut_the_server(
    sequence: list[Fault], policy: RetryPolicy, rng: random.Random
) -> None:
    caller = Caller(policy, draw=rng.uniform)
    try:
        assert caller.call(*sequence) == "answer"
        assert len(caller.waits) == len(sequence) < policy.attempts
    except CallFailed:
        assert len(caller.waits) < min(policy.attempts, len(sequence))
    assert sum(caller.waits) <= policy.total + 1e-9
    for attempt, (wait, fault) in enumerate(zip(caller.waits, sequence, strict=False), 1):
        backoff = min(policy.longest_wait, policy.first_wait * 2 ** (attempt - 1))
        if fault.retry_after is None:
            assert 0 <= wait <= backoff
        else:
            asked = fault.retry_after
            assert asked - 1e-9 <= wait <= max(backoff, asked * 1.1)


# --- what a status says ---------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 504, 520, 599])
def test_a_passing_failure_is_tried_again(status: int) -> None:
    assert fault_of_status(status, None, None, "x", {}).kind == "transient"


@pytest.mark.parametrize("status", [429, 503, 529])
def test_too_much_is_tried_again_with_less_at_once(status: int) -> None:
    assert fault_of_status(status, "rate_limit_exceeded", None, "x", {}).kind == "rate_limited"


@pytest.mark.parametrize(
    ("status", "code", "type_"),
    [
        (429, "insufficient_quota", "insufficient_quota"),
        (429, "credit_balance_exhausted", None),
        (429, "billing_hard_limit_reached", None),
        (429, "enforced_spend_limit_reached", "rate_limit_error"),
        (400, None, "billing_error"),
        (402, None, None),
    ],
)
def test_what_money_mends_is_never_tried_again(
    status: int, code: str | None, type_: str | None
) -> None:
    fault = fault_of_status(status, code, type_, "x", {"retry-after": "1"})
    assert (fault.kind, fault.bad_input, fault.retry_after) == ("permanent", False, None)
    assert "billing page" in fault.hint


def test_a_low_balance_told_as_a_bad_request_is_a_matter_of_money() -> None:
    message = "Your credit balance is too low to access the API"
    fault = fault_of_status(400, None, "invalid_request_error", message, {})
    assert "billing page" in fault.hint
    assert not fault.bad_input


@pytest.mark.parametrize(
    ("status", "mend"),
    [(401, "key"), (403, "key"), (404, "model"), (400, "settings"), (422, "settings")],
)
def test_bad_input_is_never_tried_again(status: int, mend: str) -> None:
    fault = fault_of_status(status, None, None, "x", {})
    assert (fault.kind, fault.bad_input) == ("permanent", True)
    assert mend in fault.hint


@pytest.mark.parametrize(("status", "message"), [(413, "x"), (429, "Request too large for m")])
def test_a_request_larger_than_the_limit_is_never_tried_again(
    status: int, message: str
) -> None:
    fault = fault_of_status(status, "rate_limit_exceeded", "tokens", message, {})
    assert fault.kind == "permanent"
    assert "fewer demonstrations" in fault.hint


@pytest.mark.parametrize("status", [300, 418, 501, 505])
def test_any_other_status_is_permanent(status: int) -> None:
    assert fault_of_status(status, None, None, "x", {}).kind == "permanent"


def test_a_server_that_says_not_to_try_again_is_heard() -> None:
    assert (
        fault_of_status(503, None, None, "x", {"X-Should-Retry": "false"}).kind == "permanent"
    )


def test_a_fault_carries_the_request_s_id_and_the_wait() -> None:
    fault = fault_of_status(429, None, None, "x", {"Request-Id": "req_9", "Retry-After": "7"})
    assert (fault.request_id, fault.retry_after, fault.status) == ("req_9", 7.0, 429)


# --- Retry-After ----------------------------------------------------------------------------

DATE = "Wed, 25 Nov 2026 10:00:00 GMT"
LATER = "Wed, 25 Nov 2026 10:00:30 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"retry-after": "9", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "9", "retry-after-ms": "soon"}, 9.0),
        ({"retry-after": LATER, "date": DATE}, 30.0),
        ({"retry-after": DATE, "date": LATER}, 0.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "864000"}, 864000.0),
    ],
)
def test_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=0.0) == seconds


def test_without_a_server_s_date_the_local_clock_measures() -> None:
    assert retry_after({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, now=45.0) == 15.0


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_no_header_is_an_error(ms: str, seconds: str, date: str) -> None:
    found = retry_after({"retry-after-ms": ms, "retry-after": seconds, "date": date}, 0.0)
    assert found is None or found >= 0
