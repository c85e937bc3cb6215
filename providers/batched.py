"""Asks a hosted model in batches: half the price, up to a day, and never paid for twice.

It stands behind `CachedProvider`, so only what is not stored gets here. Of that, what a
recorded batch covers is read from there, whichever process submitted it and whatever part
of it is stored already; only the rest is submitted. So to take up an interrupted run is to
ask the same again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial

from elicit.cache.batches import KEPT_DAYS, Batches
from elicit.cache.errors import ElicitError
from elicit.providers.asked import Asked
from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Identity,
    LabelScores,
    ModelError,
    Provider,
    ProviderError,
    ScoredUnit,
    ScoreRequest,
    Scoring,
    Usage,
)
from elicit.providers.batches import BatchEndpoint, BatchState, Incomplete, Lost
from elicit.providers.chat import excerpt
from elicit.providers.faults import Fault
from elicit.providers.garbled import spent
from elicit.providers.hosted import Call, Reply
from elicit.providers.submission import Job, Patience, Submission

_log = logging.getLogger(__name__)

ROUNDS = 3
"""Batches in which a request is asked before it is given up."""
READ_AGAIN = (10.0, 60.0)
"""Seconds before results of which some are missing are read a second and a third time."""

Stored = Callable[[Sequence[ScoreRequest]], Sequence[LabelScores | None]]
"""What is stored of requests by now."""


class BatchedProvider:
    """A provider whose requests go through its batch endpoint.

    Args:
        patience: its `sleep` waits so many seconds. An interrupt of it leaves all as it is, for
            another process to go on with.
        on_state: told the provider's id of a batch and its state, whenever it was asked.
        stored: what another process may have stored since the store in front was asked.

    Raises:
        ModelError: the model is asked about several items at once, which a batch can't do.
    """

    def __init__(
        self,
        provider: Provider,
        endpoint: BatchEndpoint,
        batches: Batches,
        *,
        patience: Patience | None = None,
        on_state: Callable[[str, BatchState], None] = lambda _batch, _state: None,
        stored: Stored = lambda requests: [None] * len(requests),
    ) -> None:
        if provider.capabilities.items_per_call > 1:
            raise ModelError(
                f"{provider.name} answers several items a call, and a batch asks about each "
                "alone: run it without batches, or with one item a call"
            )
        self._provider = provider
        self._endpoint = endpoint
        self._batches = batches
        self._identity = provider.identity.digest()
        self._patience = patience or Patience()
        self._on_state = on_state
        self._stored = stored
        self._tried: set[tuple[str, ...]] = set()
        self._submission = Submission(
            provider.name, self._identity, endpoint, batches, self._patience
        )

    @property
    def name(self) -> str:
        return self._provider.name

    @property
    def identity(self) -> Identity:
        """The model's own: how it was asked does not change a score."""
        return self._provider.identity

    @property
    def capabilities(self) -> Capabilities:
        return self._provider.capabilities

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        return self._provider.count_tokens(requests)

    def close(self) -> None:
        self._provider.close()

    def score(self, requests: Sequence[ScoreRequest], budget: Budget = UNBOUNDED) -> Scoring:
        """As `Provider.score`; each request is a unit, and one call of its usage.

        Raises:
            BudgetReached: before anything is sent that would pass it.
            ModelError: the labels take more than one call, so that no batch can tell them.
            Unanswered: the model declined prompts, or lost them in each of three batches.
            ProviderError: a batch was refused as a whole, or cancelled.
            KeyboardInterrupt: what was submitted goes on, and is read when asked again.
        """
        asked = Asked(requests, budget)
        try:
            for _ in range(ROUNDS):
                if asked.rest:
                    yield from self._round(asked)
        except KeyboardInterrupt:
            _log.warning(
                "%s: interrupted. Batches that were submitted go on, and are billed. Resume "
                "the run within %d days to read them: nothing is paid for twice.",
                self.name,
                KEPT_DAYS,
            )
            raise
        asked.check(self.name, ROUNDS)

    def _round(self, asked: Asked) -> Iterator[ScoredUnit]:
        """Submit what no batch covers, wait for all, and read them; then raise what failed."""
        found: dict[str, LabelScores] = {}

        def look(ids: Collection[str]) -> Collection[str]:
            scores = self._stored([asked.rest[i] for i in ids])
            found.update((i, s) for i, s in zip(ids, scores, strict=True) if s is not None)
            return found

        refusal = yield from self._trial(asked)
        jobs, failure = self._submission.jobs(asked, look, refusal)
        for request_id, scores in found.items():
            yield asked.known(request_id, Reply(((0, scores),), Usage(cached=1)))
        failures = [] if failure is None else [failure]
        if failure is not None and jobs:
            _log.warning(
                "%s: %s What was submitted is waited for and read first.", self.name, failure
            )
        waits = self._patience.waits()
        while jobs:
            running = []
            for job in jobs:
                try:
                    state = self._state(job)
                    if state.state == "running":
                        running.append(job)
                        continue
                    mine = job.row.ids.intersection(asked.rest)
                    if state.state != "failed":
                        yield from self._read(job, mine, asked)
                except ElicitError as error:  # its record stays open; the others are read
                    failures.append(error)
                else:
                    failures += self._end(job, state, mine, asked)
            jobs = running
            if jobs:
                self._patience.sleep(next(waits))
        if failures:
            raise failures[0]

    def _trial(self, asked: Asked) -> Generator[ScoredUnit, None, ElicitError | None]:
        """Ask about one request of each label set outside a batch, where only that shows
        whether a batch can tell it; why nothing may be submitted."""
        for request_id in self._submission.uncovered(asked.rest):
            request = asked.rest[request_id]
            if request.labels in self._tried:
                continue
            call, calls, reply = self._endpoint.trial(request), 0, None
            while call is not None:
                try:
                    reply = self._sent(call, asked.budget)
                except ElicitError as error:
                    return error
                calls, call = calls + 1, reply.further
                if call is not None:
                    yield ScoredUnit((), reply.usage)
            if reply is not None:
                yield asked.known(request_id, reply)
            if calls > 1:
                return ModelError(
                    f"{self.name}: the labels {request.labels} have several tokens, about "
                    "which the model is asked one by one, and a batch asks once. Nothing was "
                    "submitted: choose labels of one token each, or run without --batch"
                )
            if reply is None or reply.scores:  # else the next may show it
                self._tried.add(request.labels)
        return None

    def _sent(self, call: Call, budget: Budget) -> Reply:
        """A call outside a batch; its usage has that of tries which failed before."""
        tries: list[Usage] = []

        def attempt() -> Reply:
            budget.reserve(call.expected, wait=True)
            tries.append(Usage())
            try:
                reply = call.send()
                tries[-1] = reply.usage
                return reply
            except Exception as error:
                tries[-1] = spent(error)
                raise
            finally:
                budget.settle(call.expected, tries[-1])

        reply = self._patience.ask(attempt, self._endpoint.classify)
        return replace(reply, usage=sum(tries, Usage()))

    def _state(self, job: Job) -> BatchState:
        state = self._patience.ask(partial(self._endpoint.poll, job.batch), self._classified)
        self._on_state(job.batch, state)
        return state

    def _read(self, job: Job, mine: frozenset[str], asked: Asked) -> Iterator[ScoredUnit]:
        """What came of those requests in a batch that has ended. Its results are read again
        before any of them is taken for lost; what is lost so may have been billed."""
        left = {i: request for i, request in asked.rest.items() if i in mine}
        for wait in (*READ_AGAIN, None):
            try:
                yield from self._results(job, left, asked)
            except Incomplete as incomplete:
                if wait is not None:
                    _log.warning("%s: %s Reading again in %.0f s.", self.name, incomplete, wait)
                    self._patience.sleep(wait)
                    continue
                for request_id, request in left.items():
                    yield asked.lost(
                        request_id,
                        f"{excerpt(request.prompt)}: {incomplete}",
                        self._endpoint.expected(request),
                    )
            return

    def _results(
        self, job: Job, left: dict[str, ScoreRequest], asked: Asked
    ) -> Iterator[ScoredUnit]:
        """What a batch tells of what is `left`, which is taken from there as it comes."""
        order: list[str] = []
        outcomes: Iterator[Reply | Lost] | None = None

        def following() -> Reply | Lost | None:
            nonlocal outcomes, order
            if outcomes is None:
                order = list(left)
                outcomes = self._endpoint.results(job.batch, list(left.values()))
            try:
                return next(outcomes, None)
            except Exception:
                outcomes = None  # a generator that has raised gives nothing more
                raise

        while (outcome := self._patience.ask(following, self._classified)) is not None:
            request_id = order[_place(outcome)]
            if left.pop(request_id, None) is None:
                _log.warning("%s: batch %s answered twice", self.name, job.batch)
            elif isinstance(outcome, Lost):
                unit = asked.lost(request_id, outcome.reason, outcome.usage)
                if unit.usage.calls:
                    yield unit
            else:
                yield asked.answered(request_id, outcome)

    def _end(
        self, job: Job, state: BatchState, mine: frozenset[str], asked: Asked
    ) -> list[ElicitError]:
        """Close the books on what was `mine` in a batch; what makes it a failure of the run."""
        if state.state == "failed":
            self._batches.ended(job.row.id, state.state)
        else:
            self._batches.read(job.row.id, mine, state.state)
        left = [request_id for request_id in asked.rest if request_id in mine]
        asked.release(left)
        why = _WHY.get(state.state, "the batch has ended without a line for it")
        for request_id in left:
            item = excerpt(asked.rest[request_id].prompt)
            asked.lost(request_id, f"{item}: {why}", Usage(), known=False)
        if state.state == "failed":
            return [ProviderError(f"{self.name}: batch {job.batch} failed: {state.reason}")]
        if state.state == "cancelled" and left:
            return [
                ProviderError(
                    f"{self.name}: batch {job.batch} was cancelled with {len(left):,} requests "
                    "unanswered. The others are kept; run again to ask these in a new batch."
                )
            ]
        return []

    def _classified(self, error: Exception) -> Fault | None:
        fault = self._endpoint.classify(error)
        if fault is None or fault.status != 404:
            return fault
        return replace(
            fault,
            hint="a batch is shown only to keys of the project that it was submitted with: use "
            "such a key; if its files were deleted there, run without batches",
        )


_WHY = {
    "expired": "the batch expired before its turn",
    "cancelled": "the batch was cancelled before its turn",
}


def _place(outcome: Reply | Lost) -> int:
    if isinstance(outcome, Lost):
        return outcome.index
    (place,) = {i for i, _ in outcome.scores} | {i for i, _ in outcome.unanswered}
    return place
