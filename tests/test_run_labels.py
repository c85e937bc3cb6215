"""A run's labels are never put to other items without a word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from elicit.cache.errors import InputError
from elicit.cache.runs import Run
from elicit.outcome import texts_of
from elicit.run_labels import worded_otherwise
from elicit.task import Item, Task

LABELS = ("no", "yes")


def task_of(texts: Sequence[str], ids: Sequence[str] | None = None) -> Task:
    items = [
        Item(identifier, {"text": text}, where=f"row {identifier}")
        for identifier, text in zip(
            ids or [str(n) for n in range(1, len(texts) + 1)], texts, strict=True
        )
    ]
    return Task(labels=LABELS, items=items, template="{{ text }}:")


def run_on(task: Task, *, kept: bool = True) -> Run:
    result: dict[str, Any] = {
        "ids": [item.id for item in task.items],
        "label_names": list(task.labels),
        "chains": [],
    }
    if kept:
        result["texts"] = texts_of(task)
    return Run(
        *(1, "r", task.digest(), "", "tiny", "icm", {}, 0, 1, "done"), result, {}, 0.0, 0.0
    )


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("ids", [None, ["a", "b", "c"]])
def test_the_task_of_the_run_is_worded_as_it_was(ids: list[str] | None, kept: bool) -> None:
    task = task_of(["x", "y", "z"], ids)
    assert worded_otherwise(run_on(task, kept=kept), task, "t.toml") == 0


def test_a_part_of_the_items_in_another_order_is_worded_as_it_was() -> None:
    run = run_on(task_of(["x", "y", "z"], ["a", "b", "c"]))
    assert worded_otherwise(run, task_of(["z", "x"], ["c", "a"]), "t.toml") == 0


@pytest.mark.parametrize("kept", [True, False])
def test_row_numbers_do_not_make_other_items_the_same(kept: bool) -> None:
    run = run_on(task_of(["x", "y", "z"]), kept=kept)
    with pytest.raises(InputError, match=r"t.toml: \d of its items .* give both an id column"):
        worded_otherwise(run, task_of(["x", "other", "z"]), "t.toml")


def test_rows_that_moved_are_other_items_where_ids_are_row_numbers() -> None:
    run = run_on(task_of(["x", "y", "z"]))
    with pytest.raises(InputError, match="3 of its items"):
        worded_otherwise(run, task_of(["z", "x", "y"]), "t.toml")


def test_items_with_ids_of_their_own_may_be_reworded_and_are_counted() -> None:
    run = run_on(task_of(["x", "y", "z"], ["a", "b", "c"]))
    assert worded_otherwise(run, task_of(["x", "so y", "z"], ["a", "b", "c"]), "t.toml") == 1


def test_other_labels_are_refused_with_both_sets() -> None:
    task = task_of(["x", "y"])
    other = Task(labels=("a", "b"), items=task.items, template="{{ text }}:")
    with pytest.raises(InputError, match=r"labels \(a, b\) .* gave \(no, yes\): name the task"):
        worded_otherwise(run_on(task), other, "t.toml")
