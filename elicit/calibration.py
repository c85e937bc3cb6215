"""How far a confidence can be trusted, seen from which labels are right.

Everything here is the same for any order of the items: items of equal confidence are never
told apart, as those of a model that is asked for samples often are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from elicit.scorer import FloatArray, IntArray

BINS = 10
MOST_POINTS = 100
NORMAL_975 = 1.959963984540054
"""Standard deviations within which a normal variable is with 95 % probability."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a curve: a share of `n` items, with Wilson's 95 % interval.

    The interval takes items to be independent, which those of one group are not.
    """

    x: float
    y: float
    n: int
    low: float
    high: float


def wilson(successes: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share of `n` independent trials (E. B. Wilson, 1927)."""
    p, z2 = successes / n, NORMAL_975**2 / n
    centre = (p + z2 / 2) / (1 + z2)
    half = np.sqrt(p * (1 - p) * z2 + z2**2 / 4) / (1 + z2)
    return max(0.0, min(p, float(centre - half))), min(1.0, max(p, float(centre + half)))


def odds_against_rest(log_probs: FloatArray) -> FloatArray:
    """Log-odds of each label against all others together, in nats, (n_items, n_labels).

    Unlike probabilities they tell very sure items apart, which all round to one.
    """
    rest = [
        np.logaddexp.reduce(np.delete(log_probs, label, axis=1), axis=1)
        for label in range(log_probs.shape[1])
    ]
    odds: FloatArray = log_probs - np.column_stack(rest)
    return odds


def calibration_curve(certainty: FloatArray, correct: FloatArray) -> tuple[Point, ...]:
    """Mean confidence (x) and accuracy (y) of the items of each bin, least sure first.

    `certainty` is the log-odds, in nats, that each item's label is right, and `correct` 1
    where it is, both (n,). The ten bins are as equally filled as equal confidences allow:
    these share a bin.
    """
    confidence = special.expit(certainty)
    # Twice the middle rank less one is a whole number: no bin depends on rounding.
    middle = (2 * stats.rankdata(certainty)).astype(np.int64) - 1
    bins = middle * BINS // (2 * certainty.size)
    points = []
    for number in np.unique(bins):
        inside = bins == number
        right, n = float(correct[inside].sum()), int(inside.sum())
        points.append(Point(float(confidence[inside].mean()), right / n, n, *wilson(right, n)))
    return tuple(points)


def calibration_error(curve: tuple[Point, ...]) -> float:
    """Mean gap between confidence and accuracy over the items of a calibration curve, 0 to 1.

    The expected calibration error (arXiv 1706.04599, eq. 3) over equally filled bins. Few
    items a bin raise it by their chance: with one a bin it is the mean distance to 0 or 1.
    """
    return sum(abs(p.x - p.y) * p.n for p in curve) / sum(p.n for p in curve)


def risk_coverage(certainty: FloatArray, correct: FloatArray, of: int) -> tuple[Point, ...]:
    """Error (y) among the surest items against their share (x) of `of` items.

    A point for each distinct certainty, of which no more than `MOST_POINTS` are kept, evenly
    with the first and the last (arXiv 1805.08206).
    """
    kept, wrong = _cumulated(certainty, correct)
    if kept.size > MOST_POINTS:
        places = np.linspace(0, kept.size - 1, MOST_POINTS).round().astype(np.int64)
        kept, wrong = kept[places], wrong[places]
    return tuple(
        Point(n / of, bad / n, n, *wilson(bad, n))
        for n, bad in zip(kept.tolist(), wrong.tolist(), strict=True)
    )


def area_under_risk_coverage(certainty: FloatArray, correct: FloatArray) -> float:
    """AURC, 0 to 1, the less the better: the mean over all items of the error among those at
    least as sure (Y. Geifman, G. Uziel and R. El-Yaniv, arXiv 1805.08206)."""
    kept, wrong = _cumulated(certainty, correct)
    return float(np.diff(kept, prepend=0) @ (wrong / kept) / certainty.size)


def surest(certainty: FloatArray, count: int) -> FloatArray:
    """How far each item is among the `count` surest, 0 to 1, (n,): 1 or 0, and where the
    border falls among equally sure items each of them in part, so that they sum to `count`.
    """
    border = np.sort(certainty)[-count]
    above, tied = certainty > border, certainty == border
    weights: FloatArray = above + tied * ((count - above.sum()) / tied.sum())
    return weights


def brier(log_probs: FloatArray, gold: IntArray) -> float:
    """Mean squared distance of the probabilities from gold, summed over labels, 0 to 2
    (G. W. Brier, 1950): twice what is common for two labels."""
    truth = np.eye(log_probs.shape[1])[gold]
    return float(((np.exp(log_probs) - truth) ** 2).sum(axis=1).mean())


def log_score(log_probs: FloatArray, gold: IntArray) -> float:
    """Mean natural-log probability of the gold labels, in nats: 0 is the best, and minus
    infinity where one had none."""
    return float(log_probs[np.arange(gold.size), gold].mean())


def _cumulated(certainty: FloatArray, correct: FloatArray) -> tuple[IntArray, FloatArray]:
    """Items at least as sure as each distinct certainty, and the wrong ones among them."""
    order = np.argsort(-certainty, kind="stable")
    ranked = certainty[order]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), certainty.size - 1)
    return last + 1, np.cumsum(1 - correct[order])[last]
