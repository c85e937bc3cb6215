"""Asks hosted models: many calls at once, none past the budget, each answer as it comes.

An adapter (a `Wire`) turns requests into calls and replies into scores. All that hosted
models have in common is here: threads that take calls in order, a place and a rate for
each (`limits`), tries again (`retry`), the budget asked before every try, and a stop that
starts nothing new but waits for what is in flight, since that will be paid for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Identity,
    LabelScores,
    ProviderError,
    ScoredUnit,
    ScoreRequest,
    Usage,
)
from elicit.providers.crew import Crew, Order
from elicit.providers.faults import Fault
from elicit.providers.limits import Limiter
from elicit.providers.retry import RetryPolicy, Stopped, retrying

_log = logging.getLogger(__name__)

LONG_WAIT = 5.0
"""Seconds; longer waits for a server are told."""
SHOWN = 3
"""Unanswered prompts named in an error; the others are counted."""


class Unanswered(ProviderError):
    """The model declined some prompts. What it answered is kept, and nothing was made up."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a call.

    `scores` and `unanswered` name each request of the call once by its index: with its
    scores, or with the reason why there are none, in words that quote the item.
    """

    scores: tuple[tuple[int, LabelScores], ...]
    usage: Usage
    headers: Mapping[str, str] = field(default_factory=dict)
    unanswered: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a server. `send` sends it once; `expected` is what it will take.

    Of calls with an equal `prefix` the first is answered before the others are sent, where
    the server keeps a prefix that it has read and bills less for it.
    """

    expected: Usage
    send: Callable[[], Reply]
    prefix: bytes | None = None


class Wire(Protocol):
    """One server's way of being asked. `send` of its calls runs in many threads at once."""

    @property
    def identity(self) -> Identity: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def calls(self, requests: Sequence[ScoreRequest]) -> Sequence[Call]:
        """Calls that together answer every request once. Bodies are made when sent."""

    def classify(self, error: Exception) -> Fault | None:
        """What a failure of `send` means; None for what is no fault of the server's."""

    def headers(self, error: Exception) -> Mapping[str, str] | None:
        """Of the answer that came with a failure, where one came."""

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        """See `Provider.count_tokens`."""

    def close(self) -> None: ...


class HostedProvider:
    """A hosted model. Opening it costs nothing; see `Provider` for the rest."""

    def __init__(
        self, name: str, wire: Wire, limiter: Limiter, policy: RetryPolicy | None = None
    ) -> None:
        self.name = name
        self.wire = wire
        self.limiter = limiter
        self._policy = policy or RetryPolicy()

    @property
    def identity(self) -> Identity:
        return self.wire.identity

    @property
    def capabilities(self) -> Capabilities:
        return self.wire.capabilities

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        return self.wire.count_tokens(requests)

    def close(self) -> None:
        self.wire.close()

    def score(
        self, requests: Sequence[ScoreRequest], budget: Budget = UNBOUNDED
    ) -> Iterator[ScoredUnit]:
        """As `Provider.score`; each call is a unit.

        Raises:
            Unanswered: the model declined prompts; all others were answered first.
            BudgetReached, CallFailed, ModelError: what was in flight was answered first.
        """
        refused: list[str] = []
        for reply in self._replies(self.wire.calls(requests), budget):
            refused += [why for _, why in reply.unanswered]
            yield ScoredUnit(reply.scores, reply.usage)
        if refused:
            more = f" and {len(refused) - SHOWN:,} more" if len(refused) > SHOWN else ""
            raise Unanswered(
                f"{self.name} gave no answer to {len(refused):,} of {len(requests):,} prompts: "
                f"{'; '.join(refused[:SHOWN])}{more}. What it answered is kept; take those "
                "items out of the data, or choose another model."
            )

    def _replies(self, calls: Sequence[Call], budget: Budget) -> Iterator[Reply]:
        """Replies as they come. What stops it is raised once nothing is in flight."""
        lost: list[Usage] = []
        crew: Crew[Call, Reply] = Crew(
            Order(calls, lambda call: call.prefix),
            lambda call, stopped: self._answered(call, budget, stopped, lost),
            self.limiter.wake,
        )
        failure: BaseException | None = None
        for outcome in crew.outcomes(min(len(calls), self.limiter.max_concurrency)):
            if isinstance(outcome, Reply):
                yield outcome
            elif failure is None or isinstance(failure, Stopped):
                failure = outcome
        if failure is not None:
            yield Reply((), sum(lost, Usage()))
            raise failure

    def _answered(
        self, call: Call, budget: Budget, stopped: Callable[[], bool], lost: list[Usage]
    ) -> Reply:
        """A call, tried until it is answered. If it never is, `lost` is told what it used."""
        failed = Usage()

        def attempt() -> Reply:
            nonlocal failed
            expected = call.expected
            with self.limiter.slot(
                expected.spent_tokens - expected.output_tokens,
                expected.output_tokens,
                stopped=stopped,
            ) as slot:
                budget.reserve(expected)
                try:
                    reply = call.send()
                except Exception as error:
                    failed += Usage(calls=1)
                    budget.settle(expected, Usage(calls=1))
                    slot.finished(self.wire.headers(error), self.wire.classify(error))
                    raise
                budget.settle(expected, reply.usage)
                output = reply.usage.output_tokens
                slot.finished(
                    reply.headers,
                    None,
                    tokens=reply.usage.spent_tokens - output,
                    output_tokens=output,
                )
                return reply

        try:
            reply = retrying(
                attempt, self.wire.classify, self._policy, stopped=stopped, on_fault=self._told
            )
        except BaseException:
            lost.append(failed)
            raise
        return replace(reply, usage=reply.usage + failed)

    def _told(self, fault: Fault, attempt: int, wait: float) -> None:
        level = logging.WARNING if wait >= LONG_WAIT else logging.DEBUG
        _log.log(level, "%s: %s; try %d in %.0f s", self.name, fault.message, attempt + 1, wait)
