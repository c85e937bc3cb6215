"""The one account of what was spent, and the one place where a budget stops a run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from elicit.cache.errors import ElicitError, InputError
from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Identity,
    Provider,
    ScoredUnit,
    ScoreRequest,
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
        self._taken = Usage()
        self._lock = threading.Lock()

    def reserve(self, expected: Usage) -> None:
        limits = self.limits
        if limits.cost_usd is not None and expected.unpriced_calls:
            raise InputError(
                "--max-cost: the price of this model is unknown. Give it in a file named by "
                "ELICIT_PRICES (see the documentation of prices), or bound the run by "
                "--max-requests or --max-tokens-spent."
            )
        with self._lock:
            after = self._taken + expected
            _check("US dollars", self._taken.cost_usd, after.cost_usd, limits.cost_usd)
            _check("requests", self._taken.calls, after.calls, limits.calls)
            _check("tokens", self._taken.spent_tokens, after.spent_tokens, limits.tokens)
            self._taken = after

    def settle(self, expected: Usage, actual: Usage) -> None:
        with self._lock:
            self._taken = self._taken - expected + actual


def _check(what: str, before: float | None, after: float | None, most: float | None) -> None:
    used, next_step = before or 0, (after or 0) - (before or 0)
    if most is not None and next_step > 0 and used + next_step > most:
        form = ".6f" if what == "US dollars" else ","
        raise BudgetReached(
            f"budget reached: {used:{form}} of {most:{form}} {what} spent or under way, and "
            f"the next step takes {next_step:{form}}. All that was paid for is kept."
        )


class Meter:
    """Counts what passes through a provider and puts a budget to it."""

    def __init__(
        self,
        provider: Provider,
        budget: Budget = UNBOUNDED,
        on_usage: Callable[[Usage], None] = lambda _: None,
    ) -> None:
        """`on_usage` is told what was used so far, after each unit."""
        self._provider = provider
        self._budget = budget
        self._on_usage = on_usage
        self.usage = Usage()

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

    def score(
        self, requests: Sequence[ScoreRequest], budget: Budget | None = None
    ) -> Iterator[ScoredUnit]:
        for unit in self._provider.score(requests, budget or self._budget):
            self.usage += unit.usage
            self._on_usage(self.usage)
            yield unit
