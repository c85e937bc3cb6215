"""Gold labels, kept apart from the task: for evaluation and golden baselines only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elicit.prompt import TaskError
from elicit.task_file import TaskFile, read_task_file

_TRUTHS = {"true": True, "false": False, "yes": True, "no": False}


def load_gold(path: str | Path, ids: Sequence[str]) -> NDArray[np.int64] | None:
    """The gold label of each id as an index into the task's labels, -1 where there is none.

    None where the task file names no gold column.

    Raises:
        TaskError: a row's gold value is not one of the labels.
    """
    file = read_task_file(path)
    column = file.data.get("gold")
    if column is None:
        return None
    known: dict[str, int] = {}
    for identifier, row in file.rows():
        if column not in row.fields:
            raise TaskError(f"{row.where}: [data] gold: there is no field {column!r}")
        known[identifier] = _label(file, row.fields[column], row.where)
    return np.array([known.get(identifier, -1) for identifier in ids], np.int64)


def _label(file: TaskFile, value: object, where: str) -> int:
    if value is None or value == "":
        return -1
    if isinstance(value, str) and value in file.labels:
        return file.labels.index(value)
    if isinstance(value, bool):
        for index, label in enumerate(file.labels):
            if _TRUTHS.get(label.strip().lower()) is value:
                return index
    raise TaskError(
        f"{where}: gold value {value!r} is not one of the labels {', '.join(file.labels)}"
    )
