"""OpenAI's Batch API asks and tells what single calls do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx2
import pytest
from batch_server import BatchServer
from batch_world import (
    ENDPOINT,
    ONE,
    PRICE,
    TEXTS,
    World,
    request,
    truth,
)
from openai import InternalServerError

from elicit.cache.batches import Batches
from elicit.cache.errors import ElicitError
from elicit.cache.store import ScoreStore
from elicit.providers.base import (
    ModelError,
    ProviderError,
    ScoreRequest,
    Segment,
)
from elicit.providers.batched import BatchedProvider
from elicit.providers.batches import custom_id
from elicit.providers.cached import CachedProvider
from elicit.providers.hosted import HostedProvider, Unanswered
from elicit.providers.hosted_settings import Scorer
from elicit.providers.limits import Limiter
from elicit.providers.openai import Endpoint, open_wire
from elicit.providers.openai.batch import open_batches
from elicit.providers.openai.replay import batch_price
from elicit.providers.prices import LongPrompts
from elicit.providers.submission import Patience
from elicit.providers.usage import Account, Limits


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


# Labels of several tokens

ONE_TOKEN = {" yes": -0.5, " no": -1.5, " a": -9.0, " b": -9.5, " c": -10.0}
HALVES = {" y": -0.1, " no": -3.0, " a": -9.0, " b": -9.5, " c": -10.0}


def halved(prompt: str, *items: str) -> dict[str, float]:
    """What comes after a prompt, where `yes` has two tokens after those items."""
    if prompt.endswith(" y"):
        return {"es": -0.2, "ep": -2.0, " a": -9.0, " b": -9.5, " c": -10.0}
    return HALVES if prompt[-1] in items else ONE_TOKEN


def texts(items: str) -> list[ScoreRequest]:
    return [
        ScoreRequest((Segment.of("shown\n"), Segment.of(f"x = {item}")), (" yes", " no"))
        for item in items
    ]


@contextmanager
def by_completions(
    server: BatchServer, path: Path, sleep: Callable[[float], None] | None = None
) -> Iterator[CachedProvider]:
    with (
        ScoreStore(path) as store,
        httpx2.Client(transport=httpx2.MockTransport(server.handle)) as http,
    ):
        wire = open_wire(ENDPOINT, "completions", http)
        hosted = HostedProvider("openai:gpt-4.1-nano", wire, Limiter())
        patience = Patience(sleep=sleep or server.sleep)
        batched = BatchedProvider(hosted, open_batches(wire), Batches(store), patience=patience)
        yield CachedProvider(batched, store)


def read(provider: CachedProvider, items: str, budget: Account) -> dict[str, tuple[float, ...]]:
    found: dict[str, tuple[float, ...]] = {}
    try:
        for unit in provider.score(texts(items), budget):
            found |= {items[i]: scores.log_probs for i, scores in unit.scores}
    except ElicitError:
        pass
    return found


def test_a_label_set_is_tried_on_one_request_whose_score_is_used(tmp_path: Path) -> None:
    server, budget = BatchServer(complete=lambda _prompt: ONE_TOKEN), Account()
    with by_completions(server, tmp_path / "s.db") as provider:
        assert set(read(provider, "abc", budget)) == set("abc")
        assert set(read(provider, "de", budget)) == set("de")
    assert server.singly == ["shown\nx = a"], "once for the label set"
    ids = [custom_id(asked) for asked in texts("bcde")]
    assert server.billed == dict.fromkeys(ids, 1)
    assert budget.spent.calls == 5
    assert budget.spent.cost_usd == pytest.approx(2 * ONE + 4 * ONE)


def test_labels_of_several_tokens_are_refused_before_anything_is_submitted(
    tmp_path: Path,
) -> None:
    server = BatchServer(complete=lambda prompt: halved(prompt, *"abc"))
    with by_completions(server, tmp_path / "s.db") as provider:
        with pytest.raises(ModelError, match=r"one token each, or run without --batch"):
            list(provider.score(texts("abc")))
        assert (server.batches, server.files) == ([], {})
        assert server.singly == ["shown\nx = a", "shown\nx = a y"]
        ((_, kept),) = next(provider.score(texts("a"))).scores
        assert kept.log_probs[0] == pytest.approx(-0.3), "what was paid for is a score"
    assert World(tmp_path / "s.db").rows() == []


def test_a_request_that_a_batch_can_not_tell_is_unanswered_and_the_others_are_kept(
    tmp_path: Path,
) -> None:
    server, budget = BatchServer(complete=lambda prompt: halved(prompt, "c")), Account()
    with by_completions(server, tmp_path / "s.db") as provider:
        with pytest.raises(Unanswered, match=r"1 of 4 prompts: 'x = c': the labels .*several"):
            list(provider.score(texts("abcd"), budget))
        assert set(read(provider, "abd", Account(Limits(calls=0)))) == set("abd")
    assert World(tmp_path / "s.db").rows() == [("done", 3, 0)]
    assert budget.spent.cost_usd == pytest.approx(2 * ONE + 3 * ONE), "all were billed"


def test_a_recorded_batch_is_read_before_its_labels_are_refused(tmp_path: Path) -> None:
    server = BatchServer(complete=lambda _prompt: ONE_TOKEN)
    with (
        by_completions(server, tmp_path / "s.db", sleep=interrupted) as provider,
        pytest.raises(KeyboardInterrupt),
    ):
        list(provider.score(texts("ab")))
    server.complete = lambda prompt: halved(prompt, "c")
    with by_completions(server, tmp_path / "s.db") as provider:
        with pytest.raises(ModelError, match="several tokens"):
            list(provider.score(texts("abcd")))
        assert set(read(provider, "abc", Account(Limits(calls=0)))) == set("abc")
    assert len(server.batches) == 1


def interrupted(_seconds: float) -> None:
    raise KeyboardInterrupt


def test_by_chat_no_request_is_asked_outside_its_batch(world: World) -> None:
    world.run(*TEXTS)
    assert world.server.singly == []


def test_what_another_model_answered_hides_no_other_answer(world: World) -> None:
    world.endpoint = replace(ENDPOINT, revision="gpt-4.1-nano-2025-04-14")

    def send(request: httpx2.Request) -> httpx2.Response:
        response = world.server.handle(request)
        if request.url.path.endswith("/content"):
            other = response.content.replace(b"nano-2025-04-14", b"nano-2026-01-01", 1)
            return httpx2.Response(200, content=other)
        return response

    world.send = send
    with pytest.raises(ProviderError, match=r"answered by gpt-4\.1-nano-2026"):
        world.run(*TEXTS)
    assert len(world.seen) == 3
    assert world.rows() == [("submitted", 4, 4)], "its answer is there still, and paid for"


def test_a_number_that_json_lacks_is_an_answer_of_no_use(world: World) -> None:
    spoilt = iter([True])

    def send(request: httpx2.Request) -> httpx2.Response:
        response = world.server.handle(request)
        if request.url.path.endswith("/content") and next(spoilt, False):
            nan = re.sub(rb'"logprob": -[0-9.]+', b'"logprob": NaN', response.content, count=2)
            return httpx2.Response(200, content=nan)
        return response

    world.send = send
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert [requests for _, requests, _ in world.rows()] == [4, 1]


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
