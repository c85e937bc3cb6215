"""Label a part, tune, label the next with the tuned model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

pytest.importorskip("llama_cpp", reason="needs the extra local")
pytest.importorskip("peft", reason="needs the extra lora")

from elicit.cache.errors import InputError
from elicit.cache.runs import RunStore
from elicit.cache.store import ScoreStore
from elicit.cli.main import app
from elicit.cli.tasks import open_task
from elicit.constraints import UNLABELLED, Constraint
from elicit.finetune.iterate import Iterated, iterate, parts_of
from elicit.settings import RunSettings
from elicit.task import Task


def turns(folder: Path, parts: int = 2, model: str = "tiny", **options: Any) -> Iterated:
    with ScoreStore(folder / "e.db") as store:
        task = open_task("claims", 48)
        chosen = {"tuning": {"epochs": 2}} | options
        return iterate(task, model, store, folder, parts=parts, **chosen)


@given(
    sizes=st.lists(st.integers(1, 5), min_size=4, max_size=30),
    count=st.integers(2, 4),
    seed=st.integers(0, 99),
)
def test_parts_are_all_items_once_and_cut_no_group(
    sizes: list[int], count: int, seed: int
) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    task = Task(
        labels=("a", "b"),
        items=[{"n": n, "g": int(g)} for n, g in enumerate(groups)],
        template="{{ n }}",
        constraints=[Constraint("at_most_one", "a", by="g")],
    )
    parts = parts_of(task.rules(), count, seed)
    assert len(parts) == count
    assert sorted(np.concatenate(parts).tolist()) == list(range(groups.size))
    within = [set(groups[part].tolist()) for part in parts]
    assert sum(len(group) for group in within) == len(sizes)
    assert max(part.size for part in parts) <= groups.size / count + 2 * max(sizes)


def test_each_part_is_labelled_by_the_model_tuned_on_those_before_it(tmp_path: Path) -> None:
    found = turns(tmp_path)
    first, second = found.turns
    assert first.model == "tiny"
    assert second.model == first.tuned != second.tuned == found.model
    assert (found.labels != UNLABELLED).all()
    assert [open_task("claims", 48).labels[k] for k in found.labels].count("True") == 12
    rows = (Path(second.tuned.removeprefix("tiny+")).parents[1] / "examples.jsonl").read_text()
    assert len(rows.splitlines()) == 48


def test_done_again_it_costs_nothing_and_finds_the_same(tmp_path: Path) -> None:
    first, second = turns(tmp_path), turns(tmp_path)
    assert second.labels.tolist() == first.labels.tolist()
    assert second.model == first.model
    assert (second.usage.requests, second.usage.cached) == (0, 0)


def test_interrupted_in_mid_tuning_it_goes_on(tmp_path: Path) -> None:
    whole = turns(tmp_path / "whole")
    heard = 0

    def interrupted(_: object) -> None:
        nonlocal heard
        heard += 1
        if heard == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        turns(tmp_path / "cut", on_event=interrupted)
    found = turns(tmp_path / "cut")
    assert found.labels.tolist() == whole.labels.tolist()
    adapters = [Path(t.tuned.removeprefix("tiny+")).read_bytes() for t in found.turns]
    expected = [Path(t.tuned.removeprefix("tiny+")).read_bytes() for t in whole.turns]
    assert adapters == expected


@pytest.mark.parametrize(
    ("parts", "why"),
    [(13, "--parts: must be from 2 to 12"), (1, "--parts")],
)
def test_more_parts_than_groups_are_refused(tmp_path: Path, parts: int, why: str) -> None:
    with pytest.raises(InputError, match=why):
        turns(tmp_path, parts)


def test_other_items_under_the_same_name_are_refused(tmp_path: Path) -> None:
    turns(tmp_path)
    with pytest.raises(InputError, match=r"'claims-part-1' is of other items: choose .*--name"):
        turns(tmp_path, 3)
    with pytest.raises(InputError, match=r"is of other settings"):
        turns(tmp_path, settings=RunSettings(method="icm"))
    with pytest.raises(InputError, match=r"is of other model"):
        turns(tmp_path, model="tiny?chunk=64")


def test_a_tuning_that_can_t_be_is_refused_before_anything_is_labelled(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nonsense"):
        turns(tmp_path, tuning={"nonsense": 3})
    with ScoreStore(tmp_path / "e.db") as store:
        assert RunStore(store).list() == []


def test_an_adapter_that_is_gone_is_made_again(tmp_path: Path) -> None:
    first = turns(tmp_path)
    adapter = Path(first.model.removeprefix("tiny+"))
    adapter.unlink()
    again = turns(tmp_path)
    assert Path(again.model.removeprefix("tiny+")).exists()
    assert again.labels.tolist() == first.labels.tolist()


def test_the_command_tells_who_labelled_what(tmp_path: Path) -> None:
    arguments = ["iterate", "facts", "--limit", "16", "--cache", str(tmp_path / "e.db")]
    found = CliRunner().invoke(app, [*arguments, "--epochs", "1", "--json"])
    assert found.exception is None, found.exception
    told = json.loads(found.stdout)
    assert [turn["items"] for turn in told["turns"]] == [8, 8]
    assert len(told["rows"]) == 16
    assert told["model"].startswith("tiny+")
    assert (
        "8 items labelled by tiny+"
        in CliRunner().invoke(app, [*arguments, "--epochs", "1"]).stdout
    )
