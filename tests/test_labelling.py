"""The library's front door: what a run is tied to, and what it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the extra local")

import elicit
from elicit.cache.claims import Owner, write_owner
from elicit.cache.errors import InputError
from elicit.cache.runs import RunStore
from elicit.cache.store import ScoreStore
from elicit.cli.tasks import embedded_tasks, open_task
from elicit.demo import demonstrate
from elicit.labelling import open_store, resume
from elicit.prompt import TaskError
from elicit.providers.base import Usage
from elicit.providers.usage import BudgetReached, Limits
from elicit.run import Progress

CLAIMS = embedded_tasks()["claims"]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "e.db"


@pytest.fixture
def stopped(cache: Path) -> str:
    """The name of a run that its budget stopped."""
    with pytest.raises(BudgetReached):
        elicit.label(
            open_task("claims", 24), "tiny", name="r", cache=cache, limits=Limits(tokens=500)
        )
    return "r"


def test_a_resumed_run_spends_nothing_twice(cache: Path, stopped: str) -> None:
    whole = elicit.label(open_task("claims", 24), "tiny", cache=False)
    found = resume(stopped, open_task, cache=cache)
    assert list(found.rows()) == list(whole.rows())
    assert 0 < found.usage.forwarded_tokens < whole.usage.forwarded_tokens
    again = resume(stopped, open_task, cache=cache)
    assert list(again.rows()) == list(whole.rows())
    assert again.usage == Usage()


def test_a_run_is_not_resumed_with_another_model(cache: Path, stopped: str) -> None:
    with ScoreStore(cache) as store, store.transaction():
        other = "UPDATE runs SET model = 'llama-cpp:" + str(
            CLAIMS.parent.parent / "organism.gguf?chunk=64'"
        )
        store.connection.execute(other)
    with pytest.raises(InputError, match="not the model it began with"):
        resume(stopped, open_task, cache=cache)


def test_a_run_held_on_another_machine_is_taken_over_by_force(
    cache: Path, stopped: str
) -> None:
    with ScoreStore(cache) as store, store.transaction():
        run = RunStore(store).get(stopped)
        write_owner(store.connection, run.id, Owner("elsewhere", "boot", os.getpid(), "1"))
    with pytest.raises(InputError, match="elsewhere is working on run"):
        resume(stopped, open_task, cache=cache)
    assert resume(stopped, open_task, cache=cache, force=True).run.status == "done"


def test_a_task_made_in_python_says_how_to_go_on(cache: Path) -> None:
    items = [{"text": f"Brelin eats {food}"} for food in ("plums", "figs", "pears")]
    task = elicit.Task(labels=["False", "True"], items=items, template="{{ text }}: ")
    with pytest.raises(BudgetReached):
        elicit.label(task, "tiny", name="p", cache=cache, limits=Limits(tokens=1))
    with pytest.raises(InputError, match=r"made in Python. Call elicit\.label"):
        resume("p", open_task, cache=cache)
    assert len(elicit.label(task, "tiny", cache=cache).labels) == 3


def test_constraints_that_can_not_be_met_are_refused_before_a_token_is_spent(
    cache: Path,
) -> None:
    never = elicit.Custom(lambda *_: False, by="g")
    items = [{"text": f"Brelin eats {food}", "g": "one"} for food in ("plums", "figs")]
    task = elicit.Task(
        labels=["no", "yes"], items=items, template="{{ text }}: ", constraints=[never]
    )
    with pytest.raises(TaskError, match="contradict"):
        elicit.label(task, "tiny", cache=cache)
    with open_store(cache) as store:
        assert RunStore(store).list() == []
        assert store.stats().scores == 0


def test_a_limit_asks_nothing_of_a_group_it_cuts() -> None:
    whole, cut = open_task("claims"), open_task("claims", 6)
    assert len(whole.rules().groups) == len(whole.items) / 4
    assert [group.items for group in cut.rules().groups] == [(0, 1, 2, 3)]
    assert cut.rules().pairs.max() == 5


def test_labels_that_can_not_be_written_are_kept(cache: Path, tmp_path: Path) -> None:
    result = elicit.label(open_task("claims", 8), "tiny", name="k", cache=cache)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="elicit resume k --out"):
        result.save(tmp_path / "file" / "labels.jsonl")
    written = result.save(tmp_path / "new" / "labels.jsonl")
    assert len([json.loads(line) for line in written.read_text().splitlines()]) == 8
    assert [path.name for path in written.parent.iterdir()] == ["labels.jsonl"]


def test_a_lone_surrogate_in_an_id_is_written_as_json_has_it(tmp_path: Path) -> None:
    items = [
        elicit.Item(identifier, {"text": f"Brelin eats {food}"})
        for identifier, food in (("a\udc80", "plums"), ("b", "figs"))
    ]
    task = elicit.Task(labels=["False", "True"], items=items, template="{{ text }}: ")
    result = elicit.label(task, "tiny", cache=False)
    lines = result.save(tmp_path / "l.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a\udc80", "b"]


def test_a_run_of_the_demonstration_records_its_own_usage(cache: Path) -> None:
    total = demonstrate(CLAIMS, seeds=1, cache=cache).usage.forwarded_tokens
    with open_store(cache) as store:
        runs = {run.method: run.usage["forwarded_tokens"] for run in RunStore(store).list()}
    assert set(runs) == {"bootstrap", "icm"}
    assert 0 < runs["bootstrap"] < runs["icm"] < total


def test_progress_tells_of_every_iteration(cache: Path) -> None:
    seen: list[Progress] = []
    task = open_task("claims", 8)
    elicit.label(
        task, "tiny", cache=cache, method="icm", iterations=12, on_progress=seen.append
    )
    assert [event.state.iteration for event in seen] == list(range(13))
