"""A run's labels put to a task's items, and whether these are the items that it labelled.

Ids alone do not tell where they are row numbers: row 1 of any file is "1".
"""

from __future__ import annotations

import numpy as np

from elicit.cache.errors import InputError
from elicit.cache.runs import Run
from elicit.outcome import outcome_of, result_of, texts_of
from elicit.scorer import IntArray
from elicit.task import Task


def worded_otherwise(run: Run, task: Task, source: str) -> int:
    """How many items of a finished run the task of `source` has by the same id in other words.

    Raises:
        InputError: the run is not finished, the labels are not those it gave, or words differ
            where ids are row numbers.
    """
    result = result_of(run)
    if list(task.labels) != result["label_names"]:
        raise InputError(
            f"{source}: its labels ({', '.join(task.labels)}) are not those that run "
            f"{run.name!r} gave ({', '.join(result['label_names'])}): name the task that it "
            "labelled, or give the same labels in the same order"
        )
    text_of = dict(zip((item.id for item in task.items), texts_of(task), strict=True))
    # Runs of before these were kept have none.
    kept = dict(zip(result["ids"], result.get("texts", ()), strict=False))
    if kept:
        differ = sum(1 for i, text in kept.items() if text_of.get(i, text) != text)
    else:
        differ = 0 if task.digest() == run.task_digest else len(text_of)
    numbered = all(item.id == str(n) for n, item in enumerate(task.items, 1))
    if differ and numbered:
        raise InputError(
            f"{source}: {differ} of its items are not worded as run {run.name!r} saw them, and "
            "its ids are row numbers, which tell nothing of the items: name the task that the "
            "run labelled, or give both an id column ([data] id)"
        )
    return differ


def check_same_task(run: Run, task: Task) -> None:
    """Refuse a task that is not as the finished run had it, to the letter. Ids may have changed
    places under the same prompts, and prompts under the same ids.

    Raises:
        InputError: it has changed, or the run is not finished.
    """
    if worded_otherwise(run, task, run.task_path or task.name) or (
        task.digest() != run.task_digest
    ):
        raise changed_task(run, task)


def changed_task(run: Run, task: Task) -> InputError:
    """The error of a run whose task is not as it was."""
    source = run.task_path or task.name
    return InputError(
        f"run {run.name!r}: the task {source} has changed since it began: its labels are of "
        "other prompts or rules. Put the file and its data back as they were, or run it again "
        "(scores of unchanged prompts are kept); copy a task file before you edit it"
    )


def labels_of_run(run: Run, task: Task) -> IntArray:
    """(n_items,): the labels that a finished run gave a task's items, `UNLABELLED` where it
    abstained.

    Raises:
        InputError: it is not finished, has other labels, or has not labelled all the items.
    """
    result = result_of(run)
    answer = outcome_of(run).answer.labels.tolist()
    label_of = dict(zip(result["ids"], answer, strict=True))
    known = sum(item.id in label_of for item in task.items)
    if known < len(task.items):
        raise InputError(
            f"run {run.name!r} labelled {known} of the {len(task.items)} items, and on others "
            f"it can't be compared: give the --limit that it was started with"
        )
    return np.array([label_of[item.id] for item in task.items], np.int64)
