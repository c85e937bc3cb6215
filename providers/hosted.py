"""Asks hosted models: many calls at once, none past the budget, each answer as it comes.

An adapter (a `Wire`) turns requests into calls and replies into scores. All that hosted
models have in common is here: threads that take calls in order, a place and a rate for
each (`limits`), tries again (`retry`), the budget asked before every try, and a stop that
starts nothing new but waits for what is in flight, since that will be paid for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Protocol

from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Halted,
    Identity,
    LabelScores,
    ProviderError,
    ScoredUnit,
    ScoreRequest,
    Scoring,
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
    further: Call | None = None
    """A request that has to follow before there are scores. It waits for its turn and is put
    to the budget like any other; the reply to it answers the call."""


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

    def spent(self, error: Exception) -> Usage:
        """What a failed call took: one call at least, and what was billed for an answer that
        is of no use."""

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

    def score(self, requests: Sequence[ScoreRequest], budget: Budget = UNBOUNDED) -> Scoring:
        """As `Provider.score`; each call is a unit.

        Raises:
            Unanswered: the model declined prompts; all others were answered first.
            BudgetReached, CallFailed, ModelError: what was in flight was answered first.
        """
        calls = self.wire.calls(requests)
        lost: list[Usage] = []
        crew: Crew[Call, Reply] = Crew(
            Order(calls, lambda call: call.prefix),
            lambda call, stopped: self._answered(call, budget, stopped, lost),
            self.limiter.wake,
        )
        refused: list[str] = []
        failure: BaseException | None = None
        with closing(crew.outcomes(min(len(calls), self.limiter.max_concurrency))) as outcomes:
            for outcome in outcomes:
                if isinstance(outcome, Reply):
                    refused += [why for _, why in outcome.unanswered]
                    try:
                        yield ScoredUnit(outcome.scores, outcome.usage)
                    except Halted:
                        crew.stop()
                        self._waits()
                elif failure is None or isinstance(failure, Stopped):
                    failure = outcome
                    if isinstance(outcome, KeyboardInterrupt):
                        self._waits()
        if lost:
            yield ScoredUnit((), sum(lost, Usage()))
        if failure is not None:
            raise failure
        if refused:
            raise Unanswered(_unanswered(self.name, refused, len(requests)))

    def _waits(self) -> None:
        """Tell that the end is held up, and why."""
        under_way = self.limiter.snapshot().in_flight
        if under_way:
            _log.warning(
                "%s: stopping; the %d requests under way are paid for, so their answers are "
                "waited for (Ctrl-C gives them up)",
                self.name,
                under_way,
            )

    def _answered(
        self, call: Call, budget: Budget, stopped: Callable[[], bool], lost: list[Usage]
    ) -> Reply:
        """A call with all that follows from it. If it is never answered, `lost` is told what
        it used."""
        used = Usage()
        further: Call | None = call
        while further is not None:
            try:
                reply = self._sent(further, budget, stopped, lost)
            except BaseException:
                lost.append(used)
                raise
            used += reply.usage
            further = reply.further
        return replace(reply, usage=used)

    def _sent(
        self, call: Call, budget: Budget, stopped: Callable[[], bool], lost: list[Usage]
    ) -> Reply:
        """One request, tried until it is answered."""
        failed = Usage()

        def attempt() -> Reply:
            nonlocal failed
            expected = call.expected
            with self.limiter.slot(
                expected.spent_tokens - expected.output_tokens,
                expected.output_tokens,
                stopped=stopped,
            ) as slot:
                budget.reserve(expected, wait=True)
                try:
                    if stopped():
                        raise Stopped("stopped before a request was sent")
                    reply = call.send()
                except Stopped:
                    budget.settle(expected, Usage())
                    raise
                except Exception as error:
                    spent = self.wire.spent(error)
                    failed += spent
                    budget.settle(expected, spent)
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


def _unanswered(name: str, refused: Sequence[str], asked: int) -> str:
    more = f" and {len(refused) - SHOWN:,} more" if len(refused) > SHOWN else ""
    return (
        f"{name} gave no answer to {len(refused):,} of {asked:,} prompts: "
        f"{'; '.join(refused[:SHOWN])}{more}. What it answered is kept; take those items "
        "out of the data, or choose another model."
    )
