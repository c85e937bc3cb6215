"""What the chains of a run did and found: curves, flips, and the labels as they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from elicit.constraints import UNLABELLED
from elicit.outcome import Outcome
from elicit.report.facts import ChainFacts, Curve
from elicit.run_record import Search
from elicit.scorer import IntArray
from elicit.search.trace import TraceRow


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a chain stands: at its end, or in the middle of its search."""

    labels: IntArray
    objective: float
    inconsistency: int


def standings(searches: Sequence[Search], outcome: Outcome | None) -> list[Standing | None]:
    """Of each chain; None of one that has not begun."""
    if outcome is not None:
        return [Standing(c.labels, c.objective, c.inconsistency) for c in outcome.chains]
    found: list[Standing | None] = []
    for search in searches:
        state = search.state
        found.append(
            None
            if state is None
            else Standing(state.labelling.labels, state.objective, state.inconsistency)
        )
    return found


def chains_shown(
    searches: Sequence[Search],
    stand: Sequence[Standing | None],
    answered: int | None,
    n_labels: int,
) -> tuple[ChainFacts, ...]:
    """The facts of every chain that has begun; `answered` is the number of the one whose labels
    are the answer."""
    found = []
    for number, (search, now) in enumerate(zip(searches, stand, strict=True)):
        if now is None:
            continue
        counts = np.bincount(now.labels[now.labels != UNLABELLED], minlength=n_labels)
        found.append(
            ChainFacts(
                objective=now.objective,
                inconsistency=now.inconsistency,
                shares=tuple((counts / max(1, counts.sum())).tolist()),
                answered=number == answered,
                curve=curve_of(search.trace),
            )
        )
    return tuple(found)


def curve_of(trace: Sequence[TraceRow]) -> Curve:
    return Curve(
        iterations=tuple(row.iteration for row in trace),
        objective=tuple(row.objective for row in trace),
        inconsistency=tuple(row.inconsistency for row in trace),
        temperature=tuple(row.temperature for row in trace),
        accepted=tuple(row.accepted for row in trace),
        changed=tuple(None if row.changes is None else len(row.changes) for row in trace),
    )


def flips_of(searches: Sequence[Search], n_items: int) -> list[int | None]:
    """How often each item's label changed to another, over all chains."""
    flips = [0] * n_items
    for search in searches:
        labelled: set[int] = set()
        for row in search.trace:
            if row.changes is None:
                return [None] * n_items
            for item, label in row.changes:
                flips[item] += item in labelled
                (labelled.discard if label == UNLABELLED else labelled.add)(item)
    return list(flips)
