"""Gets requests covered by batches: recorded ones first, and each new one created once.

An intent is recorded before the provider is asked for a batch. Whoever finds one whose
process is gone asks the provider what became of it, before anything else is submitted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from elicit.cache.batches import Batch, Batches
from elicit.cache.errors import ElicitError
from elicit.providers.asked import Asked
from elicit.providers.base import ScoreRequest
from elicit.providers.batches import BatchEndpoint, Undecided
from elicit.providers.retry import Fault, RetryPolicy, retrying

T = TypeVar("T")
_log = logging.getLogger(__name__)

LISTED_AFTER = 60.0
"""Seconds after which a provider's list shows every batch that was created."""
GROWTH = 1.5
"""Each wait for a batch is so many times the one before,"""
LONGEST = 600.0
"""and at most so many seconds."""

# Two threads must not find the same intent of their own process.
_SUBMITTING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Job:
    """A batch that the provider has."""

    row: Batch
    batch: str


@dataclass(frozen=True, slots=True)
class Patience:
    """How calls are tried again and how long is waited for what takes hours."""

    poll_seconds: float = 30.0
    """The first wait; later ones grow."""
    sleep: Callable[[float], object] = time.sleep
    policy: RetryPolicy = field(default_factory=RetryPolicy)

    def waits(self) -> Iterator[float]:
        """Seconds to wait, time after time."""
        wait = self.poll_seconds
        while True:
            yield wait
            wait = min(LONGEST, wait * GROWTH)

    def ask(self, send: Callable[[], T], classify: Callable[[Exception], Fault | None]) -> T:
        """See `retrying`."""
        return retrying(send, classify, self.policy, stopped=lambda: False, sleep=self.sleep)


class Submission:
    """What one model's requests are submitted through."""

    def __init__(
        self,
        name: str,
        identity: bytes,
        endpoint: BatchEndpoint,
        batches: Batches,
        patience: Patience,
    ) -> None:
        self._name = name
        self._identity = identity
        self._endpoint = endpoint
        self._batches = batches
        self._patience = patience

    def uncovered(self, ids: Collection[str]) -> list[str]:
        """Those of them that no recorded batch is about."""
        rows = self._batches.open(self._identity)
        covered = frozenset[str]().union(*(row.ids for row in rows))
        return [request_id for request_id in ids if request_id not in covered]

    def jobs(
        self,
        asked: Asked,
        look: Callable[[Collection[str]], Collection[str]],
        refusal: ElicitError | None = None,
    ) -> tuple[list[Job], ElicitError | None]:
        """Batches that together cover the rest, and what kept them from covering it all.

        Args:
            look: which of the requests that no batch covers are answered by now. It is asked
                after the records: of two processes, one may store its scores and close the
                record between the other's first look at the scores and that at the records.
            refusal: why nothing new may be submitted.
        """
        with _SUBMITTING:
            while True:
                last = self._batches.last()
                jobs = list(self._recorded(asked.rest))
                covered = frozenset[str]().union(*(job.row.ids for job in jobs))
                new = [request_id for request_id in asked.rest if request_id not in covered]
                stored = look(new) if new else ()
                new = [request_id for request_id in new if request_id not in stored]
                if not new or refusal is not None:
                    return jobs, refusal if new else None
                try:
                    asked.reserve(new, self._endpoint.expected)
                    part = self._part(new, asked.rest)
                    row = self._batches.intend(self._identity, self._name, part, last)
                    if row is not None:  # else another process was first
                        self._create(row, [asked.rest[request_id] for request_id in part])
                except ElicitError as error:
                    asked.release(new)
                    return jobs, error

    def _part(self, ids: Sequence[str], requests: dict[str, ScoreRequest]) -> list[str]:
        """As many of them as one batch takes, one at least."""
        limits, size = self._endpoint.limits, 0
        part: list[str] = []
        for request_id in ids[: limits.requests]:
            size += self._endpoint.size(requests[request_id])
            if part and size > limits.bytes:
                break
            part.append(request_id)
        return part

    def _recorded(self, rest: Collection[str]) -> Iterator[Job]:
        for row in self._batches.open(self._identity):
            if not row.ids.isdisjoint(rest):
                batch = row.batch or self._decided(row)
                if batch is not None:
                    yield Job(row, batch)

    def _decided(self, row: Batch) -> str | None:
        """The batch that an intent became; None, and the intent is void, if it became none."""
        while not self._batches.take(row.id):
            now = self._batches.get(row.id)
            if now.state != "intended":
                return now.batch
            _log.info("%s: process %d is submitting a batch", self._name, now.owner.pid)
            self._patience.sleep(self._patience.poll_seconds)
        batch = self._found(row)
        if batch is None:
            self._batches.ended(row.id, "failed")
        else:
            self._batches.submitted(row.id, batch)
        return batch

    def _found(self, row: Batch) -> str | None:
        """The provider's batch of that tag, if it holds one. It is asked twice, with a wait
        between: what was created a moment ago may not be in its list yet."""
        waits = self._patience.waits()
        looks = 0
        while True:
            try:
                batch = self._patience.ask(
                    lambda: self._endpoint.find(row.tag, row.ids, since=row.created),
                    self._endpoint.classify,
                )
            except Undecided as undecided:
                wait = next(waits)
                _log.warning("%s: %s Asking again in %.0f s.", self._name, undecided, wait)
                self._patience.sleep(wait)
                continue
            looks += 1
            if batch is not None or looks == 2:
                return batch
            self._patience.sleep(LISTED_AFTER)

    def _create(self, row: Batch, requests: Sequence[ScoreRequest]) -> None:
        """Have the provider create a batch, once: where a try ended without an answer, it is
        looked for before the next."""
        unsure = False

        def attempt() -> str:
            nonlocal unsure
            if unsure:
                batch = self._found(row)
                if batch is not None:
                    return batch
                unsure = False
            try:
                return self._endpoint.submit(requests, row.tag)
            except Exception as error:
                unsure = _may_have_created(error, self._endpoint.classify(error))
                raise

        try:
            batch = self._patience.ask(attempt, self._endpoint.classify)
        except ElicitError:
            if not unsure:
                self._batches.ended(row.id, "failed")
            raise
        self._batches.submitted(row.id, batch)


def _may_have_created(error: Exception, fault: Fault | None) -> bool:
    """Whether a failed call may have been heard. A refusal was not, and neither was what
    this program refused to send."""
    if fault is None:
        return not isinstance(error, ElicitError)
    return fault.kind != "permanent" and fault.status != 429
