"""Two texts of a kind in each row, such as are compared, and rows that swap them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from elicit.constraints import is_missing
from elicit.drafting.columns import Column, stem_and_side


@dataclass(frozen=True, slots=True)
class Swapped:
    """Rows that another row repeats with the pair swapped and all else in the prompt equal."""

    count: int
    within: str | None
    """The column to look for such rows in; None for all of the data."""
    alone: bool
    """Whether no rows but these are found there."""


def pair_of(free: Sequence[Column]) -> tuple[str, str] | None:
    """The first two columns of texts whose names differ in nothing but a side: `answer_a` and
    `answer_b`, `left` and `right`."""
    sides: dict[tuple[str, ...], dict[str, Column]] = {}
    for column in free:
        found = stem_and_side(column.name)
        if found is not None and column.kind == "text" and not column.missing:
            sides.setdefault(found[0], {})[found[1]] = column
    return next(
        ((two["1"].name, two["2"].name) for two in sides.values() if len(two) == 2), None
    )


def swapped_rows(
    left: Column, right: Column, others: Sequence[Column], group: Column | None
) -> Swapped:
    """Swapped rows, and the column that finds them, the group before the other texts."""
    sides = list(zip(map(repr, left.values), map(repr, right.values), strict=True))

    def count(columns: Sequence[Column]) -> int:
        same = zip(*(map(repr, c.values) for c in columns), strict=True)
        keys = list(same) if columns else [()] * len(sides)
        rows = set(zip(keys, sides, strict=True))
        return sum(
            a != b and (key, (b, a)) in rows for key, (a, b) in zip(keys, sides, strict=True)
        )

    swapped = count(others)
    groups = [] if group is None else [group]
    for column in (*groups, *(c for c in others if c is not group)):
        if not any(map(is_missing, column.values)) and count([column]) == swapped:
            return Swapped(swapped, column.name, True)
    return Swapped(swapped, None, count([]) == swapped)
