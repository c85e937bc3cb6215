"""Measures labels against gold ones, and says how sure the measure is.

The only module, with the baselines that are defined by gold labels, that may see them: no
search imports it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from elicit import calibration
from elicit.cache.errors import InputError
from elicit.constraints import UNLABELLED
from elicit.evaluation import Estimate, Evaluation, LabelMeasure
from elicit.scorer import FloatArray, IntArray

RESAMPLES = 2_000
DRAWN_AT_ONCE = 4_000_000
"""Bound on the groups drawn in one array, and so on memory."""
EQUAL = 1e-12
"""Means of groups that differ by less are equal but for rounding."""
COVERAGES = (0.5, 0.8, 0.9)


def cluster_interval(
    correct: FloatArray,
    groups: Sequence[object],
    *,
    weights: FloatArray | None = None,
    seed: int = 0,
) -> Estimate:
    """The mean of `correct`, (n,), with a 95 % percentile bootstrap interval over groups.

    Items of one group are not independent, so whole groups are drawn again. Where the means
    of the groups do not vary the bootstrap would claim certainty: there the interval is
    Wilson's for as many trials as there are groups. Values that vary in one group only have
    no interval (0 to 1). `weights`, (n,), each above 0 and at most 1, count items in part.
    """
    weight = np.ones(correct.size) if weights is None else weights
    _, index = np.unique(np.array([str(g) for g in groups]), return_inverse=True)
    n_groups = int(index.max()) + 1
    sums = np.asarray(np.bincount(index, weight * correct, n_groups), float)
    counts = np.asarray(np.bincount(index, weight, n_groups), float)
    mean, n = float(sums.sum() / counts.sum()), round(float(counts.sum()))
    if n_groups == 1 and np.ptp(correct) > 0:
        low, high = 0.0, 1.0
    elif np.ptp(sums / counts) < EQUAL:
        low, high = calibration.wilson(mean * n_groups, n_groups)
    else:
        low, high = np.quantile(_redrawn(sums, counts, seed), [0.025, 0.975]).tolist()
    return Estimate(mean, low, high, n, n_groups)


def _redrawn(sums: FloatArray, counts: FloatArray, seed: int) -> FloatArray:
    """Means, (RESAMPLES,), of groups drawn with replacement."""
    rng, n_groups = np.random.default_rng(seed), sums.size
    rows = max(1, DRAWN_AT_ONCE // n_groups)
    means = []
    for done in range(0, RESAMPLES, rows):
        draws = rng.integers(n_groups, size=(min(rows, RESAMPLES - done), n_groups))
        means.append(sums[draws].sum(axis=1) / counts[draws].sum(axis=1))
    return np.concatenate(means)


def over_seeds(values: Sequence[float]) -> Estimate:
    """The mean over seeds with its 95 % t-interval; one seed has no interval (0 to 1).

    Seeds that all gave the same have none either: `low` and `high` are their value.
    """
    n = len(values)
    mean = float(np.mean(values))
    if n < 2:
        return Estimate(mean, 0.0, 1.0, n, n)
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half), n, n)


def evaluate(
    labels: IntArray,
    log_odds: FloatArray | None,
    gold: IntArray,
    groups: Sequence[object],
    log_probs: FloatArray | None = None,
    *,
    n_labels: int | None = None,
) -> Evaluation:
    """Compare labels, (n,), with gold labels, (n,), `UNLABELLED` where there is none.

    `log_odds` is the confidence in each item's own label against the best other, in nats, or
    None where unknown. `log_probs`, (n, n_labels), are normalised log-probabilities of all
    labels; where given, confidences are theirs. For more than two labels only they tell how
    probable a label is: without them there is no AUROC and no calibration. `n_labels` is that
    of the task; left out, it is taken from `log_probs`, or from the labels that occur.

    Raises:
        InputError: no item has both a label and a gold label.
    """
    known = gold != UNLABELLED
    both = known & (labels != UNLABELLED)
    if not both.any():
        raise InputError(
            "no item has both a label and a gold label: is the gold column empty, or are the "
            "ids those of other data? Or was every item abstained from?"
        )
    if n_labels is None:
        seen = max(2, int(labels.max()) + 1, int(gold.max()) + 1)
        n_labels = seen if log_probs is None else log_probs.shape[1]
    given, truth = labels[both], gold[both]
    rows = None if log_probs is None else log_probs[both]
    odds = None if log_odds is None else log_odds[both]
    against_rest = _against_rest(given, odds, rows, n_labels)
    probable = None if against_rest is None else against_rest[np.arange(given.size), given]
    sure = odds if probable is None else probable
    correct = (given == truth).astype(float)
    picked = [groups[i] for i in np.flatnonzero(both).tolist()]
    measures = _label_measures(given, truth, gold[known], n_labels)
    curve = () if probable is None else calibration.calibration_curve(probable, correct)
    of = int(known.sum())
    return Evaluation(
        accuracy=cluster_interval(correct, picked),
        balanced_accuracy=float(np.mean([m.recall for m in measures if m.recall is not None])),
        majority=max(m.gold_share for m in measures),
        answered=given.size / of,
        auroc=None if against_rest is None else _auroc(against_rest, truth),
        calibration_error=calibration.calibration_error(curve) if curve else None,
        brier=None if rows is None else calibration.brier(rows, truth),
        log_score=None if rows is None else calibration.log_score(rows, truth),
        aurc=None if sure is None else calibration.area_under_risk_coverage(sure, correct),
        at_coverage={} if sure is None else _at_coverage(sure, correct, picked, of),
        labels=measures,
        calibration=curve,
        risk_coverage=() if sure is None else calibration.risk_coverage(sure, correct, of),
        gold_items=of,
    )


def _against_rest(
    labels: IntArray,
    log_odds: FloatArray | None,
    log_probs: FloatArray | None,
    n_labels: int,
) -> FloatArray | None:
    """Log-odds of every label against the rest, (n, n_labels), where they are known."""
    if log_probs is not None:
        return calibration.odds_against_rest(log_probs)
    if log_odds is None or n_labels > 2:
        return None
    towards_second = np.where(labels == 1, log_odds, -log_odds)
    return np.column_stack([-towards_second, towards_second])


def _auroc(odds: FloatArray, gold: IntArray) -> float | None:
    """Mean over labels of the chance that an item of that label is more surely given it than
    another item is; ties count half. Labels that all or none of the items have are left out.
    """
    areas = []
    for label in range(odds.shape[1]):
        own = gold == label
        positive, negative = int(own.sum()), int((~own).sum())
        if positive and negative:
            ranks = stats.rankdata(odds[:, label])
            area = ranks[own].sum() - positive * (positive + 1) / 2
            areas.append(area / (positive * negative))
    return float(np.mean(areas)) if areas else None


def _label_measures(
    labels: IntArray, gold: IntArray, all_gold: IntArray, n_labels: int
) -> tuple[LabelMeasure, ...]:
    given = np.bincount(labels, minlength=n_labels)
    wanted = np.bincount(gold, minlength=n_labels)
    right = np.bincount(gold[labels == gold], minlength=n_labels)
    shares = np.bincount(all_gold, minlength=n_labels) / all_gold.size
    return tuple(
        LabelMeasure(
            label=k,
            gold_share=float(shares[k]),
            given_share=float(given[k] / labels.size),
            precision=float(right[k] / given[k]) if given[k] else None,
            recall=float(right[k] / wanted[k]) if wanted[k] else None,
        )
        for k in range(n_labels)
    )


def _at_coverage(
    certainty: FloatArray, correct: FloatArray, groups: Sequence[object], of: int
) -> dict[str, Estimate]:
    found = {}
    for share in COVERAGES:
        # 0.9 of 10 items are 9: no item more for what is lost in binary.
        count = int(np.ceil(share * of - 1e-9))
        if count <= certainty.size:
            weights = calibration.surest(certainty, count)
            among = np.flatnonzero(weights)
            found[str(share)] = cluster_interval(
                correct[among], [groups[i] for i in among.tolist()], weights=weights[among]
            )
    return found
