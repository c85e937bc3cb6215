"""Runs side by side: on which items their labels differ, and how far they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from elicit.agreement import agreement, agreement_up_to_names
from elicit.cache.errors import InputError
from elicit.constraints import UNLABELLED
from elicit.report.facts import MISSING, Comparison, RunFacts, RunPair
from elicit.scorer import IntArray


def compare(runs: Sequence[RunFacts]) -> Comparison:
    """Put runs beside each other, items by their ids, in the order in which they first occur.

    Items of one id may be asked in other words, as where two prompts are compared.

    Raises:
        InputError: no two of them share an item, or words differ where ids are row numbers,
            which tell nothing of the items.
    """
    texts: dict[str, str] = {}
    for run in runs:
        for item in run.items:
            texts.setdefault(item.id, item.text)
    _check_ids(runs, texts)
    labels = tuple(_names(run, tuple(texts)) for run in runs)
    pairs = tuple(
        _pair(runs[a], runs[b], labels[a], labels[b])
        for a, b in combinations(range(len(runs)), 2)
    )
    if not any(pair.both for pair in pairs):
        names = ", ".join(run.name for run in runs)
        raise InputError(f"runs {names} have no labelled item in common: nothing to compare")
    given = zip(*labels, strict=True)
    differing = sum(len({name for name in names if name is not None}) > 1 for names in given)
    return Comparison(
        tuple(runs), tuple(texts), tuple(texts.values()), labels, differing, pairs
    )


def reworded(runs: Sequence[RunFacts]) -> int:
    """Items that are worded otherwise in another of the runs."""
    texts: dict[str, set[str]] = {}
    for run in runs:
        for item in run.items:
            texts.setdefault(item.id, set()).add(item.text)
    return sum(len(words) > 1 for words in texts.values())


def _check_ids(runs: Sequence[RunFacts], texts: Mapping[str, str]) -> None:
    for run in runs:
        numbered = all(item.id == str(n) for n, item in enumerate(run.items, 1))
        other = [item.id for item in run.items if texts[item.id] != item.text]
        if numbered and other:
            raise InputError(
                f"run {run.name!r}: item {other[0]!r} has other words than in run "
                f"{runs[0].name!r}, and its ids are row numbers, which tell nothing of the "
                "items: give both tasks an id column ([data] id)"
            )


def _names(run: RunFacts, ids: Sequence[str]) -> tuple[str | None, ...]:
    """The name of the label that the run gave each item."""
    known = {i.id: run.label_names[i.label] for i in run.items if i.label != MISSING}
    return tuple(known.get(identifier) for identifier in ids)


def _pair(
    first: RunFacts,
    second: RunFacts,
    one: Sequence[str | None],
    two: Sequence[str | None],
) -> RunPair:
    names = list(dict.fromkeys((*first.label_names, *second.label_names)))
    a, b = _numbers(one, names), _numbers(two, names)
    return RunPair(
        first=first.name,
        second=second.name,
        both=int(((a != UNLABELLED) & (b != UNLABELLED)).sum()),
        agreement=agreement(a, b),
        agreement_up_to_names=agreement_up_to_names(a, b, len(names)),
    )


def _numbers(labels: Sequence[str | None], names: Sequence[str]) -> IntArray:
    return np.array([UNLABELLED if n is None else names.index(n) for n in labels], np.int64)
