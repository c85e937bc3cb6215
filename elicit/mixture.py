"""One answer from several chains: the mean of their label probabilities.

Chains start from other demonstrations and err on other items, so that their mean is surer
where they agree and less sure where they do not (a linear opinion pool: M. Stone, "The
opinion pool", 1961). No gold is seen here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from elicit.agreement import best_permutation, permuted
from elicit.scorer import FloatArray, IntArray


def mixture(
    log_probs: Sequence[FloatArray],
    labels: Sequence[IntArray],
    weights: Sequence[float] | None = None,
) -> FloatArray:
    """The log of the mean over chains of the label probabilities, (n_items, n_labels).

    A chain is its normalised log-probabilities, (n_items, n_labels), and its labels,
    (n_items,). The first keeps its names: give the chain of the highest objective first.
    The names of every other are permuted so that its labels agree best with the first's.
    `weights`, one a chain and not negative, need not sum to one; without them all count the
    same. The mean may violate constraints that each chain keeps.

    Raises:
        ValueError: there is no chain, their numbers differ, or no weight is above zero.
    """
    if not log_probs:
        raise ValueError("a mixture needs a chain at least")
    share = np.ones(len(log_probs)) if weights is None else np.array(weights, float)
    if (share < 0).any() or not share.sum() > 0:
        raise ValueError(f"weights must not be negative, and one above zero: {weights}")
    share /= share.sum()
    first, n_labels = labels[0], log_probs[0].shape[1]
    terms = [
        permuted(rows, best_permutation(own, first, n_labels)) + np.log(part)
        for rows, own, part in zip(log_probs, labels, share, strict=True)
        if part > 0
    ]
    mean: FloatArray = np.logaddexp.reduce(terms, axis=0)
    return mean
