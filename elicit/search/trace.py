"""What is kept of every iteration of a search, and how it is read again.

A row is a list of JSON values in the order of `TraceRow`'s fields. Later versions may add
some at the end; a row of an earlier one is read with those missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elicit.search.state import State


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One iteration. `item` to `accepted` are those of its `Step`, None where it has none."""

    iteration: int
    objective: float
    inconsistency: int
    temperature: float
    item: int | None
    label: int | None
    flips: int | None
    delta: float | None
    accepted: bool | None
    changes: Sequence[tuple[int, int]] | None = None
    """`(item, label)` of every label that differs from the state before."""


def trace_row(before: State | None, state: State) -> tuple[object, ...]:
    """The row of a state, as it is stored; `before` is None for the first."""
    head = (state.iteration, state.objective, state.inconsistency, state.temperature)
    step = state.step
    tail = (
        (None,) * 5
        if step is None
        else (step.item, step.label, step.flips, step.delta, step.accepted)
    )
    return (*head, *tail, _changes(before, state))


def read_trace(rows: Iterable[Sequence[Any]]) -> list[TraceRow]:
    """Rows as `cache.runs.RunStore.trace` gives them."""
    return [TraceRow(*row) for row in rows]


def _changes(before: State | None, state: State) -> list[list[int]]:
    labels = state.labelling.labels
    changed = (
        state.labelling.order
        if before is None
        else np.flatnonzero(labels != before.labelling.labels)
    )
    return [
        [item, label]
        for item, label in zip(changed.tolist(), labels[changed].tolist(), strict=True)
    ]
