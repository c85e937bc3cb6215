"""A draw is one call of Anthropic's API, and one label, or nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from anthropic.types import MessageTokensCount, ModelInfo
from anthropic_server import (
    KEY,
    MODEL,
    Json,
    Server,
    bare_request,
    block_request,
    labelled,
    message,
    ok,
    turns_request,
    usage,
)
from hypothesis import given
from hypothesis import strategies as st

from elicit.cache.errors import InputError
from elicit.cache.store import ScoreStore
from elicit.providers.anthropic import AnthropicWire, model_facts, open_wire
from elicit.providers.anthropic.body import THINKING, max_tokens
from elicit.providers.base import (
    ModelError,
    PromptTooLong,
    ProviderError,
    ScoreRequest,
    Segment,
    Usage,
)
from elicit.providers.cached import CachedProvider
from elicit.providers.hosted import HostedProvider, Reply
from elicit.providers.limits import Limiter
from elicit.providers.prices import find_price
from elicit.providers.retry import CallFailed, RetryPolicy
from elicit.providers.sampled import SampledProvider, from_draws, one_draw
from elicit.providers.usage import Meter


def wire(server: Server, model: str = MODEL, **options: Any) -> AnthropicWire:
    return open_wire(model, server.client(), **options)


def sent(server: Server, request: ScoreRequest, **options: Any) -> Reply:
    """What comes of a single request."""
    (call,) = wire(server, **options).calls([request])
    return call.send()


def yes(_body: Json, _before: int) -> httpx2.Response:
    return ok(labelled("yes"))


def marks(value: object) -> int:
    """How many cache marks a body has anywhere."""
    if isinstance(value, dict):
        return ("cache_control" in value) + sum(map(marks, value.values()))
    return sum(map(marks, value)) if isinstance(value, list) else 0


# What is sent


def test_the_model_is_held_to_the_labels_and_told_nothing_of_chance() -> None:
    server = Server(yes)
    sent(server, block_request())
    (body,) = server.bodies
    schema = body["output_config"]["format"]["schema"]
    assert schema["properties"]["label"]["enum"] == ["no", "yes"]
    assert schema["required"] == ["label"]
    assert schema["additionalProperties"] is False
    assert body["thinking"] == {"type": "disabled"}
    assert body["messages"][-1]["role"] == "user"
    assert not {"temperature", "top_p", "top_k"} & body.keys()


def test_draws_of_one_prompt_send_the_same_body() -> None:
    server = Server(yes)
    for sample in range(3):
        sent(server, block_request(sample=sample))
    assert server.bodies[0] == server.bodies[1] == server.bodies[2]


def test_in_a_block_the_cache_mark_stands_between_demonstrations_and_item() -> None:
    server = Server(yes)
    sent(server, block_request())
    (body,) = server.bodies
    assert body["system"] == [{"type": "text", "text": "Answer with one of: no, yes"}]
    shown, item = body["messages"][0]["content"]
    assert shown["text"] == "Iron is a plant. no\n\nFern is a plant. yes\n\n"
    assert shown["cache_control"] == {"type": "ephemeral"}
    assert item == {"type": "text", "text": "Moss is a plant."}
    assert marks(body) == 1


def test_in_turns_the_cache_mark_stands_on_the_last_answer_before_the_item() -> None:
    server = Server(yes)
    sent(server, turns_request())
    (body,) = server.bodies
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][1]["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert marks(body) == 1


def test_without_demonstrations_the_instruction_is_what_is_shared() -> None:
    server = Server(yes)
    request = block_request()
    sent(server, ScoreRequest((request.prompt[0], request.prompt[-1]), request.labels))
    assert server.bodies[0]["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert marks(server.bodies[0]) == 1


def test_where_nothing_is_shared_nothing_is_marked() -> None:
    server = Server(yes)
    sent(server, bare_request())
    assert marks(server.bodies[0]) == 0
    assert "system" not in server.bodies[0]


def test_only_prompts_with_equal_demonstrations_and_labels_share_a_prefix() -> None:
    one, other, bare = block_request("a"), block_request("b"), bare_request()
    more = ScoreRequest(one.prompt, ("no", "yes", "maybe"))
    prefixes = [call.prefix for call in wire(Server(yes)).calls([one, other, bare, more])]
    assert prefixes[0] == prefixes[1] is not None
    assert prefixes[2] is None
    assert prefixes[3] not in prefixes[:3]


def test_an_instruction_within_a_chat_stays_in_its_place() -> None:
    server = Server(yes)
    opening, question, answer, item = turns_request().prompt
    within = Segment.of("From here on, in earnest.", "system")
    sent(server, ScoreRequest((opening, question, answer, within, item), ("no", "yes")))
    roles = [turn["role"] for turn in server.bodies[0]["messages"]]
    assert roles == ["user", "assistant", "system", "user"]
    assert marks(server.bodies[0]) == 1


def test_a_plain_text_prompt_is_refused_before_anything_is_sent() -> None:
    server = Server(yes)
    with pytest.raises(ModelError, match="chat"):
        sent(server, ScoreRequest((Segment.of("Moss is "),), ("no", "yes")))
    assert not server.bodies


def test_half_of_a_surrogate_pair_is_named_with_its_item() -> None:
    server = Server(yes)
    with pytest.raises(InputError, match="surrogate"):
        sent(server, bare_request("moss \ud83c"))
    assert not server.bodies


@given(st.lists(st.text(min_size=1), min_size=1, unique=True))
def test_an_answer_always_fits_its_bound_of_tokens(labels: list[str]) -> None:
    bound = max_tokens(labels)
    assert all(len(json.dumps({"label": label})) < bound for label in labels)


def test_a_model_that_always_thinks_is_not_told_otherwise_and_has_room_to() -> None:
    server = Server(lambda *_: ok(labelled("yes", thought="Moss is green.")))
    reply = sent(server, block_request(), can_skip_thinking=False)
    assert "thinking" not in server.bodies[0]
    assert server.bodies[0]["max_tokens"] > THINKING
    assert reply.scores == ((0, one_draw(1, 2)),)


def test_the_environment_adds_no_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "anthropic-beta: something")
    with pytest.raises(ModelError, match="ANTHROPIC_CUSTOM_HEADERS"):
        wire(Server(yes))


def test_keys_and_addresses_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-another")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token-another")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
    server = Server(yes)
    sent(server, block_request())
    (request,) = server.requests
    assert request.url == "https://api.anthropic.com/v1/messages"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert "another" not in str(request.headers)


# What comes back


def test_a_label_is_one_draw_with_its_headers() -> None:
    reply = sent(Server(lambda *_: ok(labelled("no"), retry="1")), block_request())
    assert reply.scores == ((0, one_draw(0, 2)),)
    assert reply.headers["request-id"] == "req_7"
    assert reply.scores[0][1].evidence == "sampled"
    assert reply.scores[0][1].samples == 1


@given(st.lists(st.text(min_size=1), min_size=1, max_size=6, unique=True), st.data())
def test_whatever_a_label_is_made_of_it_is_recognised(
    labels: list[str], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(labels) - 1))
    request = ScoreRequest((Segment.of("x", "user"),), tuple(labels))
    reply = sent(Server(lambda *_: ok(labelled(labels[place]))), request)
    assert reply.scores == ((0, one_draw(place, len(labels))),)


def test_tokens_are_billed_by_how_they_were_read() -> None:
    price = find_price("anthropic", MODEL)
    assert price is not None
    used = usage(fresh=20, written=1000, read=3000, output=7)
    reply = sent(
        Server(lambda *_: ok(labelled("yes", used=used))), block_request(), price=price
    )
    cost = price.cost(
        input_tokens=20, cached_tokens=3000, cache_write_tokens=1000, output_tokens=7
    )
    assert reply.usage == Usage(
        requests=1,
        forwarded_tokens=1027,
        prompt_tokens=4020,
        cost_usd=cost,
        calls=1,
        cache_read_tokens=3000,
        cache_write_tokens=1000,
        output_tokens=7,
    )


def test_without_a_price_the_call_says_so() -> None:
    reply = sent(Server(yes), block_request())
    assert reply.usage.cost_usd is None
    assert reply.usage.unpriced_calls == 1


def test_a_call_takes_no_more_than_it_was_expected_to() -> None:
    price = find_price("anthropic", MODEL)
    (call,) = wire(Server(yes), price=price).calls([block_request()])
    took = call.send().usage
    assert took.cost_usd is not None
    assert call.expected.cost_usd is not None
    assert took.cost_usd <= call.expected.cost_usd
    assert took.spent_tokens <= call.expected.spent_tokens
    assert call.expected.calls == 1


def test_expected_tokens_are_learnt_from_the_answers() -> None:
    opened = wire(Server(lambda *_: ok(labelled("yes", used=usage(fresh=700)))))
    (call,) = opened.calls([block_request()])
    call.send()
    (later,) = opened.calls([block_request()])
    assert later.expected.prompt_tokens == pytest.approx(700, abs=2)


def test_a_refusal_is_told_in_its_own_words_and_is_no_score() -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "too dangerous"}
    refused = message("", stop_reason="refusal", stop_details=details)
    reply = sent(Server(lambda *_: ok(refused)), block_request())
    assert reply.scores == ()
    ((index, why),) = reply.unanswered
    assert index == 0
    assert "Moss is a plant." in why
    assert "bio: too dangerous" in why
    assert reply.usage.output_tokens == 7


def test_an_answer_that_was_cut_off_is_no_score_and_was_paid_for() -> None:
    cut = message('{"label": "ye', stop_reason="max_tokens")
    reply = sent(Server(lambda *_: ok(cut)), block_request())
    assert reply.scores == ()
    assert "cut off" in reply.unanswered[0][1]
    assert reply.usage.requests == 1


def test_a_context_that_ends_names_the_item() -> None:
    over = message("", stop_reason="model_context_window_exceeded")
    with pytest.raises(PromptTooLong, match="Moss is a plant"):
        sent(Server(lambda *_: ok(over)), block_request())


# Which model answered


def test_an_alias_is_held_to_the_snapshot_that_answered_first() -> None:
    names = [
        "claude-haiku-4-5-20251001",
        "claude-haiku-4-5-20251001",
        "claude-haiku-4-5-20260202",
    ]
    server = Server(lambda _, before: ok(labelled("yes", model=names[before])))
    opened = wire(server, "claude-haiku-4-5")
    first, second, third = opened.calls([block_request()] * 3)
    first.send()
    second.send()
    with pytest.raises(ProviderError, match=r"20260202.*start a new run"):
        third.send()


@pytest.mark.parametrize("other", ["claude-haiku-4-5-20260202", "claude-opus-5"])
def test_another_model_than_the_known_snapshot_is_an_error(other: str) -> None:
    server = Server(lambda *_: ok(labelled("yes", model=other)))
    opened = wire(server, "claude-haiku-4-5", revision="claude-haiku-4-5-20251001")
    (call,) = opened.calls([block_request()])
    with pytest.raises(ProviderError, match=r"with the same --model\) and start a new run"):
        call.send()


def test_the_identity_tells_apart_all_that_changes_a_draw() -> None:
    server = Server(yes)
    kinds: list[dict[str, Any]] = [
        {},
        {"revision": "claude-sonnet-5-5-20261001"},
        {"can_skip_thinking": False},
        {"base_url": "https://example.org"},
    ]
    digests = {wire(server, **options).identity.digest() for options in kinds}
    assert len(digests) == len(kinds)
    assert wire(server, samples=4).identity == wire(server, samples=8).identity


def test_fewer_than_one_draw_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1 draw"):
        wire(Server(yes), samples=0)


# Through the store


def tossing(p_yes: Sequence[str]) -> Server:
    return Server(lambda _, before: ok(labelled(p_yes[before % len(p_yes)])))


def stacked(server: Server, store: ScoreStore, samples: int) -> Meter:
    opened = wire(server, samples=samples)
    hosted = HostedProvider(
        f"anthropic:{MODEL}", opened, Limiter(max_concurrency=8), RetryPolicy(first_wait=0.0)
    )
    return Meter(SampledProvider(CachedProvider(hosted, store)))


def test_more_draws_extend_those_that_are_stored(tmp_path: Path) -> None:
    items = [block_request("a"), block_request("b")]
    server = tossing(["yes", "no", "yes"])
    with ScoreStore(tmp_path / "s.db") as store:
        few = stacked(server, store, 4)
        first = dict(pair for unit in few.score(items) for pair in unit.scores)
        assert len(server.bodies) == 8
        more = stacked(server, store, 8)
        second = dict(pair for unit in more.score(items) for pair in unit.scores)
        assert len(server.bodies) == 16
        assert more.usage.requests == 8
        assert more.usage.cached == 8
        again = stacked(server, store, 8)
        third = dict(pair for unit in again.score(items) for pair in unit.scores)
    assert len(server.bodies) == 16
    assert third == second
    assert {scores.samples for scores in first.values()} == {4}
    assert {scores.samples for scores in second.values()} == {8}


def test_the_estimate_is_that_of_the_labels_the_server_gave(tmp_path: Path) -> None:
    server = tossing(["yes", "yes", "no", "yes"])
    with ScoreStore(tmp_path / "s.db") as store:
        meter = stacked(server, store, 4)
        ((_, scores),) = [p for unit in meter.score([block_request()]) for p in unit.scores]
    draws = [one_draw(label, 2) for label in (1, 1, 0, 1)]
    assert scores.log_probs == pytest.approx(from_draws(draws).log_probs)


def test_the_first_call_of_a_context_is_answered_before_the_others_are_sent(
    tmp_path: Path,
) -> None:
    answered: list[int] = []
    seen: list[int] = []

    def react(_body: Json, before: int) -> httpx2.Response:
        seen.append(len(answered))
        answered.append(before)
        return ok(labelled("yes"))

    with ScoreStore(tmp_path / "s.db") as store:
        list(stacked(Server(react), store, 8).score([block_request("a"), block_request("b")]))
    assert seen[0] == 0
    assert min(seen[1:]) >= 1


# Counting


def test_prompts_are_counted_by_the_server_thrice_and_then_by_their_length() -> None:
    def react(body: Json, _before: int) -> httpx2.Response:
        assert "max_tokens" not in body
        counted = {"input_tokens": 2 * len(body["messages"][0]["content"][0]["text"])}
        MessageTokensCount.model_validate(counted)
        return ok(counted)

    server = Server(react)
    opened = wire(server)
    requests = [bare_request("x" * n) for n in range(10, 60)]
    counted = opened.count_tokens(requests)
    assert counted is not None
    assert np.abs(np.array(counted) - 2 * np.arange(10, 60)).max() <= 1
    opened.count_tokens(requests)
    assert len(server.bodies) == 3
    assert {request.url.path for request in server.requests} == {"/v1/messages/count_tokens"}


@pytest.mark.parametrize(
    "reply", [httpx2.Response(503, json={}), httpx2.Response(200, text="<html>")]
)
def test_tokens_that_can_not_be_counted_are_unknown_and_not_asked_for_again(
    reply: httpx2.Response,
) -> None:
    server = Server(
        lambda *_: httpx2.Response(
            reply.status_code, headers=reply.headers, content=reply.content
        )
    )
    opened = wire(server)
    assert opened.count_tokens([bare_request()]) is None
    for _ in range(5):
        assert opened.count_tokens([bare_request("a"), bare_request("bb")]) is None
    assert len(server.bodies) == 3


def test_a_mistake_while_counting_is_not_taken_for_the_server_s() -> None:
    server = Server(yes)
    with pytest.raises(ModelError, match="chat"):
        wire(server).count_tokens([ScoreRequest((Segment.of("Moss is "),), ("no", "yes"))])
    unsendable = bare_request("moss \ud83c")
    with pytest.raises(InputError, match="surrogate"):
        wire(server).count_tokens([unsendable])


def test_a_closed_wire_can_be_closed_again() -> None:
    opened = wire(Server(yes))
    opened.close()
    opened.close()


# What the API says about a model


def about(**more: object) -> Json:
    supported: Json = {"supported": True}
    info: Json = {
        "id": "claude-haiku-4-5-20251001",
        "type": "model",
        "display_name": "Claude Haiku 4.5",
        "created_at": "2025-10-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "capabilities": {
            "batch": supported,
            "structured_outputs": supported,
            "thinking": {"supported": True, "types": {"disabled": supported}},
        },
        **more,
    }
    ModelInfo.model_validate({**info, "capabilities": None})
    return info


def test_facts_name_the_snapshot_and_the_context() -> None:
    facts = model_facts(Server(lambda *_: ok(about())).client(), "claude-haiku-4-5")
    assert facts.revision == "claude-haiku-4-5-20251001"
    assert facts.context_tokens == 200_000
    assert facts.structured_outputs is facts.can_skip_thinking is True
    assert facts.warnings == ()


def test_a_model_that_goes_away_is_warned_of_with_its_day() -> None:
    leaving = about(
        lifecycle="deprecated",
        deprecated_at="2026-11-01T00:00:00Z",
        retires_at="2027-02-01T00:30:00+02:00",
    )
    facts = model_facts(Server(lambda *_: ok(leaving)).client(), "claude-haiku-4-5")
    assert facts.retires_at == date(2027, 1, 31)
    assert "retires on 2027-01-31" in facts.warnings[0]


def test_a_model_that_can_not_be_held_to_labels_is_warned_of() -> None:
    no = {"supported": False}
    old = about(
        capabilities={"structured_outputs": no, "thinking": {"types": {"disabled": no}}}
    )
    facts = model_facts(Server(lambda *_: ok(old)).client(), "claude-haiku-4-5")
    assert len(facts.warnings) == 2


def test_facts_that_are_not_told_are_unknown() -> None:
    bare = about(capabilities=None, max_input_tokens=None, max_tokens=None)
    facts = model_facts(Server(lambda *_: ok(bare)).client(), "claude-haiku-4-5")
    assert facts.context_tokens is facts.structured_outputs is facts.can_skip_thinking is None
    assert facts.warnings == ()


def test_a_page_is_no_fact() -> None:
    page = httpx2.Response(200, text="<html>")
    with pytest.raises(CallFailed, match="about no model"):
        model_facts(
            Server(lambda *_: page).client(), "claude-haiku-4-5", policy=RetryPolicy(attempts=1)
        )


def test_a_retired_model_is_warned_of() -> None:
    facts = model_facts(Server(lambda *_: ok(about(lifecycle="retired"))).client(), "claude-2")
    assert "retired" in facts.warnings[0]


def test_a_model_that_does_not_exist_is_bad_input() -> None:
    gone = httpx2.Response(
        404, json={"type": "error", "error": {"type": "not_found_error", "message": "no gpt"}}
    )
    with pytest.raises(ModelError, match="no gpt"):
        model_facts(Server(lambda *_: gone).client(), "gpt")
