"""The seam to a provider's batch endpoint: many requests handed over at once, at half price.

A batch takes up to a day and outlives the process that submitted it. So everything here is
found again by what it is about: a request by `custom_id`, a batch by its tag, both digests
of what is asked. Nothing depends on the order or the number of requests.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from elicit.cache.keys import DIGEST_BYTES, context_key, labels_digest, prefix_digest
from elicit.providers.base import ProviderError, ScoreRequest, Usage
from elicit.providers.hosted import Call, Reply
from elicit.providers.retry import Fault


class Undecided(ProviderError):
    """Whether a batch was made can't be told yet; it is asked again later."""


class Incomplete(ProviderError):
    """Fewer lines of a batch can be read than it has, as its provider counts. They may be
    there the next time."""


@dataclass(frozen=True, slots=True)
class BatchState:
    """How far a batch is, as its provider says.

    `done`, `expired` and `cancelled` have results, of some requests at least; `failed` has
    none and costs nothing. Whatever an adapter does not know is `running`.
    """

    state: Literal["running", "done", "failed", "expired", "cancelled"]
    answered: int = 0
    """Requests that have come to an end, well or not, as far as the provider says."""
    total: int = 0
    reason: str = ""
    """Why a batch failed, and the mend where one is known."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What one batch takes at most: requests, and bytes of the file or body."""

    requests: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Lost:
    """A request without an answer that may get one if asked again: it expired, its server
    was busy, its answer was of no use. `index` is its place among the requests given."""

    index: int
    reason: str
    usage: Usage = field(default_factory=Usage)
    """What was billed all the same; what was expected, where its line does not say."""


class BatchEndpoint(Protocol):
    """A provider's batch endpoint. Each request is a line of its own, named by `custom_id`.

    Adapters neither sleep nor try again: an error of the SDK passes through, and `classify`
    says what it means.
    """

    @property
    def limits(self) -> BatchLimits: ...

    def trial(self, request: ScoreRequest) -> Call | None:
        """The call outside a batch that shows whether a batch, which asks once, can tell such
        labels: it can't where the call has a further one. None where it surely can."""

    def size(self, request: ScoreRequest) -> int:
        """Bytes that a request takes in a batch, its line or separator included."""

    def expected(self, request: ScoreRequest) -> Usage:
        """What a request will take at most, at the batch price; `calls` is 1."""

    def submit(self, requests: Sequence[ScoreRequest], tag: str) -> str:
        """Create one batch, under that tag if the provider can keep one; return its id.

        No two requests are equal, and all are within the limits. Creates nothing, or one
        batch: uploads and checks come first, the call that is paid for is the last one.
        """

    def find(self, tag: str, ids: Collection[str], since: float) -> str | None:
        """The batch created under that tag; None where there is none.

        `ids` are the `custom_id`s of its requests, for a provider that keeps no tags. `since`
        is the time (seconds since the epoch) before which it can't have been created.

        Raises:
            Undecided: it can't be told yet, as where only the results of a batch that still
                runs would say what it is about.
        """

    def poll(self, batch: str) -> BatchState:
        """How far it is. A batch has not ended as long as it does not name its results."""

    def results(self, batch: str, requests: Sequence[ScoreRequest]) -> Iterator[Reply | Lost]:
        """What came of these requests, in any order, each `Reply` about one of them.

        The batch may hold more requests; their lines are skipped. A request that has no
        line is left out. `Reply.unanswered` is for what asking again won't mend, and for
        what a batch can't tell.

        Raises:
            Incomplete: at the end, if requests have no line that could be read, and the batch
                has more lines than could.
            ProviderError: at the end, if another model answered some: the others come first.
        """

    def cancel(self, batch: str) -> None:
        """Ask for an end. What was answered by then stays readable, and is billed."""

    def classify(self, error: Exception) -> Fault | None:
        """See `Wire.classify`."""


def json_lines(content: bytes) -> Iterator[Mapping[str, Any] | None]:
    """The objects in JSON Lines; None for a line that can't be read."""
    for raw in io.BytesIO(content):
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError):
            line = None
        yield line if isinstance(line, Mapping) else None


def custom_id(request: ScoreRequest) -> str:
    """32 hexadecimal digits that name a request by its demonstrations, item, labels and sample.

    The model is not part of it: it is that of the batch.
    """
    *context, item = request.prompt
    prefix = prefix_digest([segment.digest for segment in context])
    key = context_key(b"", labels_digest(request.labels), prefix)
    state = hashlib.blake2b(digest_size=DIGEST_BYTES, person=b"request")
    for part in (key, item.digest, request.sample.to_bytes(8, "big")):
        state.update(part)
    return state.hexdigest()
