"""Surface features of a task's items: what can be told of a text without understanding it.

Length, single words, words at a place, fields of numbers and of few values. Where such a
feature alone predicts the labels that a search found, the labels may be of the feature and not
of the concept. Which do is for `association`. An item's place in the data and the size of its
group are features too, but the model sees neither.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np

from elicit.constraints import is_missing
from elicit.scorer import FloatArray, IntArray
from elicit.task import Task

FEW_VALUES = 20
"""Values that a categorical feature may have at most; rarer ones are joined into one."""
LEAST_ITEMS = 4
"""Items that must have a word or value, and that must lack it."""
LEAST_SHARE = 0.04
"""The same as a share of all items: what is rarer can't predict a label of many."""
MOST_WORDS = 2_000
"""Words that are looked at; of more, those in most items."""
OTHER = "(another)"
_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_PLACES = {"first": 0, "second": 1, "third": 2, "last": -1}


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of every item: a number, or one of a few values.

    `values` has shape (n_items,): the numbers, or for a categorical feature indices into
    `names`, which is empty for a number.
    """

    name: str
    values: FloatArray
    names: tuple[str, ...] = ()
    levels: tuple[float, ...] = ()
    """Where `values` are places in an order, what stands there, the lowest first. Whole numbers
    among them have any size."""
    shown: bool = True
    """Whether the model sees it."""


def words_of(text: str) -> list[str]:
    """The words and punctuation marks of a text, in lower case, in their order."""
    return _WORD.findall(text.casefold())


def features_of(task: Task, texts: Sequence[str]) -> list[Feature]:
    """Every feature of the items that is not the same for all of them, what says more of the
    text first.

    `texts` are the items as they are shown, one each. Of fields only those count that the
    template names: others may hold what the labels are compared with. Fields by which a
    constraint ties items together, and the group, count by what they say of a single item: the
    size of its group.
    """
    parsed = [words_of(text) for text in texts]
    found = [
        *_words(parsed),
        *_places(parsed),
        *_fields(task),
        _number("length in words", [len(words) for words in parsed]),
        _number("length in characters", [len(text) for text in texts]),
        _number("position in the data", range(len(texts)), shown=False),
        _number("size of the group", _group_sizes(task), shown=False),
    ]
    return [feature for feature in found if feature is not None and np.ptp(feature.values) > 0]


def _number(name: str, values: Sequence[float], shown: bool = True) -> Feature:
    return Feature(name, np.array(values, float), shown=shown)


def _group_sizes(task: Task) -> list[int]:
    """Items in the group of each; 1 for an item of none."""
    groups = [item.group for item in task.items]
    counts = Counter(group for group in groups if group is not None)
    return [counts[group] if group is not None else 1 for group in groups]


def _least(n_items: int) -> int:
    return max(LEAST_ITEMS, int(np.ceil(LEAST_SHARE * n_items)))


def _categories(name: str, values: Sequence[str]) -> Feature | None:
    """A categorical feature; None where values differ so much that few items share one."""
    counts = Counter(values)
    common = sorted(v for v, count in counts.items() if count >= _least(len(values)))
    covered = sum(counts[value] for value in common)
    if not common or len(common) > FEW_VALUES or covered < len(values) / 2:
        return None
    names = (*common, OTHER)
    index = {value: number for number, value in enumerate(common)}
    codes = [index.get(value, len(common)) for value in values]
    return Feature(name, np.array(codes, float), names)


def _places(parsed: Sequence[list[str]]) -> list[Feature | None]:
    """The word that stands first, second, third and last."""
    return [
        _categories(
            f"{name} word",
            [words[place] if -len(words) <= place < len(words) else "" for words in parsed],
        )
        for name, place in _PLACES.items()
    ]


def _fields(task: Task) -> list[Feature | None]:
    """The fields that prompts show, less those that tie items together: of numbers, and those
    with few values. What is in a field of objects or lists is told by its words only."""
    found: list[Feature | None] = []
    for name in sorted(task.template.names - _tying_fields(task)):
        values = [None if _is_missing(v) else v for v in _column(task, name)]
        numbers: list[int | float | None] = [v for v in values if v is None or _is_number(v)]
        if len(numbers) == len(values) and len(set(numbers) - {None}) > FEW_VALUES:
            found += _ordered(f"field {name}", numbers)
        elif all(v is None or isinstance(v, str | int | float) for v in values):
            texts = ["" if v is None else str(v) for v in values]
            found.append(_categories(f"field {name}", texts))
    return found


def _column(task: Task, name: str) -> list[object]:
    return [item.fields[name] for item in task.items]


def _is_missing(value: object) -> bool:
    return is_missing(value) or (isinstance(value, float) and math.isnan(value))


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ordered(name: str, numbers: Sequence[int | float | None]) -> list[Feature]:
    """Numbers by their places in their order, which no size of theirs can spoil, and whether
    one is there at all. Of an item without one the place is the middle, which tells least."""
    levels = sorted({v for v in numbers if v is not None})
    place = {level: number for number, level in enumerate(levels)}
    middle = float(np.median([place[v] for v in numbers if v is not None]))
    places = [middle if v is None else place[v] for v in numbers]
    found = [Feature(name, np.array(places, float), levels=tuple(levels))]
    lacking = np.array([v is None for v in numbers], float)
    if _least(lacking.size) <= lacking.sum() <= lacking.size - _least(lacking.size):
        found.append(Feature(f"an empty {name}", lacking))
    return found


def _tying_fields(task: Task) -> set[str]:
    options = ("by", "left", "right", "answer", "then")
    named = {getattr(c, option, None) for c in task.constraints for option in options}
    return {name for name in named if name is not None}


def _words(parsed: Sequence[list[str]]) -> list[Feature]:
    """Whether a word is in the text, for each that enough items have and enough lack."""
    holders: dict[str, list[int]] = {}
    for item, words in enumerate(parsed):
        for word in set(words):
            holders.setdefault(word, []).append(item)
    least, n_items = _least(len(parsed)), len(parsed)
    kept = [w for w, items in holders.items() if least <= len(items) <= n_items - least]
    found = []
    for word in sorted(kept, key=lambda w: (-len(holders[w]), w))[:MOST_WORDS]:
        values = np.zeros(n_items)
        values[holders[word]] = 1.0
        found.append(Feature(f"the word {word!r}", values))
    return found


def folds_of(groups: IntArray, folds: int, rng: np.random.Generator) -> IntArray:
    """A fold, from 0, for each item, (n_items,); items of one group are in the same one.

    `groups` are numbers from 0, (n_items,).
    """
    order = rng.permutation(int(groups.max()) + 1)
    sizes = np.bincount(groups)
    filled = np.zeros(folds, np.int64)
    fold = np.empty(order.size, np.int64)
    for group in order.tolist():
        fold[group] = filled.argmin()
        filled[fold[group]] += sizes[group]
    assigned: IntArray = fold[groups]
    return assigned
