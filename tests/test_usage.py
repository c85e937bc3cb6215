"""A budget is asked before anything is spent, and is not passed however many ask at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elicit.cache.errors import InputError
from elicit.providers.base import Usage
from elicit.providers.usage import Account, BudgetReached, Limits

usages = st.builds(
    Usage,
    requests=st.integers(0, 9),
    forwarded_tokens=st.integers(0, 900),
    cached=st.integers(0, 9),
    cost_usd=st.none() | st.integers(0, 100).map(lambda cents: cents / 64),
    calls=st.integers(0, 9),
)


@given(usages, usages)
def test_what_is_added_and_taken_off_again_leaves_no_trace(one: Usage, other: Usage) -> None:
    back = one + other - other
    assert back == one or (one.cost_usd is None and back.cost_usd == 0.0)


def test_an_unknown_cost_stays_unknown_until_one_is_known() -> None:
    assert (Usage(calls=1) + Usage(calls=1)).cost_usd is None
    assert (Usage(calls=1) + Usage(cost_usd=0.5)).cost_usd == 0.5


@pytest.mark.parametrize(
    ("limits", "step", "told"),
    [
        (Limits(calls=3), Usage(calls=1), "requests"),
        (Limits(tokens=30), Usage(forwarded_tokens=6, cache_read_tokens=4), "tokens"),
        (Limits(cost_usd=0.75), Usage(cost_usd=0.25), "US dollars"),
    ],
)
def test_a_bound_may_be_reached_and_not_passed(limits: Limits, step: Usage, told: str) -> None:
    account = Account(limits)
    for _ in range(3):
        account.reserve(step)
    with pytest.raises(BudgetReached, match=told) as stopped:
        account.reserve(step)
    assert stopped.value.exit_code == 3


def test_what_a_step_did_not_use_can_be_spent_on_another() -> None:
    account = Account(Limits(tokens=10))
    account.reserve(Usage(forwarded_tokens=10))
    account.settle(Usage(forwarded_tokens=10), Usage(forwarded_tokens=4))
    account.reserve(Usage(forwarded_tokens=6))


def test_a_step_that_takes_nothing_is_never_held_up() -> None:
    account = Account(Limits(calls=0, tokens=0, cost_usd=0.0))
    account.reserve(Usage(cached=5))


def test_money_is_not_bounded_where_no_price_is_known() -> None:
    with pytest.raises(InputError, match="ELICIT_PRICES"):
        Account(Limits(cost_usd=1.0)).reserve(Usage(calls=1, unpriced_calls=1))


def test_many_at_once_do_not_pass_a_bound_together() -> None:
    account, begin = Account(Limits(calls=100)), threading.Barrier(16)

    def spend() -> int:
        begin.wait(timeout=10)
        done = 0
        try:
            while True:
                account.reserve(Usage(calls=1))
                account.settle(Usage(calls=1), Usage(calls=1))
                done += 1
        except BudgetReached:
            return done

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(lambda _: spend(), range(16))) == 100
