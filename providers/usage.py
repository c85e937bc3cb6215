"""The one account of what was spent, and the one place where a budget stops a run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from elicit.cache.errors import ElicitError, InputError
from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Identity,
    Provider,
    ScoreRequest,
    Scoring,
    Usage,
)


class BudgetReached(ElicitError):
    """The run stopped where the user said it should. Everything paid for is kept."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one call of elicit may spend; None leaves a thing unbounded."""

    cost_usd: float | None = None
    calls: int | None = None
    """Requests sent to a server, those that fail included."""
    tokens: int | None = None
    """Tokens read or written, from a prompt cache or not."""


class Account:
    """A budget with bounds. Threads may share it.

    What is set aside counts as spent until it is settled, so however many requests are in
    flight, no bound is passed by more than a server's bill exceeds what was expected of it.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._spent = Usage()
        self._aside = Usage()
        self._settled = threading.Condition()

    def reserve(self, expected: Usage, *, wait: bool = False) -> None:
        limits = self.limits
        if limits.cost_usd is not None and expected.unpriced_calls:
            raise InputError(
                "--max-cost: the price of this model is unknown. Give it in a file named by "
                "ELICIT_PRICES (see the documentation of prices), or bound the run by "
                "--max-requests or --max-tokens-spent."
            )
        with self._settled:
            while True:
                reached = _reached(self._spent + self._aside, expected, limits)
                if reached is None:
                    self._aside += expected
                    return
                alone = _reached(self._spent, expected, limits)
                if alone is not None or not wait:
                    raise BudgetReached(f"{alone or reached} All that was paid for is kept.")
                self._settled.wait()

    @property
    def spent(self) -> Usage:
        """What was settled so far."""
        with self._settled:
            return self._spent

    def settle(self, expected: Usage, actual: Usage) -> None:
        with self._settled:
            self._aside -= expected
            self._spent += actual
            self._settled.notify_all()


def _reached(spent: Usage, more: Usage, limits: Limits) -> str | None:
    """Which bound a step would pass, in words; None if none."""
    for what, form, before, step, most in (
        ("US dollars", ".6f", spent.cost_usd, more.cost_usd, limits.cost_usd),
        ("requests", ",", spent.calls, more.calls, limits.calls),
        ("tokens", ",", spent.spent_tokens, more.spent_tokens, limits.tokens),
    ):
        used, next_step = before or 0, step or 0
        if most is not None and next_step > 0 and used + next_step > most:
            return (
                f"budget reached: {used:{form}} of {most:{form}} {what} spent or under way, "
                f"and the next step takes {next_step:{form}}."
            )
    return None


class Meter:
    """Counts what passes through a provider and puts a budget to it."""

    def __init__(
        self,
        provider: Provider,
        budget: Budget = UNBOUNDED,
        on_usage: Callable[[Usage], None] = lambda _: None,
        used: Usage | None = None,
    ) -> None:
        """`on_usage` is told what was used so far, after each unit, `used` before any."""
        self._provider = provider
        self._budget = budget
        self._on_usage = on_usage
        self.usage = used or Usage()

    @property
    def name(self) -> str:
        return self._provider.name

    @property
    def identity(self) -> Identity:
        return self._provider.identity

    @property
    def capabilities(self) -> Capabilities:
        return self._provider.capabilities

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        return self._provider.count_tokens(requests)

    def close(self) -> None:
        self._provider.close()

    def score(self, requests: Sequence[ScoreRequest], budget: Budget | None = None) -> Scoring:
        with closing(self._provider.score(requests, budget or self._budget)) as units:
            for unit in units:
                self.usage += unit.usage
                self._on_usage(self.usage)
                yield unit
