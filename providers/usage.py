"""The one account of what was spent, and the one place where a budget stops a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from elicit.cache.errors import ElicitError
from elicit.providers.base import (
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


class Meter:
    """Counts what passes through a provider, and stops before a budget is passed by a unit.

    `max_tokens` bounds the tokens forwarded through the model. The check stands between
    units, so the last unit may pass the bound by its own size.
    """

    def __init__(self, provider: Provider, *, max_tokens: int | None = None) -> None:
        self._provider = provider
        self._max_tokens = max_tokens
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

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[ScoredUnit]:
        answered = 0
        for unit in self._provider.score(requests):
            self.usage += unit.usage
            answered += len(unit.scores)
            yield unit
            # A call that is answered in full is never cut off: its caller has all it needs.
            if answered < len(requests):
                self.check()

    def check(self) -> None:
        """Raise `BudgetReached` once the tokens forwarded reach the bound."""
        spent = self.usage.forwarded_tokens
        if self._max_tokens is not None and spent >= self._max_tokens:
            raise BudgetReached(
                f"budget reached: {spent:,} tokens forwarded of {self._max_tokens:,} allowed"
            )
