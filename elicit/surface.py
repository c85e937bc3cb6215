"""Surface features of a task's items: what can be told of a text without understanding it.

Length, position in the data, single words, words at a place, fields with few values, the
size of an item's group. Where such a feature alone predicts the labels that a search found,
the labels may be of the feature and not of the concept. Which do is for `association`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

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


def words_of(text: str) -> list[str]:
    """The words and punctuation marks of a text, in lower case, in their order."""
    return _WORD.findall(text.casefold())


def features_of(task: Task, texts: Sequence[str]) -> list[Feature]:
    """Every feature of the items that is not the same for all of them, what says more of the
    text first.

    `texts` are the items as they are shown, one each. Fields by which a constraint ties items
    together, and the group, count by what they say of a single item: the size of its group.
    """
    parsed = [words_of(text) for text in texts]
    found = [
        *_words(parsed),
        *_places(parsed),
        *_fields(task),
        _number("length in words", [len(words) for words in parsed]),
        _number("length in characters", [len(text) for text in texts]),
        _number("position in the data", range(len(texts))),
        _number("size of the group", _group_sizes([item.group for item in task.items])),
    ]
    return [feature for feature in found if feature is not None and np.ptp(feature.values) > 0]


def _number(name: str, values: Sequence[float]) -> Feature:
    return Feature(name, np.array(values, float))


def _group_sizes(groups: Sequence[str | None]) -> list[int]:
    """Items in the group of each; 1 for an item of none."""
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
    """Fields of numbers, and fields with few values, less those that tie items together."""
    tying = _tying_fields(task)
    found: list[Feature | None] = []
    for name in sorted(set.intersection(*(set(item.fields) for item in task.items)) - tying):
        values = [item.fields[name] for item in task.items]
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) == len(values) and len(set(numbers)) > FEW_VALUES:
            found.append(_number(f"field {name}", numbers))
        elif all(isinstance(v, str | int | float | bool) or is_missing(v) for v in values):
            found.append(
                _categories(f"field {name}", ["" if v is None else str(v) for v in values])
            )
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
