"""What can be seen of a column without knowing what it is for."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from elicit.constraints import is_missing
from elicit.data import Row

Kind = Literal["text", "number", "boolean", "other", "nothing"]

_ORDERED = (
    ("false", "true"),
    ("no", "yes"),
    ("incorrect", "correct"),
    ("wrong", "right"),
    ("negative", "positive"),
    ("negative", "neutral", "positive"),
)
_SIDES = {"a": "1", "b": "2", "1": "1", "2": "2", "left": "1", "right": "2"} | {
    "first": "1",
    "second": "2",
    "one": "1",
    "two": "2",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column. Counts are of rows; `words` is the mean over texts that are not empty, and
    `longest` is in characters."""

    name: str
    values: tuple[object, ...] = field(repr=False)
    """None where a row has no value."""
    absent: int
    """Rows without the field, as JSON Lines may have."""
    missing: int
    """Rows where it is null or absent."""
    empty: int
    """Rows where it is an empty text."""
    distinct: int
    """Different values, null and empty texts left out."""
    kind: Kind
    words: float
    longest: int

    @property
    def tokens(self) -> tuple[str, ...]:
        """The words of its name, in lower case."""
        return _tokens(self.name)

    @property
    def is_unique(self) -> bool:
        """Whether it can tell items apart: whole numbers or texts, one a row, all different
        as texts."""
        texts = {str(v) for v in self.values if isinstance(v, str | int) and v != ""}
        return self.kind in ("text", "number") and len(texts) == len(self.values)

    def named(self, words: frozenset[str]) -> bool:
        """Whether one of these is in its name."""
        return not words.isdisjoint(self.tokens)


def columns_of(rows: Sequence[Row]) -> tuple[Column, ...]:
    """Every column that a row has, in order of first appearance."""
    names = dict.fromkeys(name for row in rows for name in row.fields)
    return tuple(_column(name, rows) for name in names)


def _column(name: str, rows: Sequence[Row]) -> Column:
    values = tuple(row.fields.get(name) for row in rows)
    held = [v for v in values if not is_missing(v)]
    texts = [str(v) for v in held if isinstance(v, str | int | float)]
    return Column(
        name=name,
        values=values,
        absent=sum(name not in row.fields for row in rows),
        missing=sum(v is None for v in values),
        empty=sum(v == "" for v in values if isinstance(v, str)),
        distinct=len(set(map(repr, held))),
        kind=_kind(held),
        words=sum(len(text.split()) for text in texts) / len(texts) if texts else 0.0,
        longest=max((len(str(v)) for v in held), default=0),
    )


def _kind(held: Sequence[object]) -> Kind:
    if not held:
        return "nothing"
    if all(isinstance(v, bool) for v in held):
        return "boolean"
    if all(_is_number(v) for v in held):
        return "number"
    # An answer of "7" or "true" among texts may come as a number or truth value.
    return "text" if all(isinstance(v, str | int | float) for v in held) else "other"


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        float(value)
    except (ValueError, OverflowError):
        return isinstance(value, int)
    return True


def label_texts(column: Column) -> tuple[str, ...] | None:
    """Its values as labels, in an order that does not depend on the rows; None where they
    can't be labels. They are read as `elicit.gold` reads them."""
    found: set[str] = set()
    kinds: set[type] = set()
    for value in column.values:
        if is_missing(value) or (isinstance(value, float) and math.isnan(value)):
            continue
        kinds.add(str if isinstance(value, str) else bool if isinstance(value, bool) else int)
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
            found.add(str(value) if isinstance(value, bool) else str(int(value)))
        else:
            return None
    if kinds == {bool}:
        return ("False", "True")
    words = {text.strip() for text in found}
    sound = len(words) == len(found) and all(
        word and word.isprintable() and len(word) <= 80 for word in words
    )
    if len(kinds) > 1 or not sound:
        return None
    for order in _ORDERED:
        if {word.lower() for word in words} == set(order) and len(words) == len(order):
            return tuple(sorted(found, key=lambda text: order.index(text.strip().lower())))
    if all(word.isdecimal() for word in words):
        return tuple(sorted(found, key=lambda text: (int(text), text)))
    return tuple(sorted(found, key=lambda text: (text.casefold(), text)))


def stem_and_side(name: str) -> tuple[tuple[str, ...], str] | None:
    """`answer_a` → (("answer",), "1"), `answer_b` → (("answer",), "2"); None for a name that
    tells no side."""
    tokens = _tokens(name)
    at = [i for i, token in enumerate(tokens) if token in _SIDES]
    if len(at) != 1:
        return None
    stem = (*tokens[: at[0]], *tokens[at[0] + 1 :])
    return stem, _SIDES[tokens[at[0]]]


def _tokens(name: str) -> tuple[str, ...]:
    """snake_case, camelCase and spaces taken apart."""
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Za-z])(?=\d)", " ", name)
    return tuple(re.findall(r"[^\W_]+", parts.lower()))
