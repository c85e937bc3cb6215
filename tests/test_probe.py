"""What is found out about a server before it is used, and what is said where nothing is."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

pytest.importorskip("openai", reason="needs the extra hosted")

import httpx2
from openai_server import answer, completion, error, ok

from elicit.cache.errors import InputError
from elicit.providers.base import ModelError, Usage
from elicit.providers.found import Found
from elicit.providers.garbled import Garbled
from elicit.providers.hosted_settings import HostedSettings, Scorer
from elicit.providers.listed import with_listed
from elicit.providers.openai import Endpoint
from elicit.providers.openai.token_ids import TokenIds
from elicit.providers.probe import REASONING, probe
from elicit.providers.retry import CallFailed
from elicit.providers.transport import open_client
from elicit.providers.usage import Account, BudgetReached, Limits

URL = "http://127.0.0.1:1/v1"
YES_NO = {" yes": -0.1, " no": -3.0}
WORDS = {"\n": [7], "\n yes": [7, 11], "\n no": [7, 12], "\nof course": [7, 3, 4]}

Json = dict[str, Any]


@dataclass
class Local:
    """A server of one path's answers each."""

    answers: dict[str, Callable[[Json], httpx2.Response]]
    asked: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        with self.lock:
            self.asked.append(request.url.path)
        answer = self.answers.get(request.url.path)
        body = json.loads(request.content) if request.content else {}
        return error(404, "Not Found") if answer is None else answer(body)

    @property
    def client(self) -> httpx2.Client:
        return open_client(URL, None, inner=httpx2.MockTransport(self))

    def probed(self, *, by_id: bool = False, top_k: int = 0, **facts: Any) -> Found:
        client = self.client
        ids = TokenIds(client, "http://127.0.0.1:1/tokenize", "m") if by_id else None
        endpoint = Endpoint("vllm", "m", URL, label_token_ids=ids, **facts)
        counts: dict[Scorer, tuple[int, ...]] = {"completions": (20, 5), "chat": (20,)}
        return probe("vllm:m", endpoint, client, [*counts, "samples"], counts, top_k=top_k)

    def ids(self, most: int | None = None) -> TokenIds:
        budget = Account(Limits(calls=most))
        return TokenIds(self.client, "http://127.0.0.1:1/tokenize", "m", budget=budget)


def tokenized(body: Json) -> httpx2.Response:
    return ok({"tokens": WORDS.get(body["prompt"], [1, 2, 3])})


def likeliest(_: Json) -> httpx2.Response:
    return ok(completion(YES_NO))


def by_id_or_likeliest(body: Json) -> httpx2.Response:
    if "logprob_token_ids" not in body:
        return likeliest(body)
    names = {f"token_id:{number}": -1.0 - number for number in body["logprob_token_ids"]}
    return ok(completion(names, text=" yes"))


# The ids of tokens


def test_a_text_of_one_token_has_an_id_as_it_stands_behind_others() -> None:
    server = Local({"/tokenize": tokenized})
    ids = server.ids()
    assert [ids.get(text) for text in (" yes", " no")] == [11, 12]
    assert [ids.get(text) for text in ("of course", "new")] == [None, None]


def test_each_text_is_asked_about_once_however_many_threads_want_it() -> None:
    server = Local({"/tokenize": tokenized})
    ids = server.ids()
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ids.get, [" yes"] * 50)) == {11}
    assert len(server.asked) == 2


def test_half_a_character_has_none_and_is_not_sent() -> None:
    server = Local({"/tokenize": tokenized})
    assert server.ids().get("\ud83c") is None
    assert not server.asked


def test_questions_about_tokens_count_as_requests() -> None:
    server = Local({"/tokenize": tokenized})
    with pytest.raises(BudgetReached):
        server.ids(most=1).get(" yes")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (lambda _: error(404, "Not Found"), ModelError),
        (lambda _: ok({"tokens": ["yes"]}), ModelError),
        (lambda _: ok({"tokens": [True]}), ModelError),
        (lambda _: ok({}), ModelError),
        (lambda _: httpx2.Response(200, content=b"<html>"), Garbled),
        (lambda _: error(503, "loading"), Garbled),
    ],
)
def test_a_server_without_a_tokenizer_is_told_from_one_that_is_busy(
    answer: Callable[[Json], httpx2.Response], failure: type[Exception]
) -> None:
    with pytest.raises(failure):
        Local({"/tokenize": answer}).ids().get(" yes")


def test_what_was_set_aside_for_such_a_question_is_settled() -> None:
    budget = Account(Limits(calls=3))
    ids = TokenIds(
        Local({"/tokenize": tokenized}).client,
        "http://127.0.0.1:1/tokenize",
        "m",
        budget=budget,
    )
    ids.get(" yes")
    raised: list[BudgetReached] = []

    def reserve() -> None:
        try:
            budget.reserve(Usage(calls=2), wait=True)
        except BudgetReached as reached:
            raised.append(reached)

    waiting = threading.Thread(target=reserve, daemon=True)
    waiting.start()
    waiting.join(5.0)
    assert raised


# Probing


def test_a_server_that_takes_ids_is_found_to() -> None:
    server = Local({"/v1/completions": by_id_or_likeliest, "/tokenize": tokenized})
    found = server.probed(by_id=True)
    assert (found.scorer, found.top_k, found.token_ids) == ("completions", 20, True)
    assert found.warnings == ()
    assert server.asked.count("/v1/completions") == 2


@pytest.mark.parametrize("tokenizer", [tokenized, lambda _: error(404, "Not Found")])
def test_one_that_passes_over_them_is_asked_for_the_likeliest_and_says_what_that_means(
    tokenizer: Callable[[Json], httpx2.Response],
) -> None:
    server = Local({"/v1/completions": likeliest, "/tokenize": tokenizer})
    found = server.probed(by_id=True)
    assert (found.scorer, found.token_ids) == ("completions", False)
    (warning,) = found.warnings
    assert "outside the 20 likeliest gets a bound" in warning


def test_a_smaller_number_is_tried_where_the_usual_one_is_refused() -> None:
    def five(body: Json) -> httpx2.Response:
        return likeliest(body) if body["logprobs"] <= 5 else error(400, "at most 5")

    assert Local({"/v1/completions": five}).probed().top_k == 5


@pytest.mark.parametrize("most", [1, 5, 19, 49])
def test_where_the_user_s_number_is_refused_the_largest_that_works_is_named(most: int) -> None:
    def bounded(body: Json) -> httpx2.Response:
        return likeliest(body) if body["logprobs"] <= most else error(400, f"at most {most}")

    server = Local({"/v1/completions": bounded, "/v1/chat/completions": drawing})
    with pytest.raises(ModelError, match=rf"at most {most} .*Set \?top_k={most}, or leave it"):
        server.probed(top_k=50)


def test_a_number_of_the_user_s_is_not_passed_over_by_drawing_answers() -> None:
    def refuse(body: Json) -> httpx2.Response:
        return error(400, "no logprobs here") if "logprobs" in body else drawing(body)

    server = Local({"/v1/completions": refuse, "/v1/chat/completions": refuse})
    assert server.probed().scorer == "samples"
    with pytest.raises(ModelError, match=r"no logprobs here.*Leave \?top_k= out"):
        server.probed(top_k=5)


def drawing(_: Json) -> httpx2.Response:
    return ok(answer(None, text='{"label": "yes"}'))


def thinking(body: Json) -> httpx2.Response:
    """Takes 500 tokens before it answers, and tells no probabilities."""
    if "logprobs" in body:
        return error(400, "logprobs are not supported")
    if body["max_completion_tokens"] < 500:
        return ok(answer(None, text="", finish_reason="length"))
    return drawing(body)


def test_a_model_that_thinks_is_given_room_to_and_that_is_kept() -> None:
    server = Local({"/v1/chat/completions": thinking})
    found = server.probed()
    assert (found.scorer, found.reasoning_tokens) == ("samples", REASONING)
    assert server.probed(reasoning_tokens=600).reasoning_tokens == 600


@pytest.mark.parametrize("tokens", [0, 1_000_000])
def test_room_for_thinking_is_a_setting(tokens: int) -> None:
    _, settings = HostedSettings.parse(f"m?reasoning_tokens={tokens}")
    assert settings.reasoning_tokens == tokens
    with pytest.raises(InputError, match="reasoning_tokens"):
        HostedSettings.parse("m?reasoning_tokens=1000001")


def test_where_the_user_s_own_room_is_too_small_it_is_named_and_not_changed() -> None:
    server = Local({"/v1/chat/completions": thinking})
    with pytest.raises(ModelError, match=r"\?reasoning_tokens= above 100") as told:
        server.probed(reasoning_tokens=100)
    assert "?scorer=samples" not in str(told.value)


def test_a_way_that_the_key_may_not_use_is_passed_over() -> None:
    forbidden = {"/v1/completions": lambda _: error(403, "not for you")}
    found = Local({**forbidden, "/v1/chat/completions": drawing_alone}).probed()
    assert found.scorer == "samples"


def drawing_alone(body: Json) -> httpx2.Response:
    return error(403, "no logprobs for you") if "logprobs" in body else drawing(body)


def test_where_the_key_may_use_no_way_it_is_the_key_that_is_named() -> None:
    paths = ("/v1/completions", "/v1/chat/completions")
    server = Local({path: lambda _: error(403, "not for you") for path in paths})
    with pytest.raises(ModelError, match=r"key in MY_KEY.*not for you.*permissions"):
        server.probed(key_variable="MY_KEY")


def test_a_key_that_is_none_is_told_at_once() -> None:
    server = Local({"/v1/completions": lambda _: error(401, "no such key")})
    with pytest.raises(ModelError, match="no such key"):
        server.probed()
    assert len(server.asked) == 1


def test_what_the_server_refuses_is_told_without_the_probe_s_own_question() -> None:
    server = Local({"/v1/completions": lambda _: error(400, "no such field")})
    with pytest.raises(ModelError, match=r"completions: no such field \(HTTP 400\)") as told:
        server.probed()
    assert "?scorer=samples" not in str(told.value)


def test_a_path_that_is_not_there_is_asked_once_and_the_refusals_are_told_once() -> None:
    server = Local({})
    with pytest.raises(ModelError, match="Check the model's name, and the server's") as told:
        server.probed()
    assert server.asked == ["/v1/completions", "/v1/chat/completions", "/v1/chat/completions"]
    assert str(told.value).count("Not Found") == 3
    assert "req_7" not in str(told.value)
    assert URL in str(told.value)


def test_a_server_that_is_not_there_is_given_up_soon() -> None:
    def refuse(_: Json) -> httpx2.Response:
        raise httpx2.ConnectError("Connection refused")

    server = Local({"/v1/completions": refuse})
    with pytest.raises(CallFailed, match=r"vllm:m could not be asked.*server there is running"):
        server.probed()
    assert len(server.asked) == 3


# The list of models

FOUND = Found("completions", "m")


@pytest.mark.parametrize("name", ["m", "m:latest"])
def test_a_listed_model_has_its_context_from_the_list(name: str) -> None:
    models = {"data": [{"id": "other"}, {"id": name, "max_model_len": 2048}]}
    server = Local({"/v1/models": lambda _: ok(models)})
    found = with_listed(FOUND, "m", server.client, URL, Account())
    assert (found.context_tokens, found.warnings) == (2048, ())


def test_a_model_that_answers_under_a_name_that_is_not_listed_is_warned_of() -> None:
    models = {"data": [{"id": f"m{i}"} for i in range(7)]}
    server = Local({"/v1/models": lambda _: ok(models)})
    (warning,) = with_listed(FOUND, "m", server.client, URL, Account()).warnings
    assert "m0, m1, m2, m3, m4 and 2 more" in warning


@pytest.mark.parametrize("body", [{}, {"data": 3}, {"data": [3]}, {"data": [{}]}, {"data": []}])
def test_a_list_that_is_none_tells_nothing(body: Json) -> None:
    server = Local({"/v1/models": lambda _: ok(body)})
    budget = Account()
    assert with_listed(FOUND, "m", server.client, URL, budget) == FOUND
    assert with_listed(FOUND, "m", Local({}).client, URL, budget) == FOUND
    with pytest.raises(BudgetReached):
        with_listed(FOUND, "m", server.client, URL, Account(Limits(calls=0)))
