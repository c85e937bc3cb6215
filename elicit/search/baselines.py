"""What a search is measured against: labels from no demonstrations, or from given ones.

Golden and random few-shot differ only in who wrote the demonstrations' labels, so both are
one function; the caller who may see gold labels passes them in.
"""

from __future__ import annotations

import numpy as np

from elicit.scorer import Ask, FloatArray, IntArray, Scorer

_NOTHING: IntArray = np.empty(0, np.int64)


def zero_shot(scorer: Scorer) -> FloatArray:
    """Label log-probabilities of every item with no demonstrations, (n_items, n_labels)."""
    items = np.arange(scorer.n_items)
    return scorer.log_probs([Ask(_NOTHING, _NOTHING, items)])[0]


def few_shot(
    scorer: Scorer, labels: IntArray, shots: int, rng: np.random.Generator
) -> tuple[IntArray, FloatArray]:
    """Draw `shots` items as demonstrations with these labels, and score all others.

    Returns the items scored, (n_items - shots,), and their label log-probabilities,
    (n_items - shots, n_labels).
    """
    order = rng.permutation(scorer.n_items)
    shown, rest = order[:shots], np.sort(order[shots:])
    return rest, scorer.log_probs([Ask(shown, labels[shown], rest)])[0]
