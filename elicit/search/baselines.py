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
    ask = few_shot_ask(np.arange(scorer.n_items), labels, shots, rng)
    return ask.items, scorer.log_probs([ask])[0]


def few_shot_ask(
    items: IntArray, labels: IntArray, shots: int, rng: np.random.Generator
) -> Ask:
    """Ask for all `items` but `shots` of them, drawn as demonstrations with their `labels`,
    (n_items,)."""
    order = rng.permutation(items)
    shown, rest = order[:shots], np.sort(order[shots:])
    return Ask(shown, labels[shown], rest)
