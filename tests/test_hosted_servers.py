"""Two real servers, asked as hosted models are, tell what the local path computes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

pytest.importorskip("llama_cpp", reason="needs the extra local")
pytest.importorskip("openai", reason="needs the extra hosted")

from counting_proxy import Counted, counted
from servers import Server

import elicit
from elicit.cache.findings import Findings
from elicit.cache.store import ScoreStore
from elicit.cli.main import app
from elicit.cli.tasks import open_task
from elicit.organism import model_path
from elicit.prompt import Writing
from elicit.providers.base import LabelScores, Provider, ScoreRequest, Segment
from elicit.providers.hosted import Unanswered
from elicit.providers.registry import open_model
from elicit.providers.retry import CallFailed
from elicit.settings import resolve

LOCAL = f"llama-cpp:{model_path()}?kv_type=f32&flash_attention=false&threads=1"
SHOTS = (0, 1, 2, 4, 8, 16, 32)
EACH = 30

# Measured on 420 log-probabilities (210 prompts): completions differ from the local path by
# 1.9e-6 (llama-cpp-python) and 4.6e-6 (vLLM) at most, 1.4e-7 and 7e-7 at the median; chat by
# 1.7e-6 and 2.9e-6 at most, 2e-7 and 6e-7 at the median.
TOLERANCE = 2e-5

UNLIKELY = (" A", " B")
"""Labels of one token each, with the space and without, that no claim leads to."""

FORMS: dict[str, Writing] = {"completions": "text", "chat": "block", "chat, turns": "turns"}


@pytest.fixture(scope="module", params=["llama_cpp", "vllm"])
def make(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(make: str, request: pytest.FixtureRequest) -> Server:
    started: Server = request.getfixturevalue(make)
    return started


@pytest.fixture
def counter(server: Server) -> Iterator[Counted]:
    with counted(server) as counter:
        yield counter


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "e.db"


@contextmanager
def opened(model: str, store: Path) -> Iterator[Provider]:
    with ScoreStore(store) as kept, closing(open_model(model, Findings(kept))) as provider:
        yield provider


def claims(form: Writing, labels: tuple[str, ...] | None = None) -> list[ScoreRequest]:
    """`EACH` claims behind each of `SHOTS` demonstrations with labels by chance."""
    task = open_task("claims")
    rendered = task.render(form)
    random = np.random.default_rng(0)
    asked = []
    for shots in SHOTS:
        order = random.permutation(len(task.items))[: shots + EACH]
        context = rendered.context(order[:shots], random.integers(2, size=shots))
        for item in order[shots:].tolist():
            prompt = (*context, rendered.questions[item])
            asked.append(ScoreRequest(prompt, labels or rendered.verbalizers))
    return asked


def scores(provider: Provider, requests: Sequence[ScoreRequest]) -> list[LabelScores]:
    found = {i: each for unit in provider.score(requests) for i, each in unit.scores}
    return [found[i] for i in range(len(requests))]


def numbers(model: str, requests: Sequence[ScoreRequest]) -> NDArray[np.float64]:
    """[prompt, label] in nats; each label has a number."""
    with closing(open_model(model)) as provider:
        told = scores(provider, requests)
    assert not any(each.bounded for each in told)
    return np.array([each.log_probs for each in told])


@cache
def in_truth(
    form: Writing, labels: tuple[str, ...] | None = None, every: int = 1
) -> NDArray[np.float64]:
    """The local path's, on the text that the chat template yields: all contents, joined. An
    answer in a chat may begin with a space or not."""
    requests = claims(form, labels)[::every]
    if form == "text":
        return numbers(LOCAL, requests)
    spelled = [
        ScoreRequest(
            tuple(Segment.of(segment.text) for segment in request.prompt),
            tuple(f"{space}{label.strip()}" for space in ("", " ") for label in request.labels),
        )
        for request in requests
    ]
    both = numbers(LOCAL, spelled)
    middle = both.shape[1] // 2
    return np.logaddexp(both[:, :middle], both[:, middle:])


# Scores and labels


@pytest.mark.parametrize("asked", FORMS)
def test_log_probabilities_are_those_of_the_local_path(server: Server, asked: str) -> None:
    scorer = asked.partition(",")[0]
    requests = claims(FORMS[asked])
    assert len(requests) >= 200
    told = numbers(f"compatible:{server.url}#organism?scorer={scorer}", requests)
    assert np.abs(told - in_truth(FORMS[asked])).max() < TOLERANCE


def test_a_run_finds_the_labels_that_the_local_path_finds(server: Server, store: Path) -> None:
    task = open_task("claims", 24)
    model = f"compatible:{server.url}#organism?scorer=completions"
    settings = resolve(
        ("test", {"method": "icm", "initial": 4, "iterations": 12, "seed": 7})
    ).settings
    hosted = elicit.label(task, model, cache=store, settings=settings)
    local = elicit.label(task, LOCAL, cache=store, settings=settings)
    assert hosted.labels.tolist() == local.labels.tolist()
    assert set(hosted.labels.tolist()) == {0, 1}
    assert np.abs(hosted.log_odds - local.log_odds).max() < TOLERANCE
    # Beside the prompts: what it took to find out how to ask.
    assert hosted.usage.requests > 100
    assert 0 <= hosted.usage.calls - hosted.usage.requests <= 3
    assert hosted.outcome.bounded_share == 0


# What opening finds out


def test_opening_finds_how_to_ask_and_a_second_time_asks_nothing(
    counter: Counted, make: str, store: Path
) -> None:
    model = f"compatible:{counter.url}#organism"
    with opened(model, store) as provider:
        first = provider.identity
    assert first.revision == "organism"
    assert first.parameters["scorer"] == "completions"
    # llama-cpp-python tells as many as asked for, vLLM 20 unless it is started otherwise.
    assert first.parameters["top_k"] == {"llama_cpp": 100, "vllm": 20}[make]
    assert first.parameters["keeps_leading_space"] is True
    sent = counter.requests
    assert 2 <= sent <= 4
    with opened(model, store) as provider:
        assert provider.identity == first
        # vLLM lists it.
        assert provider.capabilities.context_tokens == {"llama_cpp": None, "vllm": 2048}[make]
    assert counter.requests == sent
    known = elicit_doctor(model, store)
    assert known["identity"] == first.as_dict()
    assert counter.requests == sent + known["usage"]["calls"]
    anew = elicit_doctor(model, store, "--again")
    assert anew["usage"]["calls"] == sent + known["usage"]["calls"]
    assert counter.requests == sent + known["usage"]["calls"] + anew["usage"]["calls"]


def elicit_doctor(model: str, store: Path, *options: str) -> dict[str, Any]:
    arguments = ["doctor", "--model", model, "--cache", str(store), "--json", *options]
    told = CliRunner().invoke(app, arguments, catch_exceptions=False)
    return dict(json.loads(told.stdout))


def test_a_server_that_answers_to_any_name_is_seen_through(
    llama_cpp: Server, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(f"compatible:{llama_cpp.url}#orgasim", store):
        assert "lists no model of this name (but organism)" in caplog.text


@pytest.mark.parametrize("scorer", ["completions", "chat"])
def test_a_way_to_ask_that_the_user_chose_is_the_one_that_is_tried(
    counter: Counted, store: Path, scorer: str
) -> None:
    model = f"compatible:{counter.url}#organism?scorer={scorer}&top_k=7"
    with opened(model, store) as provider:
        assert provider.capabilities.form == {"completions": "text", "chat": "chat"}[scorer]
        assert provider.identity.parameters["top_k"] == 7
    (body,) = map(json.loads, counter.prompts())
    assert (body["logprobs"] if scorer == "completions" else body["top_logprobs"]) == 7


# Labels asked for by the ids of their tokens


@pytest.fixture
def counted_vllm(vllm: Server) -> Iterator[Counted]:
    with counted(vllm) as counter:
        yield counter


@pytest.mark.parametrize("scorer", ["completions", "chat"])
def test_labels_by_id_have_the_numbers_that_the_likeliest_tokens_tell(
    vllm: Server, scorer: str
) -> None:
    requests = claims(FORMS[scorer])[::3]
    by_id = numbers(f"vllm:{vllm.url}#organism?scorer={scorer}", requests)
    among = numbers(f"vllm:{vllm.url}#organism?scorer={scorer}&token_ids=false", requests)
    assert np.abs(by_id - among).max() < TOLERANCE


@pytest.mark.parametrize("scorer", ["completions", "chat"])
def test_labels_by_id_have_their_numbers_however_unlikely_they_are(
    vllm: Server, scorer: str, store: Path
) -> None:
    requests = claims(FORMS[scorer], UNLIKELY)[::3]
    model = f"vllm:{vllm.url}#organism?scorer={scorer}"
    truth = in_truth(FORMS[scorer], UNLIKELY, every=3)
    assert np.median(truth) < math.log(1e-3)
    told = numbers(model, requests)
    assert np.abs(told - truth).max() < 10 * TOLERANCE
    with (
        opened(f"{model}&token_ids=false&top_k=5", store) as provider,
        pytest.raises(Unanswered, match="among the likeliest"),
    ):
        scores(provider, requests)


def test_ids_are_asked_for_once_a_text_and_named_in_the_identity(
    counted_vllm: Counted, store: Path
) -> None:
    model = f"vllm:{counted_vllm.url}#organism?scorer=completions"
    with opened(model, store) as provider:
        assert provider.identity.parameters["token_ids"] is True
        counted_vllm.asked.clear()
        scores(provider, claims("text")[::10])
    assert [path for path, _ in counted_vllm.asked].count("/tokenize") <= 3
    assert all("logprob_token_ids" in body for body in counted_vllm.prompts())
    with opened(f"{model}&token_ids=false", store) as provider:
        assert provider.identity.parameters["token_ids"] is False


def test_what_another_asks_by_id_meanwhile_makes_no_number_wrong(vllm: Server) -> None:
    """vLLM 0.32 drops the likeliest tokens of a request that it computes beside such a one."""
    requests = claims("text")
    truth = in_truth("text")
    with ThreadPoolExecutor(1) as pool:
        by_id = pool.submit(numbers, f"vllm:{vllm.url}#organism?scorer=completions", requests)
        how = "scorer=completions&token_ids=false&top_k=20&attempts=3"
        model = f"vllm:{vllm.url}#organism?{how}"
        told: dict[int, LabelScores] = {}
        with suppress(CallFailed), closing(open_model(model)) as provider:
            for unit in provider.score(requests):
                told |= unit.scores
        assert np.abs(by_id.result() - truth).max() < TOLERANCE
    for index, found in told.items():
        for label, value in enumerate(found.log_probs):
            if label in found.bounded:
                assert value >= truth[index, label] - TOLERANCE
            else:
                assert value == pytest.approx(truth[index, label], abs=TOLERANCE)


def test_labels_of_several_tokens_are_looked_for_among_the_likeliest(
    counted_vllm: Counted, store: Path
) -> None:
    asked: list[dict[str, Any]] = []
    with opened(f"vllm:{counted_vllm.url}#organism?scorer=completions", store) as provider:
        counted_vllm.asked.clear()
        scores(provider, claims("text", (" True", " Falsehood"))[-4:])
        asked += map(json.loads, counted_vllm.prompts())
    assert all(body["logprobs"] == 20 for body in asked)
    assert not any("logprob_token_ids" in body for body in asked)


def test_any_server_may_be_said_to_take_ids_and_is_asked_whether_it_does(
    server: Server, make: str, store: Path
) -> None:
    model = f"compatible:{server.url}#organism?scorer=completions&token_ids=true"
    if make == "vllm":
        with opened(model, store) as provider:
            assert provider.identity.parameters["token_ids"] is True
    else:
        with pytest.raises(elicit.ElicitError, match="leave \\?token_ids=true out"):
            open_model(model)
