"""Labels from outside, kept apart from the task: for evaluation and baselines only.

Gold labels are the measure; human ones were given by people, who may be wrong. Neither is
seen by a search.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elicit.constraints import UNLABELLED, is_missing
from elicit.prompt import TaskError
from elicit.task_file import Outside, TaskFile, read_task_file, require

_TRUTHS = {"true": True, "false": False, "yes": True, "no": False}


def load_gold(path: str | Path, ids: Sequence[str]) -> NDArray[np.int64] | None:
    """The gold label of each id as an index into the task's labels, -1 where there is none.

    None where the task file names no gold column.

    Raises:
        TaskError: a row's gold value is not one of the labels.
    """
    return _load(path, ids, "gold")


def load_human(path: str | Path, ids: Sequence[str]) -> NDArray[np.int64] | None:
    """The label that people gave each id; see `load_gold`."""
    return _load(path, ids, "human")


def _load(path: str | Path, ids: Sequence[str], kind: Outside) -> NDArray[np.int64] | None:
    file = read_task_file(path)
    column = file.data.get(kind)
    if column is None:
        return None
    known: dict[str, int] = {}
    for identifier, row in file.rows():
        require(row, column, f"[data] {kind}")
        known[identifier] = _label(file, row.fields[column], f"{row.where}: {kind}")
    return np.array([known.get(identifier, UNLABELLED) for identifier in ids], np.int64)


def _label(file: TaskFile, value: object, what: str) -> int:
    """Whole numbers count as their digits: a column of 0 and 1 with a gap is read as floats."""
    if is_missing(value) or (isinstance(value, float) and math.isnan(value)):
        return UNLABELLED
    if isinstance(value, bool):
        for index, label in enumerate(file.labels):
            if _TRUTHS.get(label.strip().lower()) is value:
                return index
    elif isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        value = str(int(value))
    if isinstance(value, str) and value in file.labels:
        return file.labels.index(value)
    raise TaskError(f"{what} value {value!r} is not one of the labels {', '.join(file.labels)}")
