"""Logical consistency: which labels may stand together.

Constraints follow from the inputs alone, never from gold labels. A task names them; they
are compiled once to `Rules`, tables over item numbers that a search asks many times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from elicit.prompt import TaskError

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
UNLABELLED = -1
MAX_ASSIGNMENTS = 4096
"""Assignments of one set of items that are enumerated; above, only single changes are."""

Kind = Literal["at_most_one", "exactly_one", "asymmetric", "same_answer", "implies"]


@dataclass(frozen=True, slots=True)
class Constraint:
    """A declarative constraint, as a task file has it.

    - `at_most_one`, `exactly_one`: among items equal in field `by`, so many have `label`.
      Here and below, items whose `by` is empty or null belong to no group.
    - `asymmetric`: two items with fields `left` and `right` swapped (and equal in `by`, if
      given) do not both have `label`; with `strict`, exactly one has.
    - `same_answer`: among items equal in `by`, equal `answer` means equal labels, and of
      different answers not both have `label`. An empty answer equals nothing.
    - `implies`: an item with `label` implies it for the items whose ids (one, or a list)
      its field `then` holds.
    """

    kind: Kind
    label: str
    by: str | None = None
    left: str | None = None
    right: str | None = None
    answer: str | None = None
    then: str | None = None
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Custom:
    """A rule in Python: `holds(fields of a group's items, their labels) -> bool`.

    It is asked only where every item of the group is labelled. Task files can't name one,
    since they may come from a stranger.
    """

    holds: Callable[[Sequence[Mapping[str, object]], Sequence[str]], bool]
    by: str


@dataclass(frozen=True, slots=True)
class GroupRule:
    """A rule on a whole group: `at_least_one` of `label`, or a custom one."""

    items: tuple[int, ...]
    holds: Callable[[tuple[int, ...]], bool]
    at_least_one: int | None = None
    """The label at least one item must have; None for a custom rule."""


class Rules:
    """Constraints over item numbers. `allowed[p, a, b]` says whether the two items of pair p
    may have the labels a and b."""

    def __init__(
        self,
        n_items: int,
        n_labels: int,
        pairs: Mapping[tuple[int, int], BoolArray],
        groups: Sequence[GroupRule],
        clusters: Iterable[Sequence[int]],
    ) -> None:
        self.n_items, self.n_labels = n_items, n_labels
        self.pairs: IntArray = np.array(list(pairs), np.int64).reshape(-1, 2)
        self.allowed: BoolArray = np.array(list(pairs.values()), bool).reshape(
            -1, n_labels, n_labels
        )
        self.groups = tuple(groups)
        self._custom = [g for g in groups if g.at_least_one is None]
        self._at_least_one = [g for g in groups if g.at_least_one is not None]
        sizes = [len(g.items) for g in self._at_least_one]
        self._flat = np.array([i for g in self._at_least_one for i in g.items], np.int64)
        self._wanted = np.repeat([g.at_least_one or 0 for g in self._at_least_one], sizes)
        self._starts = np.cumsum([0, *sizes[:-1]]) if sizes else np.empty(0, np.int64)
        self._pair_index = {pair: i for i, pair in enumerate(pairs)}
        kept = [c for c in clusters if len(c) > 1]
        rows = np.repeat(np.arange(len(kept)), [len(c) for c in kept])
        columns = np.array([i for c in kept for i in c], np.int64)
        ones = np.ones(len(columns), np.int64)
        self._member = csr_array((ones, (rows, columns)), shape=(len(kept), n_items))

    def parts(self) -> IntArray:
        """(n_items,): items with equal numbers are connected by rules, others are not."""
        heads = [self.pairs[:, 0], *(np.full(len(g.items), g.items[0]) for g in self.groups)]
        tails = [self.pairs[:, 1], *(np.array(g.items) for g in self.groups)]
        row, column = np.concatenate(heads), np.concatenate(tails)
        shape = (self.n_items, self.n_items)
        graph = csr_array((np.ones(row.size), (row, column)), shape=shape)
        _, part = connected_components(graph, directed=False)
        return part.astype(np.int64)

    def _broken_pairs(self, labels: IntArray) -> IntArray:
        a, b = labels[self.pairs[:, 0]], labels[self.pairs[:, 1]]
        both = (a != UNLABELLED) & (b != UNLABELLED)
        return np.flatnonzero(both & ~self.allowed[np.arange(len(a)), a, b])

    def _broken_groups(self, labels: IntArray) -> list[GroupRule]:
        broken = []
        if self._at_least_one:
            given_flat = labels[self._flat]
            fine = (given_flat == self._wanted) | (given_flat == UNLABELLED)
            without = ~np.logical_or.reduceat(fine, self._starts)
            broken = [self._at_least_one[i] for i in np.flatnonzero(without)]
        for group in self._custom:
            given = tuple(labels[list(group.items)].tolist())
            if UNLABELLED not in given and not group.holds(given):
                broken.append(group)
        return broken

    def count(self, labels: IntArray) -> int:
        """I(D): violated pairs and violated whole-group rules. Labels have shape (n_items,)."""
        return len(self._broken_pairs(labels)) + len(self._broken_groups(labels))

    def violations(self, labels: IntArray) -> list[tuple[int, ...]]:
        """The items of each violated rule, in a fixed order."""
        pairs = [(int(i), int(j)) for i, j in self.pairs[self._broken_pairs(labels)]]
        return [*pairs, *(group.items for group in self._broken_groups(labels))]

    def related_to(self, chosen: BoolArray) -> BoolArray:
        """Which items share a constraint or group with an item that is chosen, (n_items,)."""
        touched = (self._member @ chosen.astype(np.int64)) > 0
        related: BoolArray = (self._member.T @ touched.astype(np.int64)) > 0
        return related

    def consistent_assignments(
        self, items: Sequence[int], labels: IntArray
    ) -> list[tuple[int, ...]]:
        """Labels of `items` that satisfy every rule among themselves.

        Where there are too many to list, those that differ from `labels` in one item.
        """
        if self.n_labels ** len(items) <= MAX_ASSIGNMENTS:
            options: Iterable[tuple[int, ...]] = product(
                range(self.n_labels), repeat=len(items)
            )
        else:
            current = tuple(labels[list(items)].tolist())
            options = (
                (*current[:k], label, *current[k + 1 :])
                for k in range(len(items))
                for label in range(self.n_labels)
                if label != current[k]
            )
        inside = set(items)
        groups = [g for g in self.groups if inside.issuperset(g.items)]
        return [option for option in options if self._consistent(items, option, groups)]

    def _consistent(
        self, items: Sequence[int], option: tuple[int, ...], groups: Sequence[GroupRule]
    ) -> bool:
        label_of = dict(zip(items, option, strict=True))
        for i, j in combinations(sorted(items), 2):
            pair = self._pair_index.get((i, j))
            if pair is not None and not self.allowed[pair, label_of[i], label_of[j]]:
                return False
        return all(g.holds(tuple(label_of[i] for i in g.items)) for g in groups)


class _Builder:
    """Collects what constraints say, joining rules on the same pair."""

    def __init__(self, n_labels: int) -> None:
        self.n_labels = n_labels
        self.pairs: dict[tuple[int, int], BoolArray] = {}
        self.groups: list[GroupRule] = []
        self.clusters: list[Sequence[int]] = []

    def forbid(self, i: int, j: int, forbidden: BoolArray) -> None:
        """Labels (a, b) of (i, j) may not stand together where `forbidden[a, b]`."""
        if i > j:
            i, j, forbidden = j, i, forbidden.T
        known = self.pairs.get((i, j), np.ones((self.n_labels, self.n_labels), bool))
        self.pairs[i, j] = known & ~forbidden

    def both(self, label: int) -> BoolArray:
        table = np.zeros((self.n_labels, self.n_labels), bool)
        table[label, label] = True
        return table

    def neither(self, label: int) -> BoolArray:
        table = np.ones((self.n_labels, self.n_labels), bool)
        table[label, :] = table[:, label] = False
        return table


def compile_rules(
    ids: Sequence[str],
    fields: Sequence[Mapping[str, object]],
    groups: Sequence[str | None],
    labels: Sequence[str],
    constraints: Sequence[Constraint | Custom],
    first: int | None = None,
) -> Rules:
    """Compile constraints over items given by their ids, fields and groups.

    `first` gives the rules among the first so many items alone. A rule on a whole group
    that is cut so is left out: what it asks for may stand on the other side.

    Raises:
        TaskError: a constraint names a label or field there is not.
    """
    builder = _Builder(len(labels))
    for constraint in constraints:
        if isinstance(constraint, Custom):
            _custom(builder, constraint, fields, labels)
            continue
        if constraint.label not in labels:
            raise TaskError(
                f"[[constraint]] {constraint.kind}: {constraint.label!r} is not one of the "
                f"labels {', '.join(labels)}"
            )
        label = list(labels).index(constraint.label)
        _COMPILERS[constraint.kind](builder, constraint, label, ids, fields)
    builder.clusters += _members(groups, range(len(ids)))
    count = len(ids) if first is None else first
    return Rules(
        count,
        len(labels),
        {pair: table for pair, table in builder.pairs.items() if max(pair) < count},
        [group for group in builder.groups if max(group.items) < count],
        [[i for i in cluster if i < count] for cluster in builder.clusters],
    )


def _column(
    constraint: Constraint, option: str, fields: Sequence[Mapping[str, object]]
) -> list[object]:
    """The values of the field that an option of a constraint names."""
    name = getattr(constraint, option)
    if name is None:
        raise TaskError(f"[[constraint]] {constraint.kind}: needs {option} = a field's name")
    return _values(name, fields, f"[[constraint]] {constraint.kind}: {option}")


def _values(name: str, fields: Sequence[Mapping[str, object]], where: str) -> list[object]:
    for row in fields:
        if name not in row:
            known = ", ".join(sorted(row))
            raise TaskError(f"{where}: a row has no field {name!r}; fields: {known}")
    return [row[name] for row in fields]


def is_missing(value: object) -> bool:
    """Whether a field has no value: items without one do not belong together."""
    return value is None or value == ""


def _members(values: Sequence[object], items: Sequence[int]) -> list[list[int]]:
    """Items with equal values, in order of first appearance; those without one are left out."""
    found: dict[str, list[int]] = {}
    for value, item in zip(values, items, strict=True):
        if not is_missing(value):
            found.setdefault(repr(value), []).append(item)
    return list(found.values())


_Fields = Sequence[Mapping[str, object]]


def _at_most_one(
    builder: _Builder, c: Constraint, label: int, _ids: Sequence[str], fields: _Fields
) -> None:
    for members in _members(_column(c, "by", fields), range(len(fields))):
        builder.clusters.append(members)
        for i, j in combinations(members, 2):
            builder.forbid(i, j, builder.both(label))


def _exactly_one(
    builder: _Builder, c: Constraint, label: int, ids: Sequence[str], fields: _Fields
) -> None:
    _at_most_one(builder, c, label, ids, fields)
    for members in _members(_column(c, "by", fields), range(len(fields))):
        builder.groups.append(
            GroupRule(tuple(members), lambda given: label in given, at_least_one=label)
        )


def _asymmetric(
    builder: _Builder, c: Constraint, label: int, _ids: Sequence[str], fields: _Fields
) -> None:
    left, right = _column(c, "left", fields), _column(c, "right", fields)
    by = _column(c, "by", fields) if c.by else ["all"] * len(fields)
    at: dict[str, list[int]] = {}
    placed = [i for i in range(len(fields)) if not is_missing(by[i])]
    for i in placed:
        at.setdefault(repr((by[i], left[i], right[i])), []).append(i)
    for i in placed:
        for j in at.get(repr((by[i], right[i], left[i])), ()):
            if i < j:
                builder.clusters.append((i, j))
                builder.forbid(i, j, builder.both(label))
                if c.strict:
                    builder.forbid(i, j, builder.neither(label))


def _same_answer(
    builder: _Builder, c: Constraint, label: int, _ids: Sequence[str], fields: _Fields
) -> None:
    answers = _column(c, "answer", fields)
    differ = ~np.eye(builder.n_labels, dtype=bool)
    for members in _members(_column(c, "by", fields), range(len(fields))):
        builder.clusters.append(members)
        for i, j in combinations(members, 2):
            known = answers[i] not in ("", None)
            same = known and answers[i] == answers[j]
            builder.forbid(i, j, differ if same else builder.both(label))


def _implies(
    builder: _Builder, c: Constraint, label: int, ids: Sequence[str], fields: _Fields
) -> None:
    index = {identifier: i for i, identifier in enumerate(ids)}
    table = np.zeros((builder.n_labels, builder.n_labels), bool)
    table[label, :] = True
    table[label, label] = False
    for i, value in enumerate(_column(c, "then", fields)):
        targets = value if isinstance(value, list) else [] if value in ("", None) else [value]
        for target in targets:
            j = index.get(str(target))
            if j is None:
                raise TaskError(f"[[constraint]] implies: item {ids[i]!r}: no item {target!r}")
            if i != j:
                builder.clusters.append((i, j))
                builder.forbid(i, j, table)


_COMPILERS = {
    "at_most_one": _at_most_one,
    "exactly_one": _exactly_one,
    "asymmetric": _asymmetric,
    "same_answer": _same_answer,
    "implies": _implies,
}


def _custom(builder: _Builder, custom: Custom, fields: _Fields, labels: Sequence[str]) -> None:
    values = _values(custom.by, fields, "Custom: by")
    for members in _members(values, range(len(fields))):
        builder.clusters.append(members)
        rows = [fields[i] for i in members]

        def holds(given: tuple[int, ...], rows: _Fields = rows) -> bool:
            return bool(custom.holds(rows, [labels[label] for label in given]))

        builder.groups.append(GroupRule(tuple(members), holds))
