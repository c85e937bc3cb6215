"""The consistent labelling that the model's own scores like best.

Items that no rule connects are independent, so each connected component is solved alone:
small ones by enumeration, large ones as an integer program (HiGHS through scipy).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from elicit.constraints import MAX_ASSIGNMENTS, GroupRule, IntArray, Rules
from elicit.prompt import TaskError

FloatArray = NDArray[np.float64]
IMPOSSIBLE = -1e4
"""Stands for a log-probability of minus infinity: far below any finite one, yet summable."""


def repair(
    scores: FloatArray, rules: Rules, *, enumerate_up_to: int = MAX_ASSIGNMENTS
) -> IntArray:
    """Labels, (n_items,), that maximise the sum of `scores`, (n_items, n_labels), and
    violate nothing.

    Components with up to `enumerate_up_to` labellings are listed; of equal ones the lowest
    labels win there.

    Raises:
        TaskError: constraints contradict each other, or a custom rule spans too many items.
    """
    scores = np.maximum(scores, IMPOSSIBLE)
    labels: IntArray = scores.argmax(axis=1)
    for items, pairs, groups in _components(rules):
        if rules.n_labels ** len(items) <= enumerate_up_to:
            labels[items] = _enumerate(scores, rules, items, pairs, groups)
        else:
            labels[items] = _solve(scores, rules, items, pairs, groups)
    return labels


def _components(rules: Rules) -> list[tuple[IntArray, list[int], list[GroupRule]]]:
    """Items, pair numbers and group rules of every component that has a rule."""
    part = rules.parts()
    grouped = [item for group in rules.groups for item in group.items]
    constrained = np.unique([*rules.pairs.ravel().tolist(), *grouped]).astype(np.int64)
    items: dict[int, list[int]] = {}
    for item in constrained.tolist():
        items.setdefault(int(part[item]), []).append(item)
    pairs: dict[int, list[int]] = {p: [] for p in items}
    for number, first in enumerate(rules.pairs[:, 0].tolist()):
        pairs[int(part[first])].append(number)
    groups: dict[int, list[GroupRule]] = {p: [] for p in items}
    for group in rules.groups:
        groups[int(part[group.items[0]])].append(group)
    return [(np.array(items[p]), pairs[p], groups[p]) for p in items]


def _enumerate(
    scores: FloatArray,
    rules: Rules,
    items: IntArray,
    pairs: Sequence[int],
    groups: Sequence[GroupRule],
) -> IntArray:
    size = len(items)
    options = np.indices((rules.n_labels,) * size).reshape(size, -1).T
    place = {int(item): k for k, item in enumerate(items)}
    good = np.ones(len(options), bool)
    for pair in pairs:
        i, j = (place[int(item)] for item in rules.pairs[pair])
        good &= rules.allowed[pair, options[:, i], options[:, j]]
    for group in groups:
        columns = [place[item] for item in group.items]
        good &= [group.holds(tuple(option)) for option in options[:, columns].tolist()]
    if not good.any():
        raise _contradiction(items)
    totals = scores[items, options].sum(axis=1)
    best: IntArray = options[np.where(good, totals, -np.inf).argmax()]
    return best


def _solve(
    scores: FloatArray,
    rules: Rules,
    items: IntArray,
    pairs: Sequence[int],
    groups: Sequence[GroupRule],
) -> IntArray:
    """One binary variable an item and label; a forbidden pair of them sums to at most one."""
    n_labels, size = rules.n_labels, len(items)
    place = {int(item): k * n_labels for k, item in enumerate(items)}
    columns = [list(range(k * n_labels, (k + 1) * n_labels)) for k in range(size)]
    lower, upper = [1.0] * size, [1.0] * size
    for pair in pairs:
        i, j = (place[int(item)] for item in rules.pairs[pair])
        forbidden = np.argwhere(~rules.allowed[pair])
        columns += [[i + int(a), j + int(b)] for a, b in forbidden]
        lower += [0.0] * len(forbidden)
        upper += [1.0] * len(forbidden)
    for group in groups:
        if group.at_least_one is None:
            raise TaskError(
                f"a custom rule connects {size} items; keep its groups small enough to list "
                f"all labellings ({MAX_ASSIGNMENTS:,} at most)"
            )
        columns.append([place[item] + group.at_least_one for item in group.items])
        lower.append(1.0)
        upper.append(float(len(group.items)))
    rows = np.repeat(np.arange(len(columns)), [len(c) for c in columns])
    flat = np.concatenate([np.array(c) for c in columns])
    matrix = csr_array(
        (np.ones(len(flat)), (rows, flat)), shape=(len(columns), size * n_labels)
    )
    result = milp(
        -scores[items].ravel(),
        integrality=np.ones(size * n_labels, np.int64),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(matrix, lower, upper),
        options={"mip_rel_gap": 0.0},
    )
    if result.x is None:
        raise _contradiction(items)
    best: IntArray = np.asarray(result.x).reshape(size, n_labels).argmax(axis=1)
    return best


def _contradiction(items: IntArray) -> TaskError:
    shown = ", ".join(str(int(i) + 1) for i in items[:5])
    more = " ..." if len(items) > 5 else ""
    return TaskError(
        f"the constraints contradict each other: no labels of items {shown}{more} satisfy all"
    )
