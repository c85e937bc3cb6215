"""Whole runs through OpenAI's endpoints, answered on this machine by the embedded model."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytest.importorskip("llama_cpp", reason="needs the extra local")

from batch_server import BatchServer
from openai.types import Decision, Model

import elicit
from elicit.cache.errors import InputError
from elicit.cache.findings import Findings
from elicit.cache.store import ScoreStore
from elicit.cli.tasks import open_task
from elicit.labelling import resume
from elicit.providers import submission
from elicit.providers.base import ModelError, ScoreRequest, Segment
from elicit.providers.found import Found, remember
from elicit.providers.hosted_settings import HostedSettings
from elicit.providers.openai import opened
from elicit.providers.opening import OPENAI, finding_key
from elicit.providers.registry import open_model
from elicit.providers.transport import open_client
from elicit.providers.usage import BudgetReached, Limits

LUNA = "openai:gpt-6-luna"
NANO = "openai:gpt-4.1-nano?scorer=chat"
SNAPSHOT = "gpt-4.1-nano-2025-04-14"


@dataclass
class Decisions:
    """OpenAI's decisions endpoint, with the embedded model behind it."""

    calls: list[int] = field(default_factory=list)
    """Questions of each call."""
    refused: frozenset[str] = frozenset()
    ends: str | None = None
    """When the model shuts down."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.model = open_model("tiny")

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/v1/models/gpt-6-luna":
            told = {"id": "gpt-6-luna", "created": 0, "object": "model", "owned_by": "openai"}
            told |= {"shutdown_date": self.ends}
            Model.model_validate(told)
            return httpx2.Response(200, json=told)
        assert request.url.path == "/v1/decisions"
        asked = json.loads(request.content)
        shown = "".join(
            part if isinstance(part, str) else part["text"]
            for message in asked["input"]
            if message["role"] == "user"
            for part in (
                [message["content"]]
                if isinstance(message["content"], str)
                else message["content"]
            )
        )
        with self.lock:
            answers = [self.answer(shown, question) for question in asked["questions"]]
            self.calls.append(len(answers))
        tokens = len(shown) // 4 + 10 * len(answers)
        details = {"cache_write_tokens": 0, "cached_tokens": 0}
        usage = {
            "input_tokens": tokens,
            "input_tokens_details": details,
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": tokens,
        }
        body = {"answers": answers, "model": "gpt-6-luna", "usage": usage}
        Decision.model_validate(body)
        return httpx2.Response(200, json=body)

    def answer(self, shown: str, question: dict[str, Any]) -> dict[str, Any]:
        item, values = question["instructions"], [c["value"] for c in question["choices"]]
        if any(text in item for text in self.refused):
            return {"type": "refusal", "name": question["name"]}
        labels = tuple(f" {value}" for value in values)
        prompt = ScoreRequest((Segment.of(shown), Segment.of(item)), labels)
        [unit] = self.model.score([prompt])
        log_probs = unit.scores[0][1].log_probs
        total = math.fsum(map(math.exp, log_probs))
        probabilities = [math.exp(value) / total for value in log_probs]
        told = [
            {"value": value, "probability": probability}
            for value, probability in zip(values, probabilities, strict=True)
        ]
        best = max(told, key=lambda choice: float(choice["probability"]))
        return {
            "type": "choice",
            "name": question["name"],
            "choice": best["value"],
            "confidence": best["probability"],
            "probabilities": told,
        }


@pytest.fixture
def decisions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Decisions]:
    served = Decisions()
    answer_with(monkeypatch, httpx2.MockTransport(served))
    with closing(served.model):
        yield served


def answer_with(monkeypatch: pytest.MonkeyPatch, transport: httpx2.MockTransport) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody-000000")
    monkeypatch.setattr(opened, "open_client", partial(open_client, inner=transport))


@pytest.mark.parametrize("method", ["icm", "bootstrap"])
def test_decisions_give_the_labels_of_the_local_path_in_far_fewer_calls(
    decisions: Decisions, tmp_path: Path, method: str
) -> None:
    task = open_task("claims", 24)
    local = elicit.label(task, "tiny", cache=False, method=method)
    hosted = elicit.label(task, LUNA, cache=tmp_path / "e.db", method=method)
    assert hosted.labels.tolist() == local.labels.tolist()
    assert hosted.log_odds == pytest.approx(local.log_odds, abs=0.02)
    assert hosted.usage.requests == sum(decisions.calls)
    # One more, for what is said about the model.
    assert hosted.usage.calls == len(decisions.calls) + 1 < hosted.usage.requests / 4
    assert hosted.usage.cost_usd is not None
    assert hosted.usage.cost_usd > 0


def test_a_restarted_run_asks_nothing_again_not_even_how_to_ask(
    decisions: Decisions, tmp_path: Path
) -> None:
    task = open_task("claims", 16)
    first = elicit.label(task, LUNA, cache=tmp_path / "e.db", method="bootstrap")
    before = len(decisions.calls)
    again = elicit.label(task, LUNA, cache=tmp_path / "e.db", method="bootstrap")
    assert len(decisions.calls) == before
    assert again.usage.calls == 0
    assert list(again.rows()) == list(first.rows())


@pytest.mark.parametrize(
    "limits", [Limits(calls=9), Limits(tokens=1_500), Limits(cost_usd=1e-4)]
)
def test_a_budget_stops_before_it_is_passed_and_the_run_goes_on_for_the_rest_alone(
    decisions: Decisions, tmp_path: Path, limits: Limits
) -> None:
    task = open_task("claims", 16)
    whole = elicit.label(task, LUNA, cache=tmp_path / "whole.db", method="icm")
    all_calls = len(decisions.calls)
    decisions.calls.clear()
    with pytest.raises(BudgetReached, match="elicit resume r"):
        elicit.label(task, LUNA, cache=tmp_path / "e.db", name="r", limits=limits, method="icm")
    assert limits.calls is None or len(decisions.calls) <= limits.calls
    result = resume("r", open_task, cache=tmp_path / "e.db")
    assert list(result.rows()) == list(whole.rows())
    assert len(decisions.calls) == all_calls


def test_a_model_that_is_going_away_is_told_of_each_time_it_is_opened(
    decisions: Decisions, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    decisions.ends = "2027-04-01"
    for _ in range(2):
        caplog.clear()
        elicit.label(open_task("claims", 8), LUNA, cache=tmp_path / "e.db", method="bootstrap")
        assert "gpt-6-luna shuts down on 2027-04-01" in caplog.text


def test_an_item_that_is_declined_is_named_and_the_others_are_kept(
    decisions: Decisions, tmp_path: Path
) -> None:
    task = open_task("claims", 16)
    named = str(task.items[3].fields["claim"])
    decisions.refused = frozenset({named})
    with pytest.raises(elicit.ElicitError, match=f"1 of 16 prompts: .*{named}"):
        elicit.label(task, LUNA, cache=tmp_path / "e.db", method="bootstrap")
    with ScoreStore(tmp_path / "e.db") as store:
        assert store.stats().scores == 15


def test_a_batch_that_was_left_alone_is_read_by_who_resumes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server, cache = BatchServer(), tmp_path / "e.db"
    answer_with(monkeypatch, httpx2.MockTransport(server.handle))
    with ScoreStore(cache) as store:
        settings = HostedSettings(scorer="chat")
        place = finding_key("openai", OPENAI, "gpt-4.1-nano", settings)
        remember(Findings(store), place, Found("chat", SNAPSHOT, top_k=20))
    items = [{"text": f"claim {i}"} for i in range(12)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(i) + "\n" for i in items))
    (tmp_path / "task.toml").write_text(
        'labels = ["no", "yes"]\n[data]\npath = "rows.jsonl"\n[prompt]\nitem = "{{ text }}:"\n'
    )
    task = elicit.load_task(tmp_path / "task.toml")
    patience = submission.Patience

    def impatient(_seconds: float) -> None:
        raise KeyboardInterrupt

    def waiting(sleep: Any) -> None:
        monkeypatch.setattr("elicit.providers.batched.Patience", lambda: patience(sleep=sleep))

    waiting(impatient)
    with pytest.raises(KeyboardInterrupt):
        elicit.label(task, NANO, cache=cache, name="b", method="bootstrap", batch=True)
    assert len(server.batches) == 1
    waiting(server.sleep)
    result = resume("b", elicit.load_task, cache=cache)
    assert set(server.billed.values()) == {1}
    assert sum(server.billed.values()) == result.usage.requests
    assert result.run.status == "done"
    half = result.usage.cost_usd
    assert half is not None
    assert half > 0


def test_a_batch_is_refused_where_it_makes_no_sense(tmp_path: Path) -> None:
    task = open_task("claims", 8)
    with pytest.raises(InputError, match='method="bootstrap"'):
        elicit.label(task, "tiny", cache=tmp_path / "e.db", batch=True, method="icm")
    with pytest.raises(ModelError, match="no hosted model"):
        elicit.label(task, "tiny", cache=tmp_path / "e.db", batch=True, method="bootstrap")
