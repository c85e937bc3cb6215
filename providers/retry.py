"""The one retry policy of hosted models: what is tried again, when, and for how long.

An adapter makes a `Fault` of its SDK's exception; nothing else here knows an SDK. Whatever
an adapter does not classify is a bug and passes through as it is. What money or a changed
request would mend is never tried again.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tenacity import RetryCallState, Retrying
from tenacity.retry import retry_if_result

from elicit.cache.errors import ElicitError, InputError
from elicit.providers.base import ModelError, ProviderError
from elicit.providers.faults import Fault, fault_of_status
from elicit.providers.rate_headers import retry_after

__all__ = [
    "CallFailed",
    "Fault",
    "RetryPolicy",
    "Stopped",
    "fault_of_status",
    "retry_after",
    "retrying",
]

T = TypeVar("T")
_log = logging.getLogger(__name__)

_LOOK = 0.25
"""Longest sleep in seconds between two looks at `stopped`."""


class CallFailed(ProviderError):
    """A call was given up. The text says what failed, how often it was tried, and the mend."""


class Rejected(ModelError):
    """The server refuses the request for what the user's own input says: a model, a key."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Stopped(ElicitError):
    """The caller asked to stop, and what was waiting gave way."""

    exit_code = 130


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter: wait n is uniform in [0, first_wait · 2ⁿ⁻¹].

    Raises:
        InputError: a field that could not bound the loop.
    """

    attempts: int = 8
    """Tries in all, the first included."""
    first_wait: float = 0.5
    """Seconds: longest wait after the first try."""
    longest_wait: float = 30.0
    """Seconds: no wait is longer, except where the server asks for one."""
    total: float = 300.0
    """Seconds of waiting in all. Time that the calls themselves take does not count."""

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InputError(f"retry attempts is {self.attempts}: at least 1, the first try")
        for name in ("first_wait", "longest_wait", "total"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"retry {name} is {getattr(self, name)}: seconds from 0 up")


@dataclass(frozen=True, slots=True)
class _Answer(Generic[T]):
    value: T


def retrying(
    send: Callable[[], T],
    classify: Callable[[Exception], Fault | None],
    policy: RetryPolicy,
    *,
    stopped: Callable[[], bool],
    sleep: Callable[[float], object] = time.sleep,
    on_fault: Callable[[Fault, int, float], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    uniform: Callable[[float, float], float] = random.uniform,
) -> T:
    """Call `send` until it answers, a fault is permanent, or the policy is used up.

    Args:
        classify: the fault an exception stands for; None for a bug, which passes through.
        stopped: asked before each try and during waits, at least every 0.25 s.
        sleep: waits so many seconds, or less. The `wait` of the `threading.Event` behind
            `stopped` ends a wait at once.
        on_fault: told `(fault, number of the try, seconds until the next)` before each wait.
        clock: seconds, for the time told in errors.
        uniform: draws the jitter.

    Raises:
        CallFailed: a permanent fault, or no tries or no time left. An SDK's exception is
            never chained to it, since its text may show part of a key.
        Rejected: a permanent fault with `bad_input`.
        Stopped: `stopped` said so.
    """
    began = clock()

    def attempt() -> _Answer[T] | Fault:
        if stopped():
            raise Stopped("stopped between tries")
        try:
            return _Answer(send())
        except Exception as error:
            fault = classify(error)
            if fault is None:
                raise
            _log.debug("%s: %s", type(error).__name__, fault.message)
            return fault

    def waited_for(state: RetryCallState) -> float:
        return _wait(_fault(state), state.attempt_number, _left(state, policy), policy, uniform)

    def given_up(state: RetryCallState) -> bool:
        left = _left(state, policy)
        asked = _fault(state).retry_after or 0.0
        return state.attempt_number >= policy.attempts or left <= 0 or asked > left

    def told(state: RetryCallState) -> None:
        if on_fault is not None:
            on_fault(_fault(state), state.attempt_number, state.upcoming_sleep)

    def used_up(state: RetryCallState) -> None:
        raise _used_up(_fault(state), state, policy, clock() - began)

    def nap(seconds: float) -> None:
        while seconds > 0:
            if stopped():
                raise Stopped("stopped while waiting to try again")
            step = min(seconds, _LOOK)
            sleep(step)
            seconds -= step

    outcome = Retrying(
        retry=retry_if_result(lambda o: isinstance(o, Fault) and o.kind != "permanent"),
        wait=waited_for,
        stop=given_up,
        before_sleep=told,
        retry_error_callback=used_up,
        sleep=nap,
    )(attempt)
    if isinstance(outcome, _Answer):
        return outcome.value
    text = _sentence(f"{outcome.message}{_where(outcome)}", outcome.hint)
    raise Rejected(text, outcome.status) if outcome.bad_input else CallFailed(text)


def _fault(state: RetryCallState) -> Fault:
    fault = state.outcome.result() if state.outcome is not None else None
    if not isinstance(fault, Fault):
        raise TypeError(f"a try that did not fail can't be tried again: {fault!r}")
    return fault


def _left(state: RetryCallState, policy: RetryPolicy) -> float:
    return policy.total - state.idle_for


def _wait(
    fault: Fault,
    attempt: int,
    left: float,
    policy: RetryPolicy,
    uniform: Callable[[float, float], float],
) -> float:
    # Beyond 2^60 the bound is the longest wait in any case, and a float could overflow.
    bound = min(policy.longest_wait, policy.first_wait * 2.0 ** min(attempt - 1, 60))
    wait = uniform(0.0, bound)
    if fault.retry_after is not None:
        # Many callers are told the same moment; a little jitter keeps them from meeting there.
        asked = fault.retry_after
        wait = max(wait, asked + uniform(0.0, min(1.0, 0.1 * asked)))
    return min(wait, max(left, 0.0))


def _used_up(
    fault: Fault, state: RetryCallState, policy: RetryPolicy, seconds: float
) -> CallFailed:
    left = _left(state, policy)
    tries = "once" if state.attempt_number == 1 else f"{state.attempt_number} times"
    text = f"{fault.message}{_where(fault)}; tried {tries} over {seconds:,.1f} s"
    if (fault.retry_after or 0.0) > left:
        text += (
            f"; the server asks for a wait of {fault.retry_after:,.0f} s, and {left:,.0f} s "
            f"of the {policy.total:,.0f} s allowed for waiting are left"
        )
    return CallFailed(_sentence(text, fault.hint or "try again later"))


def _where(fault: Fault) -> str:
    known = [] if fault.status is None else [f"HTTP {fault.status}"]
    known += [] if fault.request_id is None else [f"request {fault.request_id}"]
    return f" ({', '.join(known)})" if known else ""


def _sentence(text: str, hint: str) -> str:
    return f"{text}. Mend: {hint}" if hint else text
