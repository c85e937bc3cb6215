"""OpenAI's Batch API: the same requests at half the price, within a day.

A batch is a file of requests, uploaded first, and keeps the tag that it was created under
in its metadata. A file that was uploaded and never used costs nothing and goes away by
itself after 30 days, so it is not looked for.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import httpx2
from openai.types import Batch

from elicit.cache.errors import InputError
from elicit.providers.base import (
    ModelError,
    ProviderError,
    ScoreRequest,
    Usage,
)
from elicit.providers.batches import (
    BatchLimits,
    BatchState,
    Incomplete,
    Lost,
    custom_id,
    json_lines,
)
from elicit.providers.chat import excerpt
from elicit.providers.faults import Fault
from elicit.providers.garbled import Garbled, spent
from elicit.providers.hosted import Call, Reply
from elicit.providers.openai.chat import most_tokens
from elicit.providers.openai.replay import Replay
from elicit.providers.openai.wire import OpenAIWire
from elicit.providers.transport import MAX_REPLY_BYTES

MOST_REQUESTS = 50_000
MOST_BYTES = 190 * 10**6
"""Of a batch's file; the API takes 200 MB."""

LINE_BYTES = 1_500
"""A line of the results without log-probabilities, at most."""
TOKEN_BYTES = 130
"""What each likely token adds to it, at most; some 90 are usual."""

TAG = "elicit"
"""The key of a batch's metadata under which its tag is."""

CLOCKS = 600.0
"""Seconds by which this machine's clock may be ahead of the server's."""

LONGEST = 300
"""Characters of a server's own words that are told."""


def open_batches(wire: OpenAIWire) -> OpenAIBatches:
    """The batches of a wire's model; they share its client, which the wire closes.

    Raises:
        ModelError: it is asked through the decisions endpoint, which takes no batches.
    """
    scorer = wire.identity.parameters["scorer"]
    if scorer in {"chat", "samples"}:
        return OpenAIBatches(wire, "chat" if scorer == "chat" else "samples")
    if scorer == "completions":
        return OpenAIBatches(wire, "completions")
    raise ModelError(
        f"{wire.identity.provider}:{wire.identity.model}: the {scorer} endpoint takes no "
        "batches: run it without, or ask a model by chat or completions"
    )


class OpenAIBatches:
    """See `BatchEndpoint`."""

    limits = BatchLimits(MOST_REQUESTS, MOST_BYTES)

    def __init__(
        self, wire: OpenAIWire, scorer: Literal["chat", "completions", "samples"]
    ) -> None:
        self._sdk = wire.asking.sdk
        self._endpoint = wire.asking.endpoint
        self._scorer = scorer
        self._wire = wire
        self._replay = Replay(wire, scorer)
        self._lines: dict[str, bytes] = {}

    @property
    def _url(self) -> Literal["/v1/chat/completions", "/v1/completions"]:
        return "/v1/completions" if self._scorer == "completions" else "/v1/chat/completions"

    def trial(self, request: ScoreRequest) -> Call | None:
        """See `BatchEndpoint`. By completions a label may take a call for each of its tokens,
        and nothing but an answer tells a model's tokens."""
        return self._wire.calls([request])[0] if self._scorer == "completions" else None

    def size(self, request: ScoreRequest) -> int:
        """As in `BatchEndpoint`; where its results are a larger part of what one reply may
        have than it is of a batch's file, that part."""
        told = LINE_BYTES + TOKEN_BYTES * self._tokens_told(request)
        return max(len(self._line(request)), told * MOST_BYTES // MAX_REPLY_BYTES)

    def expected(self, request: ScoreRequest) -> Usage:
        return self._replay.expected(request)

    def submit(self, requests: Sequence[ScoreRequest], tag: str) -> str:
        lines = b"".join(self._line(request) for request in requests)
        self._lines.clear()
        file = self._sdk.files.create(
            file=(f"elicit-{tag}.jsonl", lines, "application/jsonl"), purpose="batch"
        )
        batch = self._sdk.batches.create(
            input_file_id=file.id,
            endpoint=self._url,
            completion_window="24h",
            metadata={TAG: tag},
        )
        return batch.id

    def find(self, tag: str, ids: Collection[str], since: float) -> str | None:  # noqa: ARG002  batches are told apart by their tags
        for batch in self._sdk.batches.list(limit=100):
            tagged = (batch.metadata or {}).get(TAG) == tag
            if tagged and batch.created_at >= since - CLOCKS:
                return batch.id
        return None

    def poll(self, batch: str) -> BatchState:
        found = self._found(batch)
        counts = found.request_counts
        answered, total = _counted(found), (counts.total if counts else 0)
        # Of the states, new ones included, all but these four are of a batch that goes on.
        match found.status:
            case "completed":
                return BatchState("done", answered, total)
            case "expired" | "cancelled":
                return BatchState(found.status, answered, total)
            case "failed":
                return BatchState("failed", answered, total, _reason(found))
            case _:
                return BatchState("running", answered, total)

    def results(self, batch: str, requests: Sequence[ScoreRequest]) -> Iterator[Reply | Lost]:
        found = self._found(batch)
        places = {custom_id(request): place for place, request in enumerate(requests)}
        readable = unreadable = 0
        other_model: ProviderError | None = None
        for line in self._file_lines(found):
            if line is None:
                unreadable += 1
                continue
            readable += 1
            place = places.pop(str(line.get("custom_id")), None)
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
        if places and (unreadable or readable < _counted(found)):
            raise Incomplete(
                f"of the {max(_counted(found), readable + unreadable):,} results of batch "
                f"{batch}, {readable:,} can be read."
            )

    def _file_lines(self, found: Batch) -> Iterator[Mapping[str, Any] | None]:
        for file in (found.output_file_id, found.error_file_id):
            if file is not None:
                yield from json_lines(self._sdk.files.content(file).content)

    def _found(self, batch: str) -> Batch:
        """A batch; not one that is said to be completed and does not name its answers yet,
        which were paid for. One without answers has errors, so it names at least those."""
        found = self._sdk.batches.retrieve(batch)
        counts = found.request_counts
        answers = counts.completed if counts else 0
        named = found.output_file_id or (found.error_file_id and not answers)
        if found.status == "completed" and not named:
            raise Garbled(
                f"batch {batch} is completed with {answers:,} answers, and does not say where "
                "they are",
                hint="they are kept for 30 days, and read when the same is asked again",
            )
        return found

    def cancel(self, batch: str) -> None:
        self._sdk.batches.cancel(batch)

    def classify(self, error: Exception) -> Fault | None:
        return self._wire.classify(error)

    def _tokens_told(self, request: ScoreRequest) -> int:
        if self._scorer == "chat":
            return self._endpoint.chat_k * most_tokens(request.labels)
        return self._endpoint.completions_k if self._scorer == "completions" else 0

    def _line(self, request: ScoreRequest) -> bytes:
        """Kept until it is submitted: making it takes longer than sending it."""
        request_id = custom_id(request)
        if request_id not in self._lines:
            self._lines[request_id] = (
                b'{"custom_id":"%b","method":"POST","url":"%b","body":%b}\n'
                % (request_id.encode(), self._url.encode(), self._replay.body(request))
            )
        return self._lines[request_id]

    def _outcome(
        self, place: int, request: ScoreRequest, line: Mapping[str, Any]
    ) -> Reply | Lost:
        error, response = line.get("error"), line.get("response")
        if isinstance(error, Mapping):
            return Lost(place, f"{excerpt(request.prompt)}: {_told(error)}")
        status = response.get("status_code") if isinstance(response, Mapping) else None
        if isinstance(response, Mapping) and isinstance(status, int):
            # Not `json=`: what JSON lacks, such as NaN, is for who reads the answer.
            body = json.dumps(response.get("body")).encode()
            return self._answered(place, request, httpx2.Response(status, content=body))
        why = f"{excerpt(request.prompt)}: its line holds no answer"
        return Lost(place, why, self.expected(request))

    def _answered(
        self, place: int, request: ScoreRequest, answer: httpx2.Response
    ) -> Reply | Lost:
        def named(why: str) -> str:
            item = excerpt(request.prompt)
            return why if why.startswith(item) else f"{item}: {why}"

        try:
            reply = self._replay.reply(request, answer)
        except InputError as error:
            return Reply((), spent(error), unanswered=((place, named(str(error))),))
        except Exception as error:
            fault = self.classify(error)
            if fault is None:
                raise
            if fault.bad_input:
                return Reply((), spent(error), unanswered=((place, named(fault.message)),))
            return Lost(place, named(fault.message), spent(error))
        return replace(
            reply,
            scores=tuple((place, scores) for _, scores in reply.scores),
            unanswered=tuple((place, why) for _, why in reply.unanswered),
        )


def _counted(batch: Batch) -> int:
    """Requests that have a line, as the server counts."""
    counts = batch.request_counts
    return counts.completed + counts.failed if counts else 0


def _told(error: Mapping[str, Any]) -> str:
    text = " ".join(str(error.get("message") or "no explanation").split())[:LONGEST]
    code = error.get("code")
    return f"{text} ({str(code)[:60]})" if code else text


def _reason(batch: Batch) -> str:
    """Why a batch failed, in the server's words, and the mend where one is known."""
    errors = (batch.errors.data if batch.errors else None) or []
    told = [
        _told({"message": e.message, "code": e.code}) + (f", line {e.line}" if e.line else "")
        for e in errors[:3]
    ]
    text = "; ".join(told) or "the server does not say why"
    if any(e.code == "token_limit_exceeded" for e in errors):
        return f"{text}. Wait until other batches of the model have ended, then resume."
    return f"{text}. Nothing of it was billed."
