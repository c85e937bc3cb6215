"""`elicit baselines` on the embedded model: its rows, what it refuses, what it may spend."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the extra local")

from called import output, told

from elicit.cache.errors import ElicitError, InputError
from elicit.providers.usage import BudgetReached

SMALL = ("--limit", "24", "--shots", "8", "--seeds", "2")


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELICIT_CACHE", str(tmp_path / "e.db"))


def test_the_table_has_a_row_for_each_source_of_labels() -> None:
    told("run", "facts", "--limit", "24", "--name", "mine", "--method", "bootstrap")
    evaluated = told("eval", "mine")
    found = told("baselines", "facts", *SMALL, "--run", "mine", "--many", "10")
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == [
        "zero-shot",
        "zero-shot, calibrated",
        "random few-shot (8)",
        "golden few-shot (8)",
        "human few-shot (8)",
        "golden many-shot (10)",
        "human many-shot (10)",
        "human labels",
        "run mine",
    ]
    assert rows["run mine"]["accuracy"] == evaluated["accuracy"]
    assert rows["human labels"]["usage"]["requests"] == 0


def test_the_calibration_is_named_under_the_table() -> None:
    assert "arXiv 2309.17249" in output("baselines", "facts", *SMALL)


def test_repeated_it_costs_nothing() -> None:
    first = told("baselines", "facts", *SMALL)
    again = told("baselines", "facts", *SMALL)
    assert first["usage"]["forwarded_tokens"] > 0
    assert again["usage"]["forwarded_tokens"] == 0
    assert [r["accuracy"] for r in again["rows"]] == [r["accuracy"] for r in first["rows"]]


def test_more_than_two_labels_have_a_share_each() -> None:
    rows = told("baselines", "diets", *SMALL)["rows"]
    assert {len(row["shares"]) for row in rows} == {8}
    assert "golden many-shot (12)" in {row["name"] for row in rows}


def refused(kind: type[ElicitError], why: str, *arguments: str) -> None:
    with pytest.raises(kind, match=why):
        output("baselines", "facts", *SMALL, *arguments)


def test_a_run_on_fewer_items_is_refused_before_the_model_is_asked() -> None:
    told("run", "facts", "--limit", "16", "--name", "short", "--method", "bootstrap")
    refused(InputError, "'short' labelled 16 of the 24 items", "--run", "short")


def test_a_run_that_is_not_there_is_refused() -> None:
    refused(InputError, "gone", "--run", "gone")


def test_a_model_that_continues_text_is_no_chat_model() -> None:
    refused(InputError, "--chat-model: tiny continues text", "--chat-model", "tiny")


def test_a_budget_bounds_the_table() -> None:
    refused(BudgetReached, "tokens", "--max-tokens-spent", "300")
