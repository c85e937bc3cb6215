"""Measures labels against gold ones, and says how sure the measure is.

The only module, with the baselines that are defined by gold labels, that may see them: no
search imports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

from elicit.cache.errors import InputError
from elicit.constraints import UNLABELLED
from elicit.scorer import FloatArray, IntArray

RESAMPLES = 2_000
CONFIDENCE_BINS = 10


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval, over n items in a number of groups."""

    value: float
    low: float
    high: float
    n: int
    groups: int

    def percent(self) -> str:
        """`92.1 % (88.4 to 95.3)`."""
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How labels compare with gold. Abstentions count against coverage, not accuracy."""

    accuracy: Estimate
    majority: float
    """Accuracy of always giving the commonest gold label, 0 to 1."""
    answered: float
    """Share of the items with gold that were labelled, 0 to 1."""
    auroc: float | None
    """Of the confidence in the second label; two labels only."""
    calibration_error: float | None
    """Expected calibration error over ten equally filled bins, 0 to 1."""
    gold_items: int

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def cluster_interval(
    correct: FloatArray, groups: Sequence[object], *, seed: int = 0
) -> Estimate:
    """The mean of `correct`, (n,), with a 95 % percentile bootstrap interval over groups.

    Items of one group are not independent, so whole groups are drawn again. Where the
    values do not vary the bootstrap would claim certainty: there the interval is Wilson's
    for as many trials as there are groups.
    """
    _, index = np.unique(np.array([str(g) for g in groups]), return_inverse=True)
    n_groups = int(index.max()) + 1
    sums = np.bincount(index, correct, n_groups)
    counts = np.bincount(index, minlength=n_groups)
    mean = float(correct.mean())
    if np.ptp(correct) == 0:
        exact = stats.binomtest(round(mean * n_groups), n_groups).proportion_ci(method="wilson")
        return Estimate(mean, float(exact.low), float(exact.high), correct.size, n_groups)
    draws = np.random.default_rng(seed).integers(n_groups, size=(RESAMPLES, n_groups))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(mean, float(low), float(high), correct.size, n_groups)


def over_seeds(values: Sequence[float]) -> Estimate:
    """The mean over seeds with its 95 % t-interval; one seed has no interval (0 to 1)."""
    n = len(values)
    mean = float(np.mean(values))
    if n < 2:
        return Estimate(mean, 0.0, 1.0, n, n)
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half), n, n)


def evaluate(
    labels: IntArray, log_odds: FloatArray | None, gold: IntArray, groups: Sequence[object]
) -> Evaluation:
    """Compare labels, (n,), with gold labels, (n,), `UNLABELLED` where there is none.

    `log_odds` is the confidence in each item's own label, in nats, or None where unknown.

    Raises:
        InputError: no item has both a label and a gold label.
    """
    known = gold != UNLABELLED
    both = known & (labels != UNLABELLED)
    if not both.any():
        raise InputError(
            "no item has both a label and a gold label: is the gold column empty, or are the "
            "ids those of other data?"
        )
    correct = (labels == gold)[both].astype(float)
    picked = [groups[i] for i in np.flatnonzero(both).tolist()]
    confident = None if log_odds is None else log_odds[both]
    return Evaluation(
        accuracy=cluster_interval(correct, picked),
        majority=float(np.bincount(gold[known]).max() / known.sum()),
        answered=float(both.sum() / known.sum()),
        auroc=_auroc(labels[both], confident, gold[both]),
        calibration_error=_calibration_error(confident, correct),
        gold_items=int(known.sum()),
    )


def _auroc(labels: IntArray, log_odds: FloatArray | None, gold: IntArray) -> float | None:
    if log_odds is None or gold.max() > 1 or labels.max() > 1 or np.ptp(gold) == 0:
        return None
    towards_second = np.where(labels == 1, log_odds, -log_odds)
    ranks = stats.rankdata(towards_second)
    positive = int((gold == 1).sum())
    negative = gold.size - positive
    area = ranks[gold == 1].sum() - positive * (positive + 1) / 2
    return float(area / (positive * negative))


def _calibration_error(log_odds: FloatArray | None, correct: FloatArray) -> float | None:
    """Mean gap between confidence and accuracy. Log-odds become probabilities as for two
    labels, which for more labels is the chance against the runner-up."""
    if log_odds is None:
        return None
    confidence = 1.0 / (1.0 + np.exp(-log_odds))
    bins = np.array_split(np.argsort(confidence, kind="stable"), CONFIDENCE_BINS)
    gaps = [
        abs(confidence[b].mean() - correct[b].mean()) * b.size / correct.size
        for b in bins
        if b.size
    ]
    return float(sum(gaps))
