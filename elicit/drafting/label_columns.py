"""Which columns hold labels: gold ones, those of people, and those that only might."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from elicit.drafting import words
from elicit.drafting.columns import Column, label_texts, stem_and_side
from elicit.drafting.roles import Roles
from elicit.drafting.toml_text import plain, shown
from elicit.prompt import TaskError

MOST_LABELS = 20
"""A column with more values than these is not taken for labels unless it is named."""

MOST_NAMED = 5 * MOST_LABELS
"""One that is named by the user may have so many."""

FEW_ROWS = 10
"""In fewer rows than these labels need not repeat where a column is named like them."""

_MOST_TOLD = 5


def set_aside_by_name(roles: Roles) -> None:
    """Columns named like gold labels, whatever they hold: no prompt that is guessed shows
    them."""
    asked = roles.asked or ()
    roles.aside |= {
        c.name for c in roles.columns if c.named(words.SURELY_GOLD) and c.name not in asked
    }


def gold_column(roles: Roles, said: str | None) -> str | None:
    """The column of gold labels: as `said`, else the one whose name says so the most surely.

    Raises:
        TaskError: what is said is no column of labels.
    """
    if said is not None:
        return _gold_as_said(roles, said)
    ranked = sorted(
        (min(words.GOLD.index(word) for word in column.tokens if word in words.GOLD), number)
        for number, column in enumerate(roles.columns)
        if column.named(words.GOLDEN) and _may_be_labels(roles, column)
    )
    found = [roles.columns[number] for _, number in ranked]
    roles.aside |= {c.name for c in found}
    usable = [c for c in found if _fits(roles, c) and not c.absent and not c.named(words.HUMAN)]
    if not usable:
        return None
    chosen, *others = usable
    more = "".join(
        f" {shown(c.name)} looks like labels too and is in no prompt." for c in others
    )
    roles.tell(
        "gold",
        [chosen.name],
        f"{shown(chosen.name)} is named like labels and has "
        f"{len(label_texts(chosen) or ())} values. No search and no prompt sees it: it is "
        f"kept for `elicit eval` and `elicit baselines`.{more}",
        "if it is no label, drop the line `gold`, and use the column where you want it; "
        "--gold COLUMN names another",
    )
    roles.taken.add(chosen.name)
    return chosen.name


def _gold_as_said(roles: Roles, name: str) -> str:
    column = roles.named(name, "--gold")
    values = label_texts(column)
    if values is None or len(values) < 2:
        raise TaskError(
            f"--gold {shown(name)}: holds no labels, which are at least two texts, whole "
            "numbers or truth values; name another column"
        )
    if not roles.given and len(values) > MOST_NAMED:
        raise TaskError(
            f"--gold {shown(name)}: has {len(values):,} different values; name a column "
            "with a few, or say which are labels: --labels A,B"
        )
    strange = [v for v in values if roles.given and v not in roles.given]
    if strange:
        raise TaskError(
            f"--gold {shown(name)}: holds {shown(strange[0])}, which is none of the labels "
            f"{', '.join(roles.given)}: give all of them with --labels"
        )
    if roles.asked is not None and name in roles.asked:
        raise TaskError(
            f"--item uses {shown(name)}, the gold column: the model would see the answer"
        )
    roles.tell("gold", [name], f"{shown(name)}, as --gold says.", "drop the line `gold`")
    roles.aside.add(name)
    roles.taken.add(name)
    return name


def human_column(roles: Roles, labels: Sequence[str]) -> str | None:
    """The first column that is named like labels of people and holds these labels."""
    named = [
        c
        for c in roles.columns
        if c.name not in roles.taken and c.named(words.HUMAN) and _like_labels(roles, c)
    ]
    roles.aside |= {c.name for c in named}
    for column in named:
        alone = not _has_partner(roles, column) and not column.absent
        if alone and set(label_texts(column) or ()) <= set(labels):
            roles.tell(
                "human",
                [column.name],
                f"{shown(column.name)} is named like labels that people gave. It is kept "
                "for `elicit baselines`.",
                "drop the line `human`",
            )
            roles.taken.add(column.name)
            return column.name
    return None


def set_aside_by_values(roles: Roles, pair: Sequence[str]) -> None:
    """Columns of a few short values that repeat, as labels do: no prompt that is guessed
    shows them. What is compared, `pair`, is shown all the same."""
    roles.aside |= {
        c.name for c in roles.free() if c.name not in pair and _repeats_like_labels(roles, c)
    }


def tell_candidates(roles: Roles) -> None:
    """Say which columns might hold labels, where none was taken for gold."""
    found = [
        c
        for c in roles.columns
        if c.name in roles.aside - roles.taken
        and not c.absent
        and _fits(roles, c)
        and 2 <= len(label_texts(c) or ()) <= MOST_NAMED
    ]
    if not found:
        return
    found.sort(key=lambda c: (not c.named(words.GOLDEN), c.named(words.ABOUT)))
    listed = found[:_MOST_TOLD]
    told = " ".join(
        f"{shown(c.name)} has {len(label_texts(c) or ())} values: "
        f"--gold {shlex.quote(plain(c.name))} if it holds labels."
        for c in listed
    )
    more = f" So may {len(found) - len(listed)} more." if found[_MOST_TOLD:] else ""
    roles.tell(
        "gold",
        [c.name for c in found],
        f"No column is taken for labels. {told}{more} No prompt shows "
        f"{'it' if len(found) == 1 else 'them'}.",
        "--item TEMPLATE shows the columns that you name in it",
    )


def _may_be_labels(roles: Roles, column: Column) -> bool:
    return _like_labels(roles, column) and not _has_partner(roles, column)


def _like_labels(roles: Roles, column: Column) -> bool:
    """Whether its values are few, short, and repeat, unless there are too few rows for that
    and its name is clear."""
    if roles.asked is not None and column.name in roles.asked:
        return False
    values = label_texts(column)
    if values is None or column.words > 3 or not 2 <= len(values) <= MOST_LABELS:
        return False
    clear = roles.n_rows < FEW_ROWS and column.named(words.SURELY_GOLD)
    return clear or len(values) * 2 <= roles.n_rows


def _repeats_like_labels(roles: Roles, column: Column) -> bool:
    if column.named(words.ID | words.GROUP | (words.TEXTS & words.GROUPED)):
        return False
    # What is named like a text is one, unless its values are very few.
    often = not column.named(words.TEXTS) or column.distinct * 5 <= roles.n_rows
    return often and _may_be_labels(roles, column)


def _has_partner(roles: Roles, column: Column) -> bool:
    """Whether it is one of two columns of a kind, as `answer_a` is beside `answer_b`."""
    own = stem_and_side(column.name)
    others = (stem_and_side(c.name) for c in roles.columns if c is not column)
    return own is not None and any(o is not None and o[0] == own[0] for o in others)


def _fits(roles: Roles, column: Column) -> bool:
    return not roles.given or set(label_texts(column) or ()) <= set(roles.given)
