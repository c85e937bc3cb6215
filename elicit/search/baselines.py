"""What a search is measured against: labels from no demonstrations, or from given ones.

Golden, human and random demonstrations differ only in who wrote their labels, so all are one
function; the caller who may see labels from outside passes them in.
"""

from __future__ import annotations

import numpy as np

from elicit.constraints import UNLABELLED
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
    items: IntArray,
    labels: IntArray,
    shots: int,
    rng: np.random.Generator,
    scored: IntArray | None = None,
) -> Ask:
    """Ask for all `items` but `shots` of them, drawn as demonstrations with their `labels`,
    (n_items,); or for all of `scored` but these."""
    order = rng.permutation(items)
    shown = order[:shots]
    return Ask(shown, labels[shown], np.setdiff1d(items if scored is None else scored, shown))


def many_shot_asks(
    labels: IntArray,
    rng: np.random.Generator,
    limit: int | None = None,
    scored: IntArray | None = None,
) -> tuple[Ask, Ask]:
    """Ask for every item, or every one of `scored`, after the labelled items of the half it
    is not in.

    Halves are drawn. `labels`, (n_items,), has `UNLABELLED` where an item can't be shown.
    `limit` bounds the demonstrations: the first so many of the draw are shown, so that those
    of a lower limit are among those of a higher one.
    """
    order = rng.permutation(labels.size)
    asked = np.isin(np.arange(labels.size), order if scored is None else scored)
    first, second = np.array_split(order, 2)
    asks = []
    for own, other in ((first, second), (second, first)):
        shown = other[labels[other] != UNLABELLED][:limit]
        asks.append(Ask(shown, labels[shown], np.sort(own[asked[own]])))
    return asks[0], asks[1]
