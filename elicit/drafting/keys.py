"""Which column tells items apart, and which says what belongs together."""

from __future__ import annotations

from collections.abc import Sequence

from elicit.drafting import words
from elicit.drafting.columns import Column
from elicit.drafting.roles import Roles
from elicit.drafting.toml_text import shown

MOST_IN_GROUP = 50
"""Rows that a group has at most on average."""


def id_column(roles: Roles) -> str | None:
    """The first column that is named like an id and differs in every row."""
    named = [c for c in roles.columns if c.name not in roles.taken and c.named(words.ID)]
    for column in named:
        if column.is_unique and column.longest <= 80:
            roles.tell(
                "id",
                [column.name],
                f"{shown(column.name)} differs in every row and is named like an id.",
                "name another column, or drop the line: rows are then numbered",
            )
            roles.taken.add(column.name)
            return column.name
    why = (
        f"{shown(named[0].name)} is named like an id, but is not different in every row."
        if named
        else "No column is named like an id and differs in every row."
    )
    roles.tell(
        "id",
        [],
        f"{why} Items are numbered by their rows, so labels belong to other items once "
        "rows are moved.",
        'add a column of ids, and the line: id = "COLUMN"',
    )
    return None


def group_column(roles: Roles, pair: Sequence[str]) -> str | None:
    """The column whose name says the most surely that its equal rows belong together."""
    ranked = [
        (order, number)
        for number, column in enumerate(roles.columns)
        if column.name not in (*roles.taken, *roles.aside, *pair)
        and _groups_rows(roles, column)
        and (order := _rank(column)) is not None
    ]
    if not ranked:
        return None
    column = roles.columns[min(ranked)[1]]
    roles.tell(
        "group",
        [column.name],
        f"{shown(column.name)} repeats ({column.distinct:,} values in {roles.n_rows:,} "
        "rows): rows equal in it are taken to belong together.",
        "drop the line `group`; rows are then taken to be independent",
    )
    return column.name


def _groups_rows(roles: Roles, column: Column) -> bool:
    """Whether its values repeat, and not so often that a group has very many rows."""
    held = roles.n_rows - column.missing - column.empty
    return (
        not column.absent
        and column.kind in ("text", "number")
        and 2 <= column.distinct < held <= MOST_IN_GROUP * column.distinct
    )


def _rank(column: Column) -> int | None:
    ranks = (words.GROUP, words.ID, words.GROUPED)
    return next((n for n, named in enumerate(ranks) if column.named(named)), None)
