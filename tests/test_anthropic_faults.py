"""What goes wrong with a call of Anthropic's API: tried again or told; never a score."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from itertools import pairwise

import anthropic
import httpx2
import pytest
from anthropic import _exceptions
from anthropic._error_classes import ERROR_CLASSES, make_status_error
from anthropic_server import (
    KEY,
    MODEL,
    Json,
    React,
    Server,
    block_request,
    error,
    labelled,
    message,
    ok,
)

from elicit.cache.errors import ElicitError
from elicit.providers.anthropic import open_wire
from elicit.providers.anthropic.faults import classify
from elicit.providers.base import ModelError, PromptTooLong, ProviderError, ScoredUnit, Usage
from elicit.providers.faults import Fault
from elicit.providers.garbled import Garbled, headers_of
from elicit.providers.hosted import HostedProvider, Unanswered
from elicit.providers.limits import Limiter
from elicit.providers.prices import find_price
from elicit.providers.retry import CallFailed, RetryPolicy
from elicit.providers.sampled import one_draw
from elicit.providers.usage import Meter

REQUEST = httpx2.Request("POST", "https://api.anthropic.com/v1/messages")
POLICY = RetryPolicy(attempts=4, first_wait=0.0, total=5.0)

Reaction = httpx2.Response | Exception


def asked(server: Server) -> tuple[list[ScoredUnit], ElicitError | None, Meter]:
    """What a request yields, what it ends in, and what was counted."""
    hosted = HostedProvider(
        f"anthropic:{MODEL}",
        open_wire(MODEL, server.client(), samples=1),
        Limiter(max_concurrency=2),
        POLICY,
    )
    meter = Meter(hosted)
    units = []
    try:
        for unit in meter.score([block_request()]):
            units.append(unit)  # noqa: PERF402  what came before an error counts as well
    except ElicitError as failure:
        return units, failure, meter
    return units, None, meter


def scores(units: list[ScoredUnit]) -> list[object]:
    return [scored for unit in units for _, scored in unit.scores]


def then_a_label(first: React) -> React:
    """The reaction once, and a label from then on."""

    def react(body: Json, before: int) -> httpx2.Response:
        return first(body, before) if before == 0 else ok(labelled("yes"))

    return react


def raising(failure: Exception) -> React:
    def react(_body: Json, _before: int) -> httpx2.Response:
        raise failure

    return react


def answering(response: httpx2.Response) -> React:
    return lambda *_: httpx2.Response(
        response.status_code, headers=response.headers, content=response.content
    )


class Torn(httpx2.SyncByteStream):
    """A body whose connection is lost half-way."""

    def __iter__(self) -> Iterator[bytes]:
        yield json.dumps(labelled("yes")).encode()[:40]
        raise httpx2.ReadError("connection lost")


def raw(text: str) -> httpx2.Response:
    return httpx2.Response(200, text=text, headers={"content-type": "application/json"})


WHOLE = json.dumps(labelled("yes"))

PASSING: dict[str, React] = {
    "429 with a wait": answering(
        error(429, "rate_limit_error", "slow down", retry_after="0.01")
    ),
    "429 without a wait": answering(error(429, "rate_limit_error", "slow down")),
    "429 of a ramp": answering(
        error(429, "rate_limit_error", "too fast", "ramp_limit_exceeded", retry_after="0.01")
    ),
    "429 until a date, by a clock an hour behind": answering(
        error(
            429,
            "rate_limit_error",
            "slow down",
            retry_after=formatdate(time.time() - 3600, usegmt=True),
            date=formatdate(time.time() - 3600, usegmt=True),
        )
    ),
    "408": answering(error(408, "timeout_error", "too slow")),
    "500": answering(error(500, "api_error", "internal error")),
    "502 with a page": answering(httpx2.Response(502, text="<html>" + "bad gateway " * 99)),
    "503 with nothing": answering(httpx2.Response(503)),
    "504": answering(error(504, "timeout_error", "too slow")),
    "529": answering(error(529, "overloaded_error", "Overloaded")),
    "no connection": raising(httpx2.ConnectError("connection refused")),
    "no answer in time": raising(httpx2.ReadTimeout("timed out")),
    "disconnected before the answer": raising(
        httpx2.RemoteProtocolError("server disconnected without sending a response")
    ),
    "disconnected within the body": lambda *_: httpx2.Response(200, stream=Torn()),
    "JSON cut short": lambda *_: raw(WHOLE[:-30]),
    "no JSON at all": lambda *_: httpx2.Response(200, text="<html>hello</html>"),
    "an empty body": lambda *_: raw(""),
    "not a message": lambda *_: raw("[1, 2]"),
    "a number": lambda *_: raw("3"),
    "an empty object": lambda *_: raw("{}"),
    "no usage": lambda *_: raw(json.dumps({**labelled("yes"), "usage": None})),
    "tokens that are no number": lambda *_: raw(
        json.dumps({**labelled("yes"), "usage": {"input_tokens": "many", "output_tokens": 1}})
    ),
    "an error that came as a success": lambda *_: raw('{"error": {"code": 502}}'),
    "no name of a model": lambda *_: raw(json.dumps({**labelled("yes"), "model": ""})),
    "no content": lambda *_: raw(json.dumps({**labelled("yes"), "content": None})),
    "an unknown end": lambda *_: raw(json.dumps({**labelled("yes"), "stop_reason": "bored"})),
    "no end": lambda *_: raw(json.dumps({**labelled("yes"), "stop_reason": None})),
    "no text": lambda *_: ok(message("")),
    "text around the label": lambda *_: ok(message('Sure: {"label": "yes"}')),
    "the label alone": lambda *_: ok(message("yes")),
    "a JSON text": lambda *_: ok(message('"yes"')),
    "another label": lambda *_: ok(labelled("maybe")),
    "a label with a space": lambda *_: ok(labelled(" yes")),
    "a label in other case": lambda *_: ok(labelled("Yes")),
    "a label that is no text": lambda *_: ok(message('{"label": true}')),
    "a list of labels": lambda *_: ok(message('{"label": ["yes"]}')),
    "another field": lambda *_: ok(message('{"answer": "yes"}')),
    "a field too many": lambda *_: ok(message('{"label": "yes", "sure": true}')),
    "two labels": lambda *_: ok(message('{"label": "no", "label": "yes"}')),
    "a pair for an object": lambda *_: ok(message('[["label", "yes"]]')),
    "nested without end": lambda *_: ok(message("[" * 100_000)),
    "an ending of JSON that is missing": lambda *_: ok(message('{"label": "yes"')),
}
"""Reactions that may be other the next time."""


@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass_is_tried_again_and_then_answered(name: str) -> None:
    server = Server(then_a_label(PASSING[name]))
    units, failure, meter = asked(server)
    assert failure is None
    assert scores(units) == [one_draw(1, 2)]
    assert len(server.bodies) == meter.usage.calls == 2
    assert meter.usage.requests == 1


@pytest.mark.parametrize("name", PASSING)
def test_what_does_not_pass_is_given_up_and_is_never_a_score(name: str) -> None:
    server = Server(PASSING[name])
    units, failure, meter = asked(server)
    assert isinstance(failure, CallFailed)
    assert scores(units) == []
    assert len(server.bodies) == meter.usage.calls == POLICY.attempts
    assert "tried 4 times" in str(failure)
    assert len(str(failure)) < 600


STOPPING: dict[str, tuple[React, type[ElicitError], str]] = {
    "401": (
        answering(error(401, "authentication_error", "invalid key")),
        ModelError,
        "invalid key.*request req_7.*check the API key in ANTHROPIC_API_KEY",
    ),
    "403": (
        answering(error(403, "permission_error", "not for you")),
        ModelError,
        "not for you.*permissions",
    ),
    "404, a wrong model": (
        answering(error(404, "not_found_error", "model: claude-sonet-5-5")),
        ModelError,
        "claude-sonet-5-5.*model's name",
    ),
    "400": (
        answering(error(400, "invalid_request_error", "thinking: disabled is not supported")),
        ModelError,
        "^'Moss is a plant.': thinking: disabled.*settings",
    ),
    "400, a low balance": (
        answering(
            error(400, "invalid_request_error", "Your credit balance is too low to go on.")
        ),
        CallFailed,
        "add credit",
    ),
    "402": (
        answering(error(402, "billing_error", "payment is due")),
        CallFailed,
        "payment is due.*add credit",
    ),
    "429, a spend limit": (
        answering(error(429, "rate_limit_error", "limit", "enforced_spend_limit_reached")),
        CallFailed,
        "spend limit",
    ),
    "413": (
        answering(
            httpx2.Response(
                413,
                json={"error": {"type": "request_too_large", "message": "over 32 MB"}},
            )
        ),
        PromptTooLong,
        "Moss is a plant.*over 32 MB.*fewer demonstrations",
    ),
    "a prompt too long": (
        answering(
            error(400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum")
        ),
        PromptTooLong,
        "Moss is a plant.*9 tokens > 8.*fewer demonstrations",
    ),
    "no room for the answer": (
        answering(
            error(
                400,
                "invalid_request_error",
                "input length and `max_tokens` exceed context limit: 9 + 1 > 9",
            )
        ),
        PromptTooLong,
        "Moss is a plant",
    ),
    "a redirect": (
        answering(httpx2.Response(302, headers={"location": "https://example.org/"})),
        CallFailed,
        "redirect",
    ),
    "the server's own word": (
        answering(error(500, "api_error", "no", x_should_retry="false")),
        CallFailed,
        "trying again would not help",
    ),
    "another scheme": (
        raising(httpx2.UnsupportedProtocol("no such scheme")),
        ModelError,
        "no request could be made",
    ),
}
"""Reactions that only money or another request would change."""


@pytest.mark.parametrize("name", STOPPING)
def test_what_no_repeat_would_mend_is_told_at_once_with_the_mend(name: str) -> None:
    react, kind, told = STOPPING[name]
    server = Server(react)
    units, failure, meter = asked(server)
    assert isinstance(failure, kind)
    assert scores(units) == []
    assert len(server.bodies) == meter.usage.calls == 1
    assert re.search(told, str(failure))


DECLINED: dict[str, Json] = {
    "a refusal": message("", stop_reason="refusal"),
    "an answer cut off": message('{"label":', stop_reason="max_tokens"),
    "an answer cut off after the label": message('{"label": "yes"}', stop_reason="max_tokens"),
    "a refusal after a label": message('{"label": "yes"}', stop_reason="refusal"),
}


@pytest.mark.parametrize("name", DECLINED)
def test_what_the_model_would_not_answer_is_told_paid_for_and_no_score(name: str) -> None:
    server = Server(lambda *_: ok(DECLINED[name]))
    units, failure, meter = asked(server)
    assert isinstance(failure, Unanswered)
    assert "Moss is a plant." in str(failure)
    assert scores(units) == []
    assert len(server.bodies) == 1
    assert meter.usage.output_tokens == 7


USELESS: dict[str, Json] = {
    "no label": message("I would say yes"),
    "another model": labelled("yes", model="claude-opus-5"),
    "a context that ends": message("", stop_reason="model_context_window_exceeded"),
}


@pytest.mark.parametrize("name", USELESS)
def test_an_answer_of_no_use_costs_what_it_says_that_it_took(name: str) -> None:
    price = find_price("anthropic", MODEL)
    assert price is not None
    wire = open_wire(MODEL, Server(lambda *_: ok(USELESS[name])).client(), price=price)
    (call,) = wire.calls([block_request()])
    with pytest.raises((Garbled, ProviderError, PromptTooLong)) as raised:
        call.send()
    took = wire.spent(raised.value)
    assert (took.calls, took.requests, took.output_tokens) == (1, 0, 7)
    assert took.cost_usd == pytest.approx(
        price.cost(input_tokens=20, cached_tokens=0, cache_write_tokens=0, output_tokens=7)
    )


def test_one_that_does_not_say_costs_what_was_expected() -> None:
    wire = open_wire(
        MODEL, Server(lambda *_: raw("{}")).client(), price=find_price("anthropic", MODEL)
    )
    (call,) = wire.calls([block_request()])
    with pytest.raises(Garbled) as raised:
        call.send()
    assert wire.spent(raised.value) == replace(call.expected, requests=0)
    assert wire.spent(httpx2.ConnectError("refused")) == Usage(calls=1)


def test_an_answer_that_the_server_s_filter_blocks_is_told_and_others_go_on() -> None:
    def react(body: Json, _before: int) -> httpx2.Response:
        if "Tin" in json.dumps(body):
            return ok(labelled("yes"))
        return error(400, "invalid_request_error", "Output blocked by content filtering policy")

    wire = open_wire(MODEL, Server(react).client())
    blocked, other = wire.calls([block_request(), block_request("Tin is a plant.")])
    ((_, why),) = blocked.send().unanswered
    assert "'Moss is a plant.'" in why
    assert "content filtering policy" in why
    assert other.send().scores


@pytest.mark.parametrize(
    ("name", "slow"),
    [("408", True), ("504", True), ("no answer in time", True), ("500", False), ("529", False)],
)
def test_what_came_too_late_is_told_from_what_failed(name: str, slow: bool) -> None:
    wire = open_wire(MODEL, Server(PASSING[name]).client())
    (call,) = wire.calls([block_request()])
    with pytest.raises(anthropic.APIError) as raised:
        call.send()
    fault = wire.classify(raised.value)
    assert fault is not None
    assert fault.slow == slow


def test_a_wait_the_server_asks_for_is_kept() -> None:
    times: list[float] = []

    def react(_body: Json, before: int) -> httpx2.Response:
        times.append(time.monotonic())
        if before < 2:
            return error(429, "rate_limit_error", "slow down", retry_after="0.2")
        return ok(labelled("yes"))

    _, failure, _ = asked(Server(react))
    assert failure is None
    assert all(later - earlier >= 0.2 for earlier, later in pairwise(times))


def test_no_error_shows_a_key_that_the_server_sent_back() -> None:
    told = f"invalid x-api-key: {KEY}"
    for status, type_ in ((401, "authentication_error"), (500, "api_error")):
        _, failure, _ = asked(Server(answering(error(status, type_, told))))
        chain: list[BaseException] = []
        reached: BaseException | None = failure
        while reached is not None:
            chain.append(reached)
            reached = reached.__cause__ or reached.__context__
        assert chain
        assert KEY not in " ".join(map(repr, chain))


# The table of the SDK's exceptions

DECIDED = {
    "AnthropicError": "permanent",
    "APIError": "permanent",
    "APIResponseValidationError": "transient",
    "APIWebhookValidationError": "permanent",
    "APIStatusError": "permanent",
    "APIConnectionError": "transient",
    "APITimeoutError": "transient",
    "RetryableError": "transient",
    "CredentialsError": "permanent",
    "IdentityTokenFileError": "permanent",
    "BadRequestError": "permanent",
    "AuthenticationError": "permanent",
    "PaymentRequiredError": "permanent",
    "PermissionDeniedError": "permanent",
    "NotFoundError": "permanent",
    "RequestTimeoutError": "transient",
    "ConflictError": "transient",
    "PreconditionFailedError": "permanent",
    "ContentTooLargeError": "permanent",
    "UnprocessableEntityError": "permanent",
    "RateLimitError": "rate_limited",
    "RequestHeaderFieldsTooLargeError": "permanent",
    "ClientClosedRequestError": "transient",
    "InternalServerError": "transient",
    "HTTPNotImplementedError": "permanent",
    "ServiceUnavailableError": "rate_limited",
    "GatewayTimeoutError": "transient",
    "OverloadedError": "rate_limited",
}
"""What each class of the SDK's means. One that is not here has not been thought about."""


def classes() -> dict[str, type[Exception]]:
    return {
        kind.__name__: kind
        for kind in vars(_exceptions).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }


def made(kind: type[Exception]) -> Exception:
    if issubclass(kind, anthropic.APIStatusError):
        status = getattr(kind, "status_code", 500 if "Internal" in kind.__name__ else 418)
        return kind("told", response=httpx2.Response(status, request=REQUEST), body=None)
    if issubclass(kind, anthropic.APIResponseValidationError):
        return kind(httpx2.Response(200, request=REQUEST), None)
    if issubclass(kind, anthropic.APIConnectionError):
        return kind(request=REQUEST)
    if issubclass(kind, anthropic.APIError):
        return kind("told", REQUEST, body=None)
    return kind("told")


def test_every_exception_of_the_sdk_has_been_decided_on() -> None:
    found = {}
    for name, kind in classes().items():
        fault = classify(made(kind))
        assert isinstance(fault, Fault), name
        found[name] = fault.kind
    assert found == DECIDED


@pytest.mark.parametrize(("status", "code"), [c for c in ERROR_CLASSES if c[1] is not None])
def test_every_coded_error_of_the_sdk_goes_by_its_status_and_by_who_must_pay(
    status: int, code: str
) -> None:
    body = {"error": {"type": "api_error", "message": "m", "details": {"error_code": code}}}
    response = httpx2.Response(status, request=REQUEST, headers={"request-id": "req_9"})
    fault = classify(make_status_error("m", body=body, response=response))
    assert fault is not None
    assert fault.request_id == "req_9"
    assert fault.status == status
    pay = "spend_limit_reached" in code or status == 402
    assert (fault.kind == "permanent") == (pay or 400 <= status < 409 or 409 < status < 429)
    assert not pay or "credit" in fault.hint


def test_a_mistake_in_the_transport_stays_one() -> None:
    server = Server(raising(ZeroDivisionError("a bug")))
    (call,) = open_wire(MODEL, server.client()).calls([block_request()])
    with pytest.raises(anthropic.APIConnectionError) as caught:
        call.send()
    assert isinstance(caught.value, Exception)
    assert classify(caught.value) is None
    assert classify(ZeroDivisionError()) is None


def test_a_connection_lost_while_results_are_read_is_worth_another_try() -> None:
    fault = classify(httpx2.ReadError("connection lost"))
    assert fault is not None
    assert fault.kind == "transient"


def test_an_error_type_of_the_wrong_kind_is_no_trouble() -> None:
    body = {"error": {"type": {"odd": 1}, "message": ["m"], "details": {"error_code": 3}}}
    fault = classify(
        make_status_error("m", body=body, response=httpx2.Response(500, request=REQUEST))
    )
    assert fault is not None
    assert fault.kind == "transient"


def test_headers_come_with_what_had_an_answer() -> None:
    response = httpx2.Response(429, request=REQUEST, headers={"Retry-After": "3"})
    failed = make_status_error("m", body=None, response=response)
    assert headers_of(failed) == {"retry-after": "3"}
    assert headers_of(Garbled("half", {"a": "b"})) == {"a": "b"}
    assert headers_of(anthropic.APITimeoutError(REQUEST)) is None
