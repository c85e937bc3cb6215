"""Which columns a prompt shows: texts, and none that may tell the label."""

from __future__ import annotations

from collections.abc import Sequence

from elicit.drafting import words
from elicit.drafting.columns import Column
from elicit.drafting.roles import Finding, Roles
from elicit.drafting.toml_text import shown
from elicit.prompt import MAX_RENDERED, TaskError

MOST_TEXTS = 6
LONG = 8_000
"""Characters from which a text is one to shorten, as a prompt shows many items."""


def guess_texts(
    roles: Roles, pair: tuple[str, str] | None
) -> tuple[tuple[str, ...], list[Finding]]:
    """The texts among columns that are free, in their order, and what to say of them; `pair`
    are two texts to compare.

    Raises:
        TaskError: there is none.
    """
    usable = [c for c in roles.free() if c.kind == "text"]
    holes = [c for c in usable if c.missing and c.named(words.TEXTS)]
    whole = [c for c in usable if not c.missing and c.distinct > 1]
    rich = [c for c in whole if _is_text(c, roles.n_rows)]
    telling = [c for c in rich if c.named(words.TELLING)]
    if len(telling) < len(rich):
        rich = [c for c in rich if c not in telling]
    if not rich and not pair:
        rich = sorted(whole, key=lambda c: (-c.distinct, -c.words))[:1]
    if not rich and not pair:
        raise TaskError(_no_text(roles, holes))
    if pair and not _holds_both(rich, [c for c in whole if c.name in pair]):
        rich = [c for c in whole if c in rich or c.name in pair]
    rich = rich[:MOST_TEXTS]
    for column in rich:
        if column.longest > MAX_RENDERED:
            raise TaskError(
                f"column {shown(column.name)} has up to {column.longest:,} characters, more "
                "than a prompt may have: shorten it, or show a part: --item '{{ NAME[:2000] }}'"
            )
    texts = tuple(c.name for c in rich)
    others = [shown(c.name) for c in roles.columns if c.name not in (*texts, *roles.taken)]
    left = f" Not shown: {', '.join(others)}." if others else ""
    said = Finding(
        "text",
        texts,
        f"{', '.join(map(shown, texts))}: what a prompt shows.{left}",
        "change `item`: {{ name }} stands for a column; --item TEMPLATE writes another",
    )
    return texts, [said, *map(_hole, holes), *_empty(rich), *map(_long, filter(_is_long, rich))]


def _is_text(column: Column, n_rows: int) -> bool:
    few = column.distinct <= 20 and column.distinct * 5 <= n_rows
    if column.named(words.ABOUT) or (few and column.words < 4):
        return False
    return column.words >= 2.5 or column.named(words.TEXTS)


def _holds_both(rich: Sequence[Column], pair: Sequence[Column]) -> bool:
    """Whether a text is a sentence about the pair: "A is larger than B"."""
    return any(
        text.name not in [c.name for c in pair]
        and all(
            all(str(side.values[i]) in str(value) for side in pair)
            for i, value in enumerate(text.values)
        )
        for text in rich
    )


def _is_long(column: Column) -> bool:
    return column.longest > LONG


def _hole(column: Column) -> Finding:
    return Finding(
        "note",
        (column.name,),
        f"{shown(column.name)} has no value in {column.missing:,} rows: no prompt can show it.",
        "fill it or delete these rows, then name it in `item`",
    )


def _empty(rich: Sequence[Column]) -> list[Finding]:
    """Rows that have nothing else to show."""
    if len(rich) > 1 or not rich[0].empty:
        return []
    return [
        Finding(
            "note",
            (rich[0].name,),
            f"{shown(rich[0].name)} is empty in {rich[0].empty:,} rows: they have nothing to "
            "label.",
            "delete these rows",
        )
    ]


def _long(column: Column) -> Finding:
    return Finding(
        "note",
        (column.name,),
        f"{shown(column.name)} has up to {column.longest:,} characters; a prompt shows many.",
        "cut it in `item`, as {{ name[:2000] }}",
    )


def _no_text(roles: Roles, holes: Sequence[Column]) -> str:
    if holes:
        return (
            f"column {shown(holes[0].name)} has no value in {holes[0].missing:,} rows, so no "
            "prompt can show it: fill it or delete these rows"
        )
    kept = [shown(c.name) for c in roles.columns if c.name in roles.aside and c.kind == "text"]
    if kept:
        return (
            f"no text is left for a prompt to show, as {', '.join(kept)} might hold labels: "
            "add a column of texts, or name what a prompt shows: --item '{{ NAME }}'"
        )
    numbers = {c.kind for c in roles.columns if c.name not in roles.taken} == {"number"}
    held = "only numbers" if numbers else "no text that differs from row to row"
    return (
        f"the columns hold {held}; a language model needs texts to label: add a column of "
        "them, or write a sentence around what there is with --item"
    )
