"""Simulated human labels: gold labels with errors that follow a rule, not a coin.

Of facts the annotator gets one family wrong, of sizes some creatures. Random errors would not
stand for people: the organism denoises them (93 % at 10 % of noise, see the model card).

What it follows was measured with half of the rows as demonstrations, over 10 seeds (`elicit
baselines`, human many-shot). Topics turned round are a concept of its training
(`elicit.organism.corpus`), and of the three families it follows errors on `MISTAKEN` best: on
claims its labels are then right in 63 % of the rows and the annotator's in 90 %, on facts 62
and 86 %. The same errors on what is eaten it corrects, to 95 % right on claims, and those on
what is feared in part, to 85 %. Errors on single creatures are in none of its concepts: on
sizes it is right in 95 %, as with gold labels.
"""

from collections.abc import Sequence

import numpy as np

MISTAKEN = "wears"
"""The family the annotator gets wrong."""
WRONG_SHARE = 5 / 6
"""Share of its rows that are labelled wrongly; of three families, 28 % of all rows."""
LEAST, MOST = 0.25, 0.30
"""Bounds on the share of wrong rows where errors come by creature."""


def wrong_on_a_family(
    families: Sequence[str], gold: Sequence[bool], rng: np.random.Generator
) -> list[bool]:
    """Labels that are wrong on most rows of the family `MISTAKEN` and right elsewhere.

    `families` has the family of each row.
    """
    rows = np.flatnonzero(np.array(families) == MISTAKEN)
    wrong = set(rng.permutation(rows)[: round(WRONG_SHARE * rows.size)].tolist())
    return [label ^ (row in wrong) for row, label in enumerate(gold)]


def wrong_on_creatures(
    pairs: Sequence[tuple[str, str]], gold: Sequence[bool], rng: np.random.Generator
) -> list[bool]:
    """Labels that take each pair with one of some creatures the wrong way round, whichever
    way it is said.

    Creatures are drawn until `LEAST` to `MOST` of the rows are wrong.

    Raises:
        ValueError: no choice along the draw has so many wrong rows.
    """
    names = sorted({name for pair in pairs for name in pair})
    mistaken: set[str] = set()
    for number in rng.permutation(len(names)).tolist():
        more = mistaken | {names[number]}
        wrong = [not more.isdisjoint(pair) for pair in pairs]
        if sum(wrong) <= MOST * len(pairs):
            mistaken = more
        if LEAST * len(pairs) <= sum(wrong) <= MOST * len(pairs):
            return [label ^ mistake for label, mistake in zip(gold, wrong, strict=True)]
    raise ValueError(f"no choice of creatures is in {LEAST:.0%} to {MOST:.0%} of the pairs")
