"""How far labellings agree: by the labels' names, and as splits, whatever the names are.

No gold is seen here. Chains of one search that agree show that the model knows a concept
well enough to find it again; two chains with the same split under swapped names know the
concept and not what it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from elicit.constraints import UNLABELLED
from elicit.scorer import FloatArray, IntArray

Agreement = Callable[[IntArray, IntArray], float | None]
"""Of two labellings, (n_items,) each; None where no item is labelled in both."""


def best_permutation(labels: IntArray, reference: IntArray, n_labels: int) -> IntArray:
    """The names, (n_labels,), under which `labels` agrees with `reference` on most items.

    Label k of `labels` is called `result[k]` in `reference`. Both are (n_items,); an item
    that is `UNLABELLED` in one of them is left out. Among equally good permutations one
    that renames the fewest labels is taken. An assignment problem on the table of counts
    (H. W. Kuhn, "The Hungarian method for the assignment problem", 1955).
    """
    both = _labelled(labels, reference)
    counts = np.zeros((n_labels, n_labels), np.int64)
    np.add.at(counts, (labels[both], reference[both]), 1)
    # An item more outweighs all the names that could be kept.
    _, names = linear_sum_assignment(
        counts * (n_labels + 1) + np.eye(n_labels, dtype=np.int64), maximize=True
    )
    return np.asarray(names, np.int64)


def renamed(labels: IntArray, names: IntArray) -> IntArray:
    """`labels`, (n_items,), with label k called `names[k]`; `UNLABELLED` stays so."""
    result: IntArray = np.where(labels == UNLABELLED, UNLABELLED, names[labels])
    return result


def agreement(a: IntArray, b: IntArray) -> float | None:
    """Share of the items labelled in both that have the same label in both, 0 to 1."""
    both = _labelled(a, b)
    return float((a == b)[both].mean()) if both.any() else None


def agreement_up_to_names(a: IntArray, b: IntArray, n_labels: int) -> float | None:
    """The same under the names of `a` that agree best with `b`, 0 to 1.

    With two labels it is never below 1/2, and one label only agrees with any split as far
    as the split's larger part: `adjusted_rand` takes off what chance gives.
    """
    return agreement(renamed(a, best_permutation(a, b, n_labels)), b)


def adjusted_rand(a: IntArray, b: IntArray) -> float | None:
    """Agreement of two splits less what chance gives: 1 for the same split, 0 on average for
    unrelated ones of the same sizes, and less where they agree still less.

    The adjusted Rand index (L. Hubert and P. Arabie, "Comparing partitions", 1985).
    Names do not matter. Against one label only any other split scores 0; two labellings with
    one label only are the same split and score 1, as do any two of a single item.
    """
    both = _labelled(a, b)
    if not both.any():
        return None
    _, rows = np.unique(a[both], return_inverse=True)
    _, columns = np.unique(b[both], return_inverse=True)
    counts = np.zeros((rows.max() + 1, columns.max() + 1), np.int64)
    np.add.at(counts, (rows, columns), 1)
    same = _pairs(counts)
    in_a, in_b = _pairs(counts.sum(axis=1)), _pairs(counts.sum(axis=0))
    if same == in_a == in_b:
        return 1.0
    expected = in_a * in_b / _pairs(counts.sum())
    return float((same - expected) / ((in_a + in_b) / 2 - expected))


def mean_over_pairs(labelings: Sequence[IntArray], of: Agreement) -> float | None:
    """The mean of a measure over all pairs of labellings that share a labelled item.

    None where there is no such pair.
    """
    found = (of(a, b) for a, b in combinations(labelings, 2))
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None


def mean_agreement(labelings: Sequence[IntArray]) -> float | None:
    """Mean `agreement`, by names, over all pairs, 0 to 1; None for a single labelling."""
    return mean_over_pairs(labelings, agreement)


def mean_agreement_up_to_names(labelings: Sequence[IntArray], n_labels: int) -> float | None:
    """Mean `agreement_up_to_names` over all pairs, 0 to 1; None for a single labelling."""
    return mean_over_pairs(labelings, lambda a, b: agreement_up_to_names(a, b, n_labels))


def mean_adjusted_rand(labelings: Sequence[IntArray]) -> float | None:
    """Mean `adjusted_rand` over all pairs, at most 1; None for a single labelling."""
    return mean_over_pairs(labelings, adjusted_rand)


def permuted(log_probs: FloatArray, names: IntArray) -> FloatArray:
    """Columns of `log_probs`, (n_items, n_labels), with label k called `names[k]`."""
    result = np.empty_like(log_probs)
    result[:, names] = log_probs
    return result


def _labelled(a: IntArray, b: IntArray) -> NDArray[np.bool_]:
    return np.asarray((a != UNLABELLED) & (b != UNLABELLED))


def _pairs(counts: IntArray) -> int:
    """Pairs of items in the same cell."""
    return int((counts * (counts - 1) // 2).sum())
