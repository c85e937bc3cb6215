"""Message Batches: the same draws at half the price, within a day.

A batch has no name or metadata of its own, and shows what it holds only in its results. So
its tag is written into the id of each of its lines, and whose a batch is can be told only
once it has ended.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from datetime import datetime

from anthropic.types.messages import (
    MessageBatch,
    MessageBatchErroredResult,
    MessageBatchIndividualResponse,
    MessageBatchRequestCounts,
    MessageBatchSucceededResult,
)
from anthropic.types.messages.batch_create_params import Request

from elicit.providers.anthropic.answer import says_too_long, too_long
from elicit.providers.anthropic.body import THINKING
from elicit.providers.anthropic.faults import classify
from elicit.providers.anthropic.wire import AnthropicWire, unwritable
from elicit.providers.base import PromptTooLong, ProviderError, ScoreRequest, Usage
from elicit.providers.batches import (
    BatchLimits,
    BatchState,
    Incomplete,
    Lost,
    Undecided,
    custom_id,
    json_lines,
)
from elicit.providers.chat import excerpt
from elicit.providers.contexts import characters
from elicit.providers.faults import Fault
from elicit.providers.garbled import Garbled, cut, spent
from elicit.providers.hosted import Reply
from elicit.providers.transport import MAX_REPLY_BYTES

MOST_REQUESTS = 100_000
MOST_BYTES = 250 * 10**6
"""Of a batch's body; the API takes 256 MB."""

RESULT_BYTES = 1_500
"""A line of the results without thoughts, at most. Some 900 are usual."""
THOUGHT_BYTES = 8
"""A token of thinking in a line of the results, with its share of the signature."""

CLOCKS = 600.0
"""Seconds by which this machine's clock may be ahead of the server's."""

_UNMENDABLE = frozenset({"invalid_request_error", "not_found_error"})
"""Errors of one request that asking again would only repeat."""


def open_batches(wire: AnthropicWire) -> AnthropicBatches:
    """The batches of a wire's model; they share its client, which the wire closes."""
    return AnthropicBatches(wire)


class AnthropicBatches:
    """See `BatchEndpoint`."""

    def __init__(self, wire: AnthropicWire) -> None:
        self._batches = wire.client.messages.batches
        self._asking = wire.asking

    @property
    def limits(self) -> BatchLimits:
        """As many requests as have results that the transport takes in one reply."""
        line = RESULT_BYTES + (THINKING * THOUGHT_BYTES if self._asking.thinks else 0)
        return BatchLimits(min(MOST_REQUESTS, MAX_REPLY_BYTES // line), MOST_BYTES)

    def trial(self, request: ScoreRequest) -> None:
        """See `BatchEndpoint`. A draw is one call."""

    def size(self, request: ScoreRequest) -> int:
        return len(json.dumps(self._line(request, ""))) + 2

    def expected(self, request: ScoreRequest) -> Usage:
        shared = characters(request.prompt[:-1])
        return self._asking.expected(request, shared, batch=True)

    def submit(self, requests: Sequence[ScoreRequest], tag: str) -> str:
        lines = [self._line(request, tag) for request in requests]
        try:
            return _sound(self._batches.create(requests=lines)).id
        except UnicodeEncodeError:
            raise next(unwritable(r) for r in requests if not _writable(r)) from None

    def find(self, tag: str, ids: Collection[str], since: float) -> str | None:
        """See `BatchEndpoint`. What it can't do: look into a batch that still runs, or into
        one whose results were archived (after 29 days)."""
        running = []
        for batch in self._batches.list(limit=100):
            if batch.created_at.timestamp() < since - CLOCKS:
                break
            if _total(batch) != len(ids):
                continue
            if batch.processing_status != "ended":
                running.append(batch)
            elif batch.results_url and self._is_tagged(batch.id, tag):
                return batch.id
        if running:
            names = ", ".join(f"{b.id} ({_clock(b.created_at)})" for b in running[:3])
            raise Undecided(
                f"a batch of {len(ids):,} requests may have been made before elicit could "
                f"write down its id; {names} may be it, and shows what it holds only when it "
                "has ended. Come back then, or cancel it in Anthropic's console."
            )
        return None

    def poll(self, batch: str) -> BatchState:
        found = _sound(self._batches.retrieve(batch))
        counts, total = found.request_counts, _total(found)
        answered = total - counts.processing
        if found.processing_status != "ended":
            return BatchState("running", answered, total)
        if not found.results_url:
            return BatchState(
                "failed", answered, total, "its results were archived and can't be read again"
            )
        if counts.canceled:
            return BatchState("cancelled", answered, total)
        return BatchState("expired" if counts.expired else "done", answered, total)

    def results(self, batch: str, requests: Sequence[ScoreRequest]) -> Iterator[Reply | Lost]:
        total = _total(_sound(self._batches.retrieve(batch)))
        places = {custom_id(request): place for place, request in enumerate(requests)}
        readable = unreadable = 0
        other_model: ProviderError | None = None
        # Not by the SDK's decoder, which ends at the first line that can't be read.
        with closing(self._batches.results(batch)) as results:
            content = results.http_response.read()
        for found in json_lines(content):
            if found is None:
                unreadable += 1
                continue
            readable += 1
            line = MessageBatchIndividualResponse.construct(**found)
            place = places.pop(_line_id(line).partition("-")[0], None)
            if place is None:
                continue
            try:
                outcome = self._outcome(place, requests[place], line)
            except ProviderError as error:
                other_model = error
            else:
                yield outcome
        if other_model is not None:
            raise other_model
        if places and (unreadable or readable < total):
            raise Incomplete(
                f"of the {total:,} results of batch {batch}, {readable:,} can be read."
            )

    def cancel(self, batch: str) -> None:
        self._batches.cancel(batch)

    def classify(self, error: Exception) -> Fault | None:
        return classify(error)

    def _line(self, request: ScoreRequest, tag: str) -> Request:
        line_id = f"{custom_id(request)}-{_tag_digest(tag)}"
        return {"custom_id": line_id, "params": self._asking.body(request)}

    def _is_tagged(self, batch: str, tag: str) -> bool:
        with closing(self._batches.results(batch)) as lines:
            return _line_id(next(iter(lines), None)).endswith(f"-{_tag_digest(tag)}")

    def _outcome(
        self, place: int, request: ScoreRequest, line: MessageBatchIndividualResponse
    ) -> Reply | Lost:
        # The SDK builds what it is sent without checking it, so any of this may be missing.
        result = getattr(line, "result", None)
        if isinstance(result, MessageBatchSucceededResult):
            message = getattr(result, "message", None)
            try:
                return self._asking.reply(place, request, message, {}, batch=True)
            except Garbled as error:
                usage = self.expected(request) if error.usage is None else spent(error)
                return Lost(place, f"{excerpt(request.prompt)}: {error}", usage)
            except PromptTooLong as error:
                return Reply((), spent(error), unanswered=((place, str(error)),))
        if isinstance(result, MessageBatchErroredResult):
            return _failed(place, request, getattr(result.error, "error", None))
        kind = str(getattr(result, "type", "lost"))
        usage = Usage() if kind in {"canceled", "expired"} else self.expected(request)
        why = f"{excerpt(request.prompt)}: {kind:.40} before it was answered"
        return Lost(place, why, usage)


def _failed(place: int, request: ScoreRequest, error: object) -> Reply | Lost:
    told = cut(str(getattr(error, "message", "no reason given")))
    kind = str(getattr(error, "type", "unknown error"))
    if says_too_long(kind, told):
        return _unanswered(place, str(too_long(request, told)))
    why = f"{excerpt(request.prompt)}: {told} ({kind:.40})"
    return _unanswered(place, why) if kind in _UNMENDABLE else Lost(place, why)


def _unanswered(place: int, why: str) -> Reply:
    return Reply((), Usage(), unanswered=((place, why),))


def _tag_digest(tag: str) -> str:
    return hashlib.blake2b(tag.encode(), digest_size=8).hexdigest()


def _line_id(line: object) -> str:
    return str(getattr(line, "custom_id", ""))


def _sound(batch: object) -> MessageBatch:
    if isinstance(batch, MessageBatch) and isinstance(
        getattr(batch, "request_counts", None), MessageBatchRequestCounts
    ):
        return batch
    raise Garbled("the reply is no batch", {})


def _total(batch: MessageBatch) -> int:
    counts = batch.request_counts
    ended = counts.succeeded + counts.errored + counts.canceled + counts.expired
    return ended + counts.processing


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _writable(request: ScoreRequest) -> bool:
    text = "".join(segment.text for segment in request.prompt)
    return text.isascii() or text == text.encode(errors="ignore").decode()
