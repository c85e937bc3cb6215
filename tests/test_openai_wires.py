"""Each way to ask a server of OpenAI's wire format: what is sent, and what comes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai_server import (
    KEY,
    MODEL,
    Json,
    Server,
    answer,
    block_request,
    choice,
    completion,
    decision,
    entry,
    error,
    ok,
    position,
    refused,
    text_request,
    turns_request,
    usage,
)

from elicit.cache.errors import InputError
from elicit.providers.base import (
    LabelScores,
    ModelError,
    PromptTooLong,
    ProviderError,
    ScoreRequest,
    Segment,
    Usage,
)
from elicit.providers.hosted import HostedProvider, Reply, Unanswered
from elicit.providers.hosted_settings import Scorer
from elicit.providers.openai import Endpoint
from elicit.providers.openai.endpoint import identity
from elicit.providers.prices import find_price
from elicit.providers.retry import CallFailed
from elicit.providers.sampled import SampledProvider, one_draw
from elicit.providers.usage import Account, BudgetReached, Limits, Meter

SCORERS: Sequence[Scorer] = ("decisions", "chat", "completions", "samples")
YES_NO = {" yes": math.log(0.7), " no": math.log(0.2), "\n": math.log(0.1)}
CHAT = {"yes": math.log(0.7), "no": math.log(0.2999), "No": math.log(0.0001)}


def a_request(scorer: Scorer, item: str = "Moss is a plant") -> ScoreRequest:
    return text_request(item) if scorer == "completions" else block_request(item)


def an_answer(scorer: Scorer, **more: Any) -> Json:
    if scorer == "completions":
        return completion(YES_NO, **more)
    if scorer == "chat":
        return answer([position(CHAT, "yes")], **more)
    if scorer == "samples":
        return answer(None, text='{"label": "yes"}', **more)
    return decision([choice(0, {"yes": 0.7, "no": 0.3})], **more)


def sent(server: Server, scorer: Scorer, request: ScoreRequest, **facts: Any) -> Reply:
    """What comes of a single request."""
    (call,) = server.wire(scorer, **facts).calls([request])
    return call.send()


def the_scores(reply: Reply) -> LabelScores:
    ((_, scores),) = reply.scores
    return scores


def scored(provider: HostedProvider, requests: Sequence[ScoreRequest]) -> list[LabelScores]:
    found = dict(pair for unit in provider.score(requests) for pair in unit.scores)
    return [found[index] for index in range(len(requests))]


# Completions


def test_a_text_is_sent_without_the_space_that_belongs_to_the_label() -> None:
    server = Server(lambda *_: ok(completion(YES_NO)))
    request = text_request("Moss is a plant: ", ("yes", "no"))
    scores = the_scores(sent(server, "completions", request))
    (body,) = server.bodies
    assert body["prompt"].endswith("Fern is a plant: yes\nMoss is a plant:")
    assert scores.log_probs == pytest.approx((math.log(0.7), math.log(0.2)))
    assert scores.evidence == "top_k"
    assert scores.bounded == ()


def test_one_token_is_asked_for_and_nothing_that_would_alter_its_probabilities() -> None:
    server = Server(lambda *_: ok(completion(YES_NO)))
    sent(server, "completions", text_request(), completions_k=3, extra={"seed": 7})
    (body,) = server.bodies
    del body["prompt"]
    assert body == {
        "model": MODEL,
        "max_tokens": 1,
        "logprobs": 3,
        "temperature": 1.0,
        "top_p": 1.0,
        "seed": 7,
    }


@pytest.mark.parametrize("drawn", YES_NO)
def test_what_token_is_drawn_changes_no_score(drawn: str) -> None:
    reply = sent(
        Server(lambda *_: ok(completion(YES_NO, drawn))), "completions", text_request()
    )
    assert the_scores(reply).log_probs == pytest.approx((math.log(0.7), math.log(0.2)))


def several_tokens(body: Json, _before: int) -> httpx2.Response:
    if body["prompt"].endswith(" very"):
        return ok(completion({" good": math.log(0.8), " bad": math.log(0.2)}))
    return ok(completion({" very": math.log(0.6), " fair": math.log(0.4)}))


def test_labels_of_several_tokens_are_asked_on_and_each_call_is_counted() -> None:
    server = Server(several_tokens)
    labels = (" very good", " very bad", " fair")
    meter = Meter(server.provider("completions"))
    ((_, scores),) = [
        pair for unit in meter.score([text_request(labels=labels)]) for pair in unit.scores
    ]
    assert [math.exp(v) for v in scores.log_probs] == pytest.approx([0.48, 0.12, 0.4])
    assert scores.bounded == ()
    assert len(server.bodies) == 2
    assert meter.usage.calls == 2
    assert meter.usage.requests == 1
    assert meter.usage.prompt_tokens == 40


def test_labels_of_one_token_take_one_call() -> None:
    server = Server(lambda *_: ok(completion(YES_NO)))
    sent(server, "completions", text_request())
    assert len(server.bodies) == 1


def test_what_was_answered_is_not_asked_again_when_a_further_call_fails() -> None:
    def react(body: Json, before: int) -> httpx2.Response:
        if before == 1:
            return error(500, "oh no")
        return several_tokens(body, before)

    server = Server(react)
    labels = (" very good", " very bad", " fair")
    meter = Meter(server.provider("completions"))
    list(meter.score([text_request(labels=labels)]))
    assert [body["prompt"].endswith(" very") for body in server.bodies] == [False, True, True]
    assert meter.usage.calls == 3
    assert meter.usage.prompt_tokens == 40


def test_what_was_answered_is_paid_for_when_a_further_call_never_is() -> None:
    def react(body: Json, before: int) -> httpx2.Response:
        return several_tokens(body, before) if before == 0 else error(500, "oh no")

    meter = Meter(Server(react).provider("completions"))
    with pytest.raises(CallFailed):
        list(meter.score([text_request(labels=(" very good", " very bad", " fair"))]))
    assert (meter.usage.calls, meter.usage.prompt_tokens) == (4, 20)


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_no_further_call_passes_a_bound_of_requests(most: int) -> None:
    server = Server(several_tokens)
    budget = Account(Limits(calls=most))
    requests = [
        text_request(f"Item {i}:", (" very good", " very bad", " fair")) for i in range(4)
    ]
    with pytest.raises(BudgetReached):
        list(server.provider("completions").score(requests, budget))
    assert len(server.bodies) <= most


def test_further_calls_are_expected_once_they_have_been_needed() -> None:
    wire = Server(several_tokens).wire("completions")
    request = text_request(labels=(" very good", " very bad", " fair"))
    (first,) = wire.calls([request])
    first.send()
    (later,) = wire.calls([request])
    assert (first.expected.calls, later.expected.calls) == (1, 2)
    assert later.expected.requests == 1


def test_a_bound_above_a_number_is_asked_on_until_it_is_none() -> None:
    def react(body: Json, _before: int) -> httpx2.Response:
        if body["prompt"].endswith(" str"):
            return ok(completion({"ange": math.log(0.9), "ong": math.log(0.1)}))
        return ok(completion({" str": math.log(0.5), " yes": math.log(0.3)}))

    server = Server(react)
    (scores,) = scored(
        server.provider("completions"), [text_request(labels=(" strong", " yes"))]
    )
    assert len(server.bodies) == 2
    assert scores.log_probs[1] == pytest.approx(math.log(0.3))
    assert scores.log_probs[0] < scores.log_probs[1]


def test_tokens_are_asked_for_by_id_where_their_ids_are_known() -> None:
    likeliest = {"token_id:11": -0.1, "token_id:12": -12.5, "token_id:3": -3.0}
    server = Server(lambda *_: ok(completion(likeliest, text=" yes")))
    ids = {" yes": 11, " no": 12}
    scores = the_scores(sent(server, "completions", text_request(), label_token_ids=ids))
    assert server.bodies[0]["logprob_token_ids"] == [11, 12]
    assert server.bodies[0]["return_tokens_as_token_ids"] is True
    assert scores.log_probs == (-0.1, -12.5)


def test_a_chat_prompt_is_refused_before_anything_is_sent() -> None:
    server = Server(lambda *_: ok(completion(YES_NO)))
    with pytest.raises(ModelError, match="chat prompt"):
        sent(server, "completions", block_request())
    assert not server.bodies


# Chat


def test_both_spellings_of_an_answer_count() -> None:
    likeliest = {"yes": math.log(0.5), " yes": math.log(0.2), "no": math.log(0.29999)}
    server = Server(lambda *_: ok(answer([position(likeliest, "no")])))
    scores = the_scores(sent(server, "chat", block_request()))
    assert math.exp(scores.log_probs[0]) == pytest.approx(0.7)
    assert math.exp(scores.log_probs[1]) == pytest.approx(0.29999)
    assert scores.bounded == ()


def test_a_chat_is_sent_as_messages_with_room_for_a_label() -> None:
    server = Server(lambda *_: ok(answer([position(CHAT, "yes")])))
    sent(server, "chat", block_request(), chat_k=7)
    (body,) = server.bodies
    assert body == {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "Answer with one of: yes, no"},
            {
                "role": "user",
                "content": "Iron is a plant. no\n\nFern is a plant. yes\n\nMoss is a plant.",
            },
        ],
        "logprobs": True,
        "top_logprobs": 7,
        "temperature": 1.0,
        "top_p": 1.0,
        "max_completion_tokens": 1,
    }


def test_servers_are_asked_in_their_own_dialect() -> None:
    server = Server(lambda *_: ok(answer([position(CHAT, "yes")])))
    extra = {"provider": {"require_parameters": True}}
    facts: Json = {
        "count_in_logprobs": True,
        "length_field": "max_tokens",
        "takes_cache_key": True,
        "extra": extra,
    }
    sent(server, "chat", block_request(), **facts)
    (body,) = server.bodies
    assert body["logprobs"] == 20
    assert "top_logprobs" not in body
    assert body["max_tokens"] == 1
    assert "max_completion_tokens" not in body
    assert 1 <= len(body["prompt_cache_key"]) <= 64
    assert body["provider"] == extra["provider"]


def test_the_models_own_answer_tells_a_label_of_several_tokens() -> None:
    first = position({"strong": math.log(0.9), "weak": math.log(0.1)}, "strong")
    second = position({" yes": math.log(0.75), " no": math.log(0.25)}, " yes")
    server = Server(lambda *_: ok(answer([first, second])))
    labels = ("strong yes", "strong no", "weak", "weak point")
    scores = the_scores(sent(server, "chat", block_request(labels=labels)))
    told = [math.exp(value) for value in scores.log_probs]
    assert told == pytest.approx([0.675, 0.225, 0.1, 0.1], abs=1e-4)
    assert scores.bounded == (3,)


def test_what_is_not_known_of_a_label_does_not_outvote_what_is_known_of_another() -> None:
    first = position({"strong": math.log(0.9), "weak": math.log(0.1)}, "weak")
    server = Server(lambda *_: ok(answer([first])))
    reply = sent(server, "chat", block_request(labels=("strong yes", "weak")))
    assert reply.scores == ()
    ((_, why),) = reply.unanswered
    assert "label 'strong yes' begins with the common token 'strong'" in why
    assert "differ from other answers at their first token, or ?scorer=samples" in why


def test_a_model_that_thinks_first_is_told_from_one_that_ended_early() -> None:
    server = Server(lambda *_: ok(answer(None, text="", finish_reason="length")))
    with pytest.raises(ModelError, match=r"thinks before it answers.*\?scorer=samples"):
        list(server.provider("chat").score([block_request()]))
    assert len(server.bodies) == 1


def test_log_probabilities_in_the_form_of_completions_are_read_too() -> None:
    made = answer(None, text="yes")
    made["choices"][0]["logprobs"] = completion(CHAT)["choices"][0]["logprobs"]
    scores = the_scores(sent(Server(lambda *_: ok(made)), "chat", block_request()))
    assert scores.log_probs == pytest.approx((math.log(0.7), math.log(0.2999)))


def test_a_plain_prompt_is_refused_before_anything_is_sent() -> None:
    server = Server(lambda *_: ok(answer([position(CHAT, "yes")])))
    with pytest.raises(ModelError, match="plain text prompt"):
        sent(server, "chat", text_request())
    assert not server.bodies


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (answer(None, refusal="I can't say."), "declined to answer.*I can't say"),
        (answer(None, text="", finish_reason="content_filter"), "content filter"),
    ],
)
def test_what_the_model_declines_is_told_and_is_no_score(reply: Json, why: str) -> None:
    server = Server(lambda *_: ok(reply))
    with pytest.raises(Unanswered, match=f"Moss is a plant.*{why}"):
        list(server.provider("chat").score([block_request()]))
    assert len(server.bodies) == 1


def test_where_no_label_is_likely_the_reason_names_coverage_and_mend() -> None:
    likeliest = {"Maybe": math.log(0.9), "I": math.log(0.099)}
    reply = sent(
        Server(lambda *_: ok(answer([position(likeliest, "I")]))), "chat", block_request()
    )
    assert reply.scores == ()
    ((_, why),) = reply.unanswered
    assert "coverage of 0.002 at most" in why
    assert "Moss is a plant" in why


def test_a_server_without_log_probabilities_is_bad_input_and_is_not_asked_again() -> None:
    server = Server(lambda *_: ok(answer(None, text="yes")))
    with pytest.raises(ModelError, match="without log-probabilities"):
        list(server.provider("chat").score([block_request()]))
    assert len(server.bodies) == 1


def test_an_answer_that_ends_before_it_begins_is_drawn_again() -> None:
    def react(_body: Json, before: int) -> httpx2.Response:
        return ok(answer([position(CHAT, "yes")]) if before else answer(None, text=""))

    server = Server(react)
    (scores,) = scored(server.provider("chat"), [block_request()])
    assert scores.log_probs[0] == pytest.approx(math.log(0.7))
    assert len(server.bodies) == 2


# Decisions


def deciding(p_yes: float) -> Any:
    def react(body: Json, _before: int) -> httpx2.Response:
        probabilities = {"yes": p_yes, "no": round(1 - p_yes, 6)}
        return ok(decision([choice(i, probabilities) for i in range(len(body["questions"]))]))

    return react


def test_items_of_one_context_share_a_call() -> None:
    server = Server(deciding(0.75))
    provider = server.provider("decisions")
    requests = [block_request(f"Item {i}") for i in range(1000)]
    scores = scored(provider, requests)
    assert sorted(len(body["questions"]) for body in server.bodies) == [200, 400, 400]
    assert {s.evidence for s in scores} == {"decision"}
    assert scores[0].log_probs == pytest.approx((math.log(0.75), math.log(0.25)))
    assert provider.capabilities.items_per_call == 400


def test_the_demonstrations_are_the_input_and_end_in_a_mark() -> None:
    server = Server(deciding(0.75))
    sent(server, "decisions", block_request())
    (body,) = server.bodies
    system, shown = body["input"]
    assert system == {
        "role": "system",
        "content": [{"type": "input_text", "text": "Answer with one of: yes, no"}],
    }
    assert shown["content"] == [
        {
            "type": "input_text",
            "text": "Iron is a plant. no\n\nFern is a plant. yes\n\n",
            "prompt_cache_breakpoint": {"mode": "explicit"},
        }
    ]
    assert body["prompt_cache_options"] == {"mode": "explicit", "ttl": "30m"}
    assert 1 <= len(body["prompt_cache_key"]) <= 64
    assert body["questions"] == [
        {
            "type": "choice",
            "name": "q0",
            "instructions": "Moss is a plant.",
            "choices": [{"value": "yes"}, {"value": "no"}],
        }
    ]


def test_in_turns_the_mark_stands_on_the_last_question_before_the_item() -> None:
    server = Server(deciding(0.75))
    sent(server, "decisions", turns_request())
    (body,) = server.bodies
    assert [message["role"] for message in body["input"]] == ["system", "user", "assistant"]
    assert body["input"][1]["content"][0]["prompt_cache_breakpoint"] == {"mode": "explicit"}
    assert body["input"][2]["content"] == "no"


def test_without_demonstrations_the_instruction_is_the_input() -> None:
    server = Server(deciding(0.75))
    full = block_request()
    sent(server, "decisions", ScoreRequest((full.prompt[0], full.prompt[-1]), full.labels))
    (message,) = server.bodies[0]["input"]
    assert message["role"] == "system"
    assert "prompt_cache_breakpoint" in message["content"][0]


def test_nothing_before_the_item_is_refused_with_the_mend() -> None:
    bare = ScoreRequest((Segment.of("Moss", "user"),), ("yes", "no"))
    with pytest.raises(ModelError, match="instruction or demonstrations"):
        Server(deciding(0.5)).wire("decisions").calls([bare])


def test_only_neighbours_of_one_context_and_one_label_set_share_a_call() -> None:
    one, other = block_request("a"), turns_request("b")
    more = block_request("c", labels=("yes", "no", "maybe"))
    wire = Server(deciding(0.5)).wire("decisions")
    calls = wire.calls([one, one, other, one, more])
    assert [call.expected.requests for call in calls] == [2, 1, 1, 1]
    assert calls[0].prefix == calls[2].prefix
    assert len({call.prefix for call in calls}) == 3


def test_of_a_refused_question_only_its_own_item_has_no_answer() -> None:
    answers = [
        choice(0, {"yes": 0.6, "no": 0.4}),
        refused(1),
        choice(2, {"yes": 0.1, "no": 0.9}),
    ]
    server = Server(lambda *_: ok(decision(answers)))
    requests = [block_request(f"Item {i}") for i in range(3)]
    units = server.provider("decisions").score(requests)
    found = dict(next(units).scores)
    with pytest.raises(Unanswered, match="no answer to 1 of 3 prompts: 'Item 1'"):
        next(units)
    assert sorted(found) == [0, 2]


def test_a_probability_of_zero_is_bounded_by_the_decimals_of_the_call() -> None:
    answers = [
        choice(0, {"yes": 1.0, "no": 0.0}),
        choice(1, {"yes": 0.9988, "no": 0.0012}),
    ]
    server = Server(lambda *_: ok(decision(answers)))
    first, second = scored(
        server.provider("decisions"), [block_request("a"), block_request("b")]
    )
    assert first.bounded == (1,)
    assert first.log_probs[0] == 0.0
    assert math.exp(first.log_probs[1]) == pytest.approx(0.00005)
    assert second.bounded == ()


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=5).filter(any))
@settings(deadline=None)
def test_whatever_decimals_a_decision_has_its_bounds_hold(weights: list[int]) -> None:
    truths = [weight / sum(weights) for weight in weights]
    labels = tuple(f"label {i}" for i in range(len(truths)))
    rounded = dict(zip(labels, (round(p, 3) for p in truths), strict=True))
    server = Server(lambda *_: ok(decision([choice(0, rounded)])))
    scores = the_scores(sent(server, "decisions", block_request(labels=labels)))
    for index, truth in enumerate(truths):
        if index in scores.bounded:
            assert truth <= math.exp(scores.log_probs[index]) + 1e-12
        else:
            assert math.exp(scores.log_probs[index]) == pytest.approx(truth, abs=0.0005001)


def test_tokens_of_a_decision_are_billed_by_how_they_were_read() -> None:
    price = find_price("openai-decisions", MODEL)
    assert price is not None
    details = {"cached_tokens": 600, "cache_write_tokens": 100}
    used = {**decision([])["usage"], "input_tokens": 1000, "input_tokens_details": details}
    made = decision([choice(0, {"yes": 0.5, "no": 0.5})], usage=used)
    reply = sent(Server(lambda *_: ok(made)), "decisions", block_request(), price=price)
    assert reply.usage == Usage(
        requests=1,
        forwarded_tokens=402,
        prompt_tokens=1000,
        cost_usd=reply.usage.cost_usd,
        calls=1,
        cache_read_tokens=600,
        cache_write_tokens=100,
        output_tokens=2,
    )
    assert reply.usage.cost_usd == pytest.approx(1000 * price.input / 1e6)


def test_a_call_too_long_names_its_first_item_and_how_many_more() -> None:
    server = Server(lambda *_: error(400, "too long", "context_length_exceeded"))
    requests = [block_request(f"Item {i}") for i in range(3)]
    with pytest.raises(
        PromptTooLong, match=r"'Item 0' and 2 more items.*one item a call \(\?scorer=chat"
    ):
        list(server.provider("decisions").score(requests))


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [choice(0, {"yes": 0.5, "no": 0.5}), choice(1, {"yes": 0.5, "no": 0.5})],
        [choice(1, {"yes": 0.5, "no": 0.5})],
        [choice(0, {"yes": 0.5, "maybe": 0.5})],
        [choice(0, {"yes": 1.0})],
        [choice(0, {"yes": 0.5, "no": 0.2})],
        [choice(0, {"yes": 1.5, "no": -0.5})],
        [{"type": "predicate", "name": "q0", "probability": 0.5}],
    ],
    ids=["none", "two", "name", "value", "one label", "sum", "range", "type"],
)
def test_a_decision_that_does_not_answer_its_questions_is_asked_again(
    answers: list[Json],
) -> None:
    def react(_body: Json, before: int) -> httpx2.Response:
        good = [choice(0, {"yes": 0.5, "no": 0.5})]
        return ok(decision(good if before else answers))

    server = Server(react)
    (scores,) = scored(server.provider("decisions"), [block_request()])
    assert scores.log_probs == pytest.approx((math.log(0.5),) * 2)
    assert len(server.bodies) == 2


# Samples


def test_an_answer_is_held_to_the_labels_and_is_one_draw() -> None:
    server = Server(lambda *_: ok(answer(None, text='{"label":"no"}')))
    reply = sent(server, "samples", block_request(), reasoning_tokens=1000)
    (body,) = server.bodies
    assert reply.scores == ((0, one_draw(1, 2)),)
    held = body["response_format"]["json_schema"]
    assert held["strict"] is True
    assert held["schema"]["properties"]["label"]["enum"] == ["yes", "no"]
    assert body["max_completion_tokens"] > 1000
    assert not {"temperature", "top_p", "logprobs"} & body.keys()


def test_draws_of_one_prompt_make_an_estimate() -> None:
    texts = ['{"label": "yes"}', '{"label": "yes"}', '{"label": "no"}', '{"label": "yes"}']
    server = Server(lambda _, before: ok(answer(None, text=texts[before])))
    provider = SampledProvider(server.provider("samples", samples=4))
    ((_, scores),) = [p for unit in provider.score([block_request()]) for p in unit.scores]
    assert scores.evidence == "sampled"
    assert scores.samples == 4
    assert math.exp(scores.log_probs[0]) == pytest.approx(3.5 / 5)


@pytest.mark.parametrize(
    "text", ["yes", '{"label": "perhaps"}', '{"label": "yes", "x": 1}', ""]
)
def test_an_answer_that_is_no_label_is_drawn_again(text: str) -> None:
    def react(_body: Json, before: int) -> httpx2.Response:
        return ok(answer(None, text='{"label": "yes"}' if before else text))

    server = Server(react)
    assert scored(server.provider("samples"), [block_request()]) == [one_draw(0, 2)]
    assert len(server.bodies) == 2


def test_an_answer_that_was_cut_off_is_no_draw_and_not_repeated() -> None:
    server = Server(lambda *_: ok(answer(None, text='{"la', finish_reason="length")))
    reply = sent(server, "samples", block_request())
    assert reply.scores == ()
    assert "cut off" in reply.unanswered[0][1]
    assert "?reasoning_tokens= above 0" in reply.unanswered[0][1]
    assert len(server.bodies) == 1


# All of them


@pytest.mark.parametrize("scorer", SCORERS)
def test_the_key_comes_from_the_transport_and_nothing_from_the_environment(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin-another")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    server = Server(lambda *_: ok(an_answer(scorer)))
    sent(server, scorer, a_request(scorer))
    sent(server, scorer, a_request(scorer), base_url="https://example.org/v1")
    openai, other = server.requests
    assert openai.headers["authorization"] == f"Bearer {KEY}"
    assert openai.headers["openai-organization"] == "org-mine"
    assert openai.url.host == "api.openai.com"
    assert "openai-organization" not in other.headers
    assert "another" not in str(openai.headers) + str(other.headers)


def test_headers_of_the_environment_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-something: 1")
    with pytest.raises(ModelError, match="OPENAI_CUSTOM_HEADERS"):
        Server(lambda *_: ok({})).wire("chat")


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_call_takes_no_more_than_it_was_expected_to(scorer: Scorer) -> None:
    price = find_price("openai", MODEL)
    (call,) = (
        Server(lambda *_: ok(an_answer(scorer)))
        .wire(scorer, price=price)
        .calls([a_request(scorer, "Moss is a plant " * 30)])
    )
    took, expected = call.send().usage, call.expected
    assert took.cost_usd is not None
    assert expected.cost_usd is not None
    assert took.cost_usd <= expected.cost_usd
    assert took.spent_tokens <= expected.spent_tokens
    assert took.calls == expected.calls == 1


@pytest.mark.parametrize("scorer", SCORERS)
def test_tokens_are_counted_by_what_the_server_has_counted(scorer: Scorer) -> None:
    wire = Server(lambda *_: ok(an_answer(scorer))).wire(scorer)
    request = a_request(scorer)
    assert wire.count_tokens([request]) is None
    (call,) = wire.calls([request])
    used = call.send().usage
    (counted,) = wire.count_tokens([request]) or []
    assert counted == pytest.approx(used.prompt_tokens, rel=0.3, abs=2)


@pytest.mark.parametrize("scorer", ["chat", "completions", "samples"])
def test_cached_tokens_are_billed_apart(scorer: Scorer) -> None:
    price = find_price("openai", MODEL)
    assert price is not None
    made = an_answer(scorer, usage=usage(1000, 3, cached=700, written=200))
    reply = sent(Server(lambda *_: ok(made)), scorer, a_request(scorer), price=price)
    assert reply.usage.cost_usd == pytest.approx(
        price.cost(input_tokens=100, cached_tokens=700, cache_write_tokens=200, output_tokens=3)
    )
    assert reply.usage.prompt_tokens == 1000


@pytest.mark.parametrize("scorer", ["chat", "completions", "samples"])
def test_where_a_server_does_not_count_what_was_expected_stands(scorer: Scorer) -> None:
    made = an_answer(scorer, usage=None)
    (call,) = Server(lambda *_: ok(made)).wire(scorer).calls([a_request(scorer)])
    assert call.send().usage.prompt_tokens == pytest.approx(call.expected.prompt_tokens, abs=1)


@pytest.mark.parametrize("scorer", SCORERS)
def test_another_snapshot_than_the_known_one_stops_the_run(scorer: Scorer) -> None:
    server = Server(lambda *_: ok(an_answer(scorer, model="gpt-6-luna-2026-12-24")))
    with pytest.raises(ProviderError, match=r"2026-12-24, not by .*09-01.*start a new run"):
        list(
            server.provider(scorer, revision="gpt-6-luna-2026-09-01").score([a_request(scorer)])
        )
    assert len(server.bodies) == 1


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize(
    "refusal",
    [
        error(400, "no", "context_length_exceeded"),
        error(400, "This model's maximum context length is 4096 tokens."),
        error(400, "exceeds the available context size", type_="exceed_context_size_error"),
    ],
    ids=["OpenAI", "vLLM", "llama-server"],
)
def test_a_prompt_too_long_is_named(scorer: Scorer, refusal: httpx2.Response) -> None:
    copy = httpx2.Response(refusal.status_code, content=refusal.content)
    server = Server(lambda *_: copy)
    with pytest.raises(PromptTooLong, match=r"'Moss is a plant'.*fewer demonstrations"):
        list(server.provider(scorer).score([a_request(scorer)]))
    assert len(server.bodies) == 1


@pytest.mark.parametrize("scorer", SCORERS)
def test_half_of_a_surrogate_pair_is_named_with_its_item(scorer: Scorer) -> None:
    server = Server(lambda *_: ok(an_answer(scorer)))
    with pytest.raises(InputError, match="surrogate"):
        sent(server, scorer, a_request(scorer, "Moss \ud83c"))
    assert not server.bodies


@pytest.mark.parametrize("scorer", ["chat", "completions", "samples"])
def test_calls_share_a_prefix_where_the_server_keeps_one(scorer: Scorer) -> None:
    server = Server(lambda *_: ok(an_answer(scorer)))
    requests = [a_request(scorer, "a"), a_request(scorer, "b")]
    one, other = server.wire(scorer).calls(requests)
    assert one.prefix == other.prefix is not None
    assert {c.prefix for c in server.wire(scorer, keeps_prefix=False).calls(requests)} == {None}


def test_the_identity_tells_apart_all_that_changes_a_score() -> None:
    facts: list[Json] = [
        {},
        {"model": "other"},
        {"provider": "vllm"},
        {"revision": "gpt-6-luna-2026-09-01"},
        {"base_url": "https://example.org/v1"},
        {"extra": {"seed": 7}},
        {"completions_k": 3, "chat_k": 3},
        {"keeps_leading_space": False},
        {"label_token_ids": {" yes": 11}},
    ]
    digests = [
        identity(Endpoint(**{"provider": "openai", "model": MODEL, **fact}), scorer).digest()
        for fact in facts
        for scorer in ("chat", "completions")
    ]
    assert len(set(digests)) == len(digests)


def test_the_number_of_likely_tokens_is_the_parameter_that_the_store_knows() -> None:
    wire = Server(lambda *_: ok({})).wire("chat", chat_k=5)
    assert wire.identity.parameters["top_k"] == 5


@pytest.mark.parametrize("scorer", ["chat", "completions"])
def test_an_endpoint_known_to_tell_nothing_is_refused(scorer: Scorer) -> None:
    with pytest.raises(ModelError, match="tells no log-probabilities"):
        Server(lambda *_: ok({})).wire(scorer, completions_k=0, chat_k=0)


@pytest.mark.parametrize("name", ["items_per_call", "samples"])
def test_a_number_that_can_not_be_is_refused_by_its_name(name: str) -> None:
    facts: Json = {name: 0}
    with pytest.raises(InputError, match=name):
        Endpoint("openai", MODEL, **facts)


def test_bytes_of_a_token_go_before_its_text() -> None:
    face = {"token": "\ufffd", "bytes": list("é".encode()), "logprob": math.log(0.9)}
    made = {**entry("é", -0.1), "top_logprobs": [face, entry("x", math.log(0.01))]}
    server = Server(lambda *_: ok(answer([made])))
    scores = the_scores(sent(server, "chat", block_request(labels=("é", "x"))))
    assert math.exp(scores.log_probs[0]) == pytest.approx(0.9)
