"""`elicit eval` on runs whose labels are written down here: no model is asked."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from elicit.cache.errors import InputError
from elicit.cache.runs import RunStore
from elicit.cache.store import ScoreStore
from elicit.cli.evaluate import evaluate_run

LABELS = ["no", "maybe", "[yes]"]
GOLD = ["no", "no", "no", "maybe", "[yes]", "[yes]", "", "no"]
GIVEN = [0, 0, 1, 1, 2, -1, 0, 0]
TASK = """labels = ["no", "maybe", "[yes]"]
[data]
path = "rows.jsonl"
id = "id"
{gold}
[prompt]
item = "{{{{ text }}}}:"
"""


@pytest.fixture
def task(tmp_path: Path) -> Path:
    rows = [{"id": f"i{k}", "text": f"t{k}", "gold": gold} for k, gold in enumerate(GOLD)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "task.toml"
    path.write_text(TASK.format(gold='gold = "gold"'))
    return path


def recorded(task: Path, chain: Mapping[str, object]) -> Path:
    """A store with a run "r" of one chain."""
    cache = task.parent / "e.db"
    found = {
        "labels": GIVEN,
        "log_odds": np.linspace(0.1, 0.8, len(GIVEN)).tolist(),
        "objective": 1.0,
        "inconsistency": 0,
    }
    result = {
        "ids": [f"i{k}" for k in range(len(GIVEN))],
        "label_names": LABELS,
        "mean_coverage": 1.0,
        "chains": [found | dict(chain)],
    }
    with ScoreStore(cache) as store:
        runs = RunStore(store)
        run = runs.create(
            "r",
            task_digest="d",
            task_path=str(task),
            model="m",
            method="icm",
            settings={},
            seed=0,
            chains=1,
        )
        runs.finish(run.id, "done", result)
    return cache


def log_probs() -> list[list[float]]:
    raw = np.random.default_rng(0).normal(size=(len(GIVEN), 3))
    rows: list[list[float]] = (raw - np.logaddexp.reduce(raw, axis=1, keepdims=True)).tolist()
    return rows


def called(cache: Path, *arguments: str) -> str:
    app = typer.Typer()
    app.command()(evaluate_run)
    found = CliRunner().invoke(app, ["r", "--cache", str(cache), *arguments])
    if found.exception is not None:
        raise found.exception
    return found.stdout


def test_the_table_shows_each_figure_and_each_label(task: Path) -> None:
    said = called(recorded(task, {"log_probs": log_probs()}))
    facts = {line[:18].strip(): line[18:].strip() for line in said.splitlines()}
    assert facts["accuracy"].startswith("83.3 % (")
    assert facts["accuracy"].endswith("n = 6")
    assert facts["balanced accuracy"] == "91.7 %"
    assert facts["majority"].startswith("57.1 %")
    assert facts["answered"] == "85.7 % of 7 with gold"
    assert {"AUROC", "calibration error", "Brier score", "log score", "AURC"} <= set(facts)
    assert "surest 80 %" in facts
    assert "surest 90 %" not in facts
    rows = [line for line in said.splitlines() if line.startswith("│")]
    assert ["[yes]" in row for row in rows] == [False, False, True]


def test_records_without_log_probs_are_measured_as_far_as_they_go(task: Path) -> None:
    found = json.loads(called(recorded(task, {}), "--json"))
    assert found["accuracy"]["value"] == pytest.approx(5 / 6)
    assert found["label_names"] == LABELS
    assert found["auroc"] is found["brier"] is None
    assert found["aurc"] is not None


def test_curves_are_one_tidy_file(task: Path) -> None:
    file = task.parent / "curves.csv"
    cache = recorded(task, {"log_probs": log_probs()})
    found = json.loads(called(cache, "--json", "--curves", str(file)))
    with file.open(newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    assert list(rows[0]) == ["curve", "x", "y", "n", "low", "high"]
    for curve in ("calibration", "risk_coverage"):
        points = [
            {k: float(v) for k, v in row.items() if k != "curve"}
            for row in rows
            if row["curve"] == curve
        ]
        assert points == found[curve]
        assert points


def test_curves_that_cannot_be_written_are_an_error_that_names_the_file(task: Path) -> None:
    with pytest.raises(InputError, match=r"--curves .*gone.*No such file"):
        called(recorded(task, {}), "--curves", str(task.parent / "gone" / "curves.csv"))


def test_gold_may_come_from_another_file(task: Path) -> None:
    cache = recorded(task, {})
    other = task.with_name("other.toml")
    other.write_text(task.read_text())
    task.write_text(TASK.format(gold=""))
    with pytest.raises(InputError, match="names no gold column"):
        called(cache)
    assert "83.3 %" in called(cache, "--gold", str(other))


def test_a_run_abstained_from_altogether_is_an_error_that_says_so(task: Path) -> None:
    cache = recorded(task, {"labels": [-1] * len(GIVEN)})
    with pytest.raises(InputError, match="abstained"):
        called(cache)
