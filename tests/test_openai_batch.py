"""OpenAI's Batch API asks and tells what single calls do."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from batch_server import BatchServer
from batch_world import (
    ENDPOINT,
    PRICE,
    TEXTS,
    World,
    request,
    truth,
)
from openai import InternalServerError

from elicit.providers.base import (
    ModelError,
    ProviderError,
    ScoreRequest,
    Segment,
)
from elicit.providers.batches import custom_id
from elicit.providers.hosted import Unanswered
from elicit.providers.hosted_settings import Scorer
from elicit.providers.openai import Endpoint, open_wire
from elicit.providers.openai.batch import open_batches
from elicit.providers.openai.replay import Replay, batch_price
from elicit.providers.prices import LongPrompts


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "s.db")


# OpenAI's endpoint


def sent_by(endpoint: Endpoint, scorer: Scorer, asked: ScoreRequest) -> bytes:
    """The body of a single call about a request."""
    bodies: list[bytes] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        bodies.append(request.read())
        return httpx2.Response(500)

    with httpx2.Client(transport=httpx2.MockTransport(handle)) as http:
        (call,) = open_wire(endpoint, scorer, http).calls([asked])
        with pytest.raises(InternalServerError):
            call.send()
    return bodies[0]


TEXT = ScoreRequest((Segment.of("shown\n"), Segment.of("x =")), (" yes", " no"))


@pytest.mark.parametrize(
    ("scorer", "asked", "url"),
    [
        ("chat", request("x"), "/v1/chat/completions"),
        ("samples", request("x", sample=3), "/v1/chat/completions"),
        ("completions", TEXT, "/v1/completions"),
    ],
)
def test_a_line_of_a_batch_asks_what_a_single_call_asks(
    scorer: Scorer, asked: ScoreRequest, url: str
) -> None:
    server = BatchServer()
    endpoint = replace(ENDPOINT, takes_cache_key=True, extra={"service_tier": "flex"})
    with httpx2.Client(transport=httpx2.MockTransport(server.handle)) as http:
        open_batches(open_wire(endpoint, scorer, http)).submit([asked], "a-tag")
    line = json.loads(server.files["file-0"])
    assert line["custom_id"] == custom_id(asked)
    assert (line["method"], line["url"]) == ("POST", url)
    assert line["body"] == json.loads(sent_by(endpoint, scorer, asked))
    assert server.batches[0].metadata == {"elicit": "a-tag"}


def test_the_decisions_endpoint_takes_no_batches() -> None:
    with httpx2.Client() as http, pytest.raises(ModelError, match="run it without, or ask"):
        open_batches(open_wire(ENDPOINT, "decisions", http))


def completed(logprobs: dict[str, Any]) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "length", "text": "y", "logprobs": logprobs}
    usage = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
    body = {"id": "c", "object": "text_completion", "created": 1, "model": "m"}
    return {**body, "choices": [choice], "usage": usage}


def test_labels_that_would_be_asked_about_twice_are_an_error_in_a_batch() -> None:
    told = {" y": -0.1, " n": -3.0, " a": -9.0, " b": -9.5, " c": -10.0}
    body = completed({"tokens": [" y"], "top_logprobs": [told], "token_logprobs": [-0.1]})
    with httpx2.Client() as http:
        replay = Replay(open_wire(ENDPOINT, "completions", http), "completions")
        with pytest.raises(ModelError, match="one token each, or run without batches"):
            replay.reply(TEXT, httpx2.Response(200, json=body))


def test_a_prompt_that_is_too_long_is_told_by_its_item(world: World) -> None:
    world.server.outcome = lambda _count, _id, text: (
        "400 context_length_exceeded" if text[-1] == "b" else "answered"
    )
    with pytest.raises(Unanswered, match=r"'b': the prompt does not fit the model's context"):
        world.run(*TEXTS)
    assert world.seen == truth("a", "c", TEXTS[3])


def test_another_model_in_a_batchs_answers_is_an_error_and_no_score(world: World) -> None:
    world.endpoint = replace(ENDPOINT, revision="gpt-4.1-nano-2026-01-01")
    with pytest.raises(ProviderError, match="answered by gpt"):
        world.run(*TEXTS)
    assert world.seen == {}


def test_the_price_of_a_batch_is_unknown_where_no_table_states_it() -> None:
    assert batch_price(None) is None
    assert batch_price(replace(PRICE, batch=None)) is None
    long = LongPrompts(100, 2.0, 1.0, 2.0, 8.0)
    half = batch_price(replace(PRICE, long=long))
    assert half is not None
    for tokens in (1, 1000):
        of_half, of_whole = (
            partial(
                price.cost,
                input_tokens=tokens,
                cached_tokens=3,
                cache_write_tokens=5,
                output_tokens=7,
            )
            for price in (half, replace(PRICE, long=long))
        )
        assert of_half() == pytest.approx(of_whole(batch=True))
