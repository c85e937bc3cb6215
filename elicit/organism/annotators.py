"""Annotators of the embedded world who are asked about any two answers to a question.

The human labels of the task `preferences` are drawn once, for its rows. Answers of a policy are
not known beforehand: these annotators label them by the same rule (`human_labels`), each pair
for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from elicit.align.comparisons import Comparison, Labeller
from elicit.align.head_to_head import same
from elicit.cache.errors import InputError
from elicit.cache.keys import json_digest
from elicit.organism.human_labels import MISTAKEN, WRONG_SHARE


def who_knows(known: Mapping[str, str]) -> Labeller:
    """Prefers the right answer; of two wrong ones, or two right ones, neither.

    Args:
        known: Question → its right answer. The labeller raises `InputError` on a question
            that has none.
    """

    def better(comparison: Comparison) -> bool | None:
        right = _on(comparison.prompt, known, "right answer")
        first, second = same(right, comparison.first), same(right, comparison.second)
        return None if first == second else first

    return lambda comparisons: [better(comparison) for comparison in comparisons]


def people(known: Mapping[str, str], families: Mapping[str, str]) -> Labeller:
    """As `who_knows`, but for the family `MISTAKEN`, where `WRONG_SHARE` of the pairs are taken
    the wrong way round, in either order.

    Args:
        families: Question → its family; as `known`.
    """
    knows = who_knows(known)

    def label(comparisons: Sequence[Comparison]) -> list[bool | None]:
        return [
            right if right is None or not turned(comparison) else not right
            for comparison, right in zip(comparisons, knows(comparisons), strict=True)
        ]

    def turned(comparison: Comparison) -> bool:
        family = _on(comparison.prompt, families, "family")
        return family == MISTAKEN and _draw(comparison) < WRONG_SHARE

    return label


def _on(question: str, told: Mapping[str, str], what: str) -> str:
    if question not in told:
        raise InputError(f"question {question!r}: its {what} is not known; give it")
    return told[question]


def _draw(comparison: Comparison) -> float:
    """A number from 0 to 1 that is the pair's own, whichever answer is named first."""
    answers = sorted(a.strip().casefold() for a in (comparison.first, comparison.second))
    return int(json_digest([comparison.prompt, *answers]), 16) / 16**64
