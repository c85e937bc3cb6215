"""What goes wrong at a server of OpenAI's wire format: asked again, reported, or stopped;
never a made-up score."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal

import httpx2
import openai
import pytest
from openai import _exceptions
from openai_server import (
    KEY,
    Json,
    Server,
    answer,
    block_request,
    choice,
    completion,
    decision,
    error,
    ok,
    position,
    text_request,
)

from elicit.providers.base import LabelScores, ModelError, ProviderError, ScoreRequest, Usage
from elicit.providers.garbled import Garbled, headers_of
from elicit.providers.hosted import Unanswered
from elicit.providers.hosted_settings import Scorer
from elicit.providers.openai.faults import classify
from elicit.providers.prices import find_price
from elicit.providers.retry import CallFailed
from elicit.providers.sampled import one_draw
from elicit.providers.usage import Meter

SCORERS: tuple[Scorer, ...] = ("decisions", "chat", "completions", "samples")
LIKELY = {"yes": math.log(0.7), "no": math.log(0.2999)}
GOOD: dict[Scorer, Json] = {
    "decisions": decision([choice(0, {"yes": 0.7, "no": 0.2999})]),
    "chat": answer([position(LIKELY, "yes")]),
    "completions": completion({f" {label}": value for label, value in LIKELY.items()}),
    "samples": answer(None, text='{"label": "yes"}'),
}

Body = Callable[[Json], httpx2.Response]
"""From the reply that would have been right to what came instead."""


def truth(scorer: Scorer) -> LabelScores:
    if scorer == "samples":
        return one_draw(0, 2)
    evidence: Literal["decision", "top_k"] = "decision" if scorer == "decisions" else "top_k"
    return LabelScores(tuple(LIKELY.values()), evidence)


def a_request(scorer: Scorer) -> ScoreRequest:
    return text_request() if scorer == "completions" else block_request()


class Broken(httpx2.SyncByteStream):
    """A body whose connection goes before its end."""

    def __init__(self, body: bytes, failure: Exception) -> None:
        self._body = body
        self._failure = failure

    def __iter__(self) -> Iterator[bytes]:
        yield self._body[: len(self._body) // 2]
        raise self._failure


def raw(body: bytes, kind: str = "application/json", status: int = 200) -> httpx2.Response:
    return httpx2.Response(status, content=body, headers={"content-type": kind})


def broken(good: Json, failure: Exception) -> httpx2.Response:
    stream = Broken(json.dumps(good).encode(), failure)
    return httpx2.Response(200, stream=stream, headers={"content-type": "application/json"})


def raising(failure: Exception) -> httpx2.Response:
    raise failure


def dated(seconds: float, clock: timedelta) -> dict[str, str]:
    """A Retry-After in so many seconds, by a server whose clock is off by `clock`."""
    now = datetime.now(UTC) + clock
    later = now + timedelta(seconds=seconds)
    return {
        "date": format_datetime(now, usegmt=True),
        "retry_after": format_datetime(later, usegmt=True),
    }


@dataclass(frozen=True)
class Row:
    """What came, and what is made of it."""

    came: Body
    stopped: tuple[type[Exception], str] | None = None
    """The error, and how it reads; None where it was asked again and then answered."""


HOUR = timedelta(hours=1)
QUOTA = "You exceeded your current quota"

ROWS = {
    "429": Row(lambda _: error(429, "slow down", "rate_limit_exceeded")),
    "429 with Retry-After": Row(lambda _: error(429, "slow down", retry_after="0")),
    "429 with Retry-After in ms": Row(lambda _: error(429, "slow", retry_after_ms="5")),
    "429 until a date gone by": Row(lambda _: error(429, "slow", **dated(-9, clock=-HOUR))),
    "429 by a clock an hour behind": Row(lambda _: error(429, "slow", **dated(0, clock=-HOUR))),
    "429 by a clock an hour ahead": Row(lambda _: error(429, "slow", **dated(0, clock=HOUR))),
    "429 for longer than allowed": Row(
        lambda _: error(429, "slow down", retry_after="100000"),
        (CallFailed, r"slow down.*asks for a wait of 100,000 s"),
    ),
    "429 with garbage to wait for": Row(lambda _: error(429, "slow", retry_after="soon")),
    "no quota": Row(
        lambda _: error(429, QUOTA, "insufficient_quota"), (CallFailed, f"{QUOTA}.*add credit")
    ),
    "no credit": Row(
        lambda _: error(402, "no credit", "credit_balance_exhausted"),
        (CallFailed, "add credit"),
    ),
    "one request above the minute's limit": Row(
        lambda _: error(429, "Request too large for gpt-6-luna"), (ModelError, "too large")
    ),
    "408": Row(lambda _: error(408, "slow client")),
    "409": Row(lambda _: error(409, "busy")),
    "500": Row(lambda _: error(500, "oh no")),
    "500 that says never": Row(
        lambda _: error(500, "oh no", x_should_retry="false"), (CallFailed, "would not help")
    ),
    "502 as a page": Row(lambda _: raw(b"<html>Bad Gateway</html>", "text/html", 502)),
    "503": Row(lambda _: error(503, "overloaded")),
    "529": Row(lambda _: error(529, "overloaded")),
    "401": Row(
        lambda _: error(401, f"Incorrect API key provided: {KEY}.", "invalid_api_key"),
        (ModelError, "MY_KEY"),
    ),
    "403": Row(lambda _: error(403, "not yours"), (ModelError, "not yours")),
    "404": Row(
        lambda _: error(404, "The model 'gpt-7' does not exist", "model_not_found"),
        (ModelError, r"'gpt-7' does not exist.*HTTP 404, request req_7.*model's name"),
    ),
    "400": Row(
        lambda _: error(400, "'logprobs' is not supported", "unsupported_parameter"),
        (ModelError, "^'Moss is a plant.?': 'logprobs' is not supported"),
    ),
    "422 of a bare web framework": Row(
        lambda _: raw(b'{"detail": "extra fields"}', status=422),
        (ModelError, "^'Moss is a plant.?': extra fields"),
    ),
    "504": Row(lambda _: error(504, "upstream")),
    "an error that came as a success": Row(
        lambda _: ok({"error": {"code": 502, "message": "Provider returned error"}})
    ),
    "a redirect": Row(
        lambda _: httpx2.Response(307, headers={"location": "https://elsewhere.org"}),
        (ProviderError, "redirect"),
    ),
    "no connection": Row(lambda _: raising(httpx2.ConnectError("refused"))),
    "no answer in time": Row(lambda _: raising(httpx2.ReadTimeout("too slow"))),
    "an address that is none": Row(
        lambda _: raising(httpx2.UnsupportedProtocol("no http")), (ModelError, "no http")
    ),
    "a bug of ours": Row(lambda _: raising(ZeroDivisionError()), (ZeroDivisionError, "^$")),
    "disconnected mid-body": Row(lambda good: broken(good, httpx2.ReadError("reset"))),
    "short of its length": Row(
        lambda good: broken(good, httpx2.RemoteProtocolError("incomplete body"))
    ),
    "too slow mid-body": Row(lambda good: broken(good, httpx2.ReadTimeout("too slow"))),
    "truncated JSON": Row(lambda good: raw(json.dumps(good).encode()[:-20])),
    "not UTF-8": Row(lambda _: raw(b'{"id": "\xff\xfe"}')),
    "an empty body": Row(lambda _: raw(b"")),
    "a page": Row(lambda _: raw(b"<html>Welcome</html>", "text/html")),
    "a list": Row(lambda _: raw(b"[]")),
    "null": Row(lambda _: raw(b"null")),
    "nothing in it": Row(lambda _: ok({})),
    "no choices": Row(lambda good: ok({**good, "choices": [], "answers": []})),
    "choices that are none": Row(lambda good: ok({**good, "choices": [None], "answers": 3})),
}


def asked(scorer: Scorer, row: Row, times: int) -> tuple[Server, Meter]:
    """A server that fails so often and then answers."""

    def react(_body: Json, before: int) -> httpx2.Response:
        return row.came(GOOD[scorer]) if before < times else ok(GOOD[scorer])

    server = Server(react)
    return server, Meter(server.provider(scorer, key_variable="MY_KEY"))


def outcome(meter: Meter, request: ScoreRequest) -> list[LabelScores]:
    return [scores for unit in meter.score([request]) for _, scores in unit.scores]


RETRIED = [name for name, row in ROWS.items() if row.stopped is None]
STOPPED = [name for name, row in ROWS.items() if row.stopped is not None]


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("name", RETRIED)
def test_what_may_pass_is_asked_again_and_then_answered(scorer: Scorer, name: str) -> None:
    server, meter = asked(scorer, ROWS[name], times=1)
    (scores,) = outcome(meter, a_request(scorer))
    assert scores.log_probs == pytest.approx(truth(scorer).log_probs)
    assert scores.evidence == truth(scorer).evidence
    assert len(server.bodies) == meter.usage.calls == 2


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("name", RETRIED)
def test_what_never_passes_is_given_up_without_a_score(scorer: Scorer, name: str) -> None:
    server, meter = asked(scorer, ROWS[name], times=99)
    with pytest.raises(CallFailed, match="tried 3 times"):
        outcome(meter, a_request(scorer))
    assert len(server.bodies) == 3


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("name", STOPPED)
def test_what_no_repeat_would_mend_stops_the_run_at_once(scorer: Scorer, name: str) -> None:
    row = ROWS[name]
    assert row.stopped is not None
    kind, words = row.stopped
    server, meter = asked(scorer, row, times=99)
    with pytest.raises(kind, match=words) as raised:
        outcome(meter, a_request(scorer))
    assert len(server.bodies) == 1
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("scorer", SCORERS[1:])
def test_what_is_withheld_is_reported_and_nothing_is_made_up(scorer: Scorer) -> None:
    withheld = json.loads(json.dumps(GOOD[scorer]))
    withheld["choices"][0] |= {"finish_reason": "content_filter", "logprobs": None}
    server = Server(lambda *_: ok(withheld))
    with pytest.raises(Unanswered, match="content filter"):
        outcome(Meter(server.provider(scorer)), a_request(scorer))
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "said",
    [
        "Incorrect API key provided: sk-proj-********************0123. See your account.",
        "Incorrect API key provided: sk-live_abcdef0123456789. See your account.",
        "invalid key 'gsk_abcdef0123' See your account.",
    ],
)
def test_a_key_that_the_server_repeats_is_cut_out_even_when_masked(said: str) -> None:
    server = Server(lambda *_: error(401, said, "invalid_api_key"))
    with pytest.raises(ModelError, match=r"\[key\].*See your account") as raised:
        outcome(Meter(server.provider("chat")), block_request())
    for part in ("sk-", "gsk_", "0123", "*"):
        assert part not in str(raised.value)


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize(
    "came",
    [
        {"error": {"code": 502, "message": "Provider returned error"}},
        {"object": "nothing"},
    ],
    ids=["an error", "nothing"],
)
def test_a_reply_without_a_model_is_no_other_model_and_is_asked_for_again(
    scorer: Scorer, came: Json
) -> None:
    def react(_body: Json, before: int) -> httpx2.Response:
        return ok(GOOD[scorer] if before else came)

    server = Server(react)
    (_, scores), *_ = [
        pair
        for unit in server.provider(scorer, revision="gpt-6-luna").score([a_request(scorer)])
        for pair in unit.scores
    ]
    assert scores.log_probs == pytest.approx(truth(scorer).log_probs)
    assert len(server.bodies) == 2


USELESS: dict[str, Body] = {
    "no choices": lambda good: ok({**good, "choices": [], "answers": []}),
    "another model": lambda good: ok({**good, "model": "gpt-7"}),
}
UNCOUNTED: dict[str, Body] = {
    "not JSON": lambda _: raw(b"<html>"),
    "not counted": lambda good: ok({**good, "usage": None, "choices": [], "answers": []}),
}


def cost_of_one_try(scorer: Scorer, came: Body) -> tuple[Usage, Usage]:
    """What a reply of no use is booked as, and what was expected of it."""
    price = find_price("openai", "gpt-6-luna")
    server = Server(lambda *_: came(GOOD[scorer]))
    wire = server.wire(scorer, price=price, revision="gpt-6-luna")
    (call,) = wire.calls([a_request(scorer)])
    with pytest.raises((Garbled, ProviderError)) as raised:
        call.send()
    meter = Meter(server.provider(scorer, 1, price=price, revision="gpt-6-luna"))
    with pytest.raises(ProviderError):
        outcome(meter, a_request(scorer))
    assert meter.usage == wire.spent(raised.value)
    assert meter.usage.calls == 1
    assert meter.usage.requests == 0
    return meter.usage, call.expected


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("name", USELESS)
def test_a_reply_of_no_use_costs_what_it_says_that_it_took(scorer: Scorer, name: str) -> None:
    booked, _ = cost_of_one_try(scorer, USELESS[name])
    said = GOOD[scorer]["usage"]
    assert booked.prompt_tokens == said.get("prompt_tokens", said.get("input_tokens"))
    assert booked.cost_usd is not None
    assert booked.cost_usd > 0


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("name", UNCOUNTED)
def test_one_that_does_not_say_costs_what_was_expected(scorer: Scorer, name: str) -> None:
    booked, expected = cost_of_one_try(scorer, UNCOUNTED[name])
    assert booked.spent_tokens == pytest.approx(expected.spent_tokens, abs=1)
    assert booked.cost_usd is not None


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_refusal_costs_a_call_and_nothing_else(scorer: Scorer) -> None:
    meter = Meter(Server(lambda *_: error(400, "no")).provider(scorer))
    with pytest.raises(ModelError):
        outcome(meter, a_request(scorer))
    assert meter.usage == Usage(calls=1)


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize(
    "code", ["invalid_prompt", "content_policy_violation", "content_filter"]
)
def test_a_prompt_turned_away_for_what_it_says_has_no_answer_and_others_go_on(
    scorer: Scorer, code: str
) -> None:
    def react(body: Json, _before: int) -> httpx2.Response:
        fine = "Tin is a plant" in json.dumps(body)
        return ok(GOOD[scorer]) if fine else error(400, "against our policy", code)

    provider = Server(react).provider(scorer, items_per_call=1)
    make = text_request if scorer == "completions" else block_request
    units = provider.score([make("Moss is a plant:"), make("Tin is a plant:")])
    ((index, _),) = [pair for unit in (next(units), next(units)) for pair in unit.scores]
    assert index == 1
    with pytest.raises(Unanswered, match=r"'Moss is a plant:'.*policy.*against our policy"):
        next(units)


def test_of_items_asked_together_none_has_an_answer_and_their_number_is_told() -> None:
    server = Server(lambda *_: error(400, "against our policy", "invalid_prompt"))
    requests = [block_request(f"Item {i}") for i in range(3)]
    (call,) = server.wire("decisions").calls(requests)
    reply = call.send()
    assert [index for index, _ in reply.unanswered] == [0, 1, 2]
    assert "a call of 3 items" in reply.unanswered[0][1]
    assert "?scorer=chat asks about each alone" in reply.unanswered[0][1]


SLOW: dict[str, Body] = {
    "408": lambda _: error(408, "slow client"),
    "504": lambda _: error(504, "upstream"),
    "no answer in time": lambda _: raising(httpx2.ReadTimeout("too slow")),
    "too slow mid-body": lambda good: broken(good, httpx2.ReadTimeout("too slow")),
}


@pytest.mark.parametrize("name", [*SLOW, "500", "no connection", "503"])
def test_what_came_too_late_is_told_from_what_failed(name: str) -> None:
    came = SLOW.get(name) or ROWS[name].came
    wire = Server(lambda *_: came(GOOD["chat"])).wire("chat")
    (call,) = wire.calls([block_request()])
    with pytest.raises(openai.APIError) as raised:
        call.send()
    fault = wire.classify(raised.value)
    assert fault is not None
    assert fault.slow == (name in SLOW)


def test_a_page_of_words_is_cut() -> None:
    server = Server(lambda *_: error(400, "no " * 1000))
    with pytest.raises(ModelError) as raised:
        outcome(Meter(server.provider("chat")), block_request())
    assert len(str(raised.value)) < 600


# Every exception of the SDK

REQUEST = httpx2.Request("POST", "https://api.openai.com/v1/decisions")


def response(status: int) -> httpx2.Response:
    return httpx2.Response(status, request=REQUEST, headers={"x-request-id": "req_7"})


def of_status(kind: type[openai.APIStatusError], status: int) -> openai.APIStatusError:
    return kind("no", response=response(status), body={"message": "no"})


Kind = Literal["transient", "rate_limited", "permanent"]
MADE: dict[str, tuple[Callable[[], Exception], Kind | None]] = {
    "OpenAIError": (lambda: openai.OpenAIError("no"), "permanent"),
    "APIError": (lambda: openai.APIError("no", REQUEST, body=None), "permanent"),
    "APIResponseValidationError": (
        lambda: openai.APIResponseValidationError(response(200), None),
        "transient",
    ),
    "APIStatusError": (lambda: of_status(openai.APIStatusError, 418), "permanent"),
    "APIConnectionError": (lambda: openai.APIConnectionError(request=REQUEST), "transient"),
    "APITimeoutError": (lambda: openai.APITimeoutError(REQUEST), "transient"),
    "BadRequestError": (lambda: of_status(openai.BadRequestError, 400), "permanent"),
    "AuthenticationError": (lambda: of_status(openai.AuthenticationError, 401), "permanent"),
    "OAuthError": (
        lambda: _exceptions.OAuthError(response=response(401), body={"error": "no"}),
        "permanent",
    ),
    "PermissionDeniedError": (
        lambda: of_status(openai.PermissionDeniedError, 403),
        "permanent",
    ),
    "NotFoundError": (lambda: of_status(openai.NotFoundError, 404), "permanent"),
    "ConflictError": (lambda: of_status(openai.ConflictError, 409), "transient"),
    "UnprocessableEntityError": (
        lambda: of_status(openai.UnprocessableEntityError, 422),
        "permanent",
    ),
    "RateLimitError": (lambda: of_status(openai.RateLimitError, 429), "rate_limited"),
    "InternalServerError": (lambda: of_status(openai.InternalServerError, 500), "transient"),
    "SubjectTokenProviderError": (
        lambda: _exceptions.SubjectTokenProviderError("no token"),
        "permanent",
    ),
    # Of the SDK's own reading of answers, of web sockets and of webhooks: none is used here.
    "LengthFinishReasonError": (
        lambda: openai.LengthFinishReasonError(completion=_no_completion()),
        "permanent",
    ),
    "ContentFilterFinishReasonError": (
        openai.ContentFilterFinishReasonError,
        "permanent",
    ),
    "WebSocketConnectionClosedError": (
        lambda: _exceptions.WebSocketConnectionClosedError("gone", unsent_messages=[]),
        "permanent",
    ),
    "WebSocketQueueFullError": (
        lambda: _exceptions.WebSocketQueueFullError("full"),
        "permanent",
    ),
    "InvalidWebhookSignatureError": (
        lambda: _exceptions.InvalidWebhookSignatureError("no"),
        None,
    ),
}


def _no_completion() -> Any:
    return openai.types.chat.ChatCompletion.model_validate(answer(None, text=""))


def test_the_table_has_every_exception_of_the_sdk() -> None:
    known = {
        name
        for name, member in inspect.getmembers(_exceptions, inspect.isclass)
        if issubclass(member, Exception) and member.__module__.startswith("openai")
    }
    assert known == MADE.keys()


@pytest.mark.parametrize("name", MADE)
def test_each_has_its_kind(name: str) -> None:
    make, kind = MADE[name]
    made = make()
    assert type(made).__name__ == name
    fault = classify(made)
    assert (None if fault is None else fault.kind) == kind


def test_an_error_of_the_transport_that_is_a_bug_stays_one() -> None:
    failure = openai.APIConnectionError(request=REQUEST)
    failure.__cause__ = ZeroDivisionError()
    assert classify(failure) is None
    assert classify(ValueError("a bug")) is None


def test_headers_come_with_whatever_had_an_answer() -> None:
    limited = of_status(openai.RateLimitError, 429)
    assert headers_of(limited) == {"x-request-id": "req_7"}
    assert headers_of(Garbled("no", {"x-request-id": "req_8"})) == {"x-request-id": "req_8"}
    assert headers_of(openai.APITimeoutError(REQUEST)) is None
