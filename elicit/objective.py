"""The objective `U(D) = α · P(D) − I(D)` of a search (arXiv 2506.10139, §2.1).

P is mutual predictability, from the log-probabilities that `predictability` gives; I counts
inconsistencies. Where a prior is given, P is less the divergence of the labels from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from elicit.constraints import Rules
from elicit.predictability import Labelling, Predictability
from elicit.prior import divergence
from elicit.scorer import FloatArray, IntArray

Measure = Literal["mean_log_prob", "sum_log_prob", "mean_log_odds"]


@dataclass(frozen=True, slots=True)
class Value:
    """U(D) with its parts."""

    objective: float
    predictability: float
    """P(D), in nats; without the prior's part."""
    inconsistency: int


@dataclass(frozen=True, slots=True)
class Objective:
    """What a search maximises, and how the labels' predictions are asked for."""

    rules: Rules
    predictability: Predictability
    alpha: float = 50.0
    measure: Measure = "mean_log_prob"
    prior: FloatArray | None = None
    """(n_labels,), expected shares of the labels."""

    def value(self, labelling: Labelling, log_probs: FloatArray) -> Value:
        """U of a labelling, given the log-probabilities of its items in their order."""
        labels = labelling.labels[labelling.order]
        p = predictability_score(log_probs, labels, self.measure)
        i = self.rules.count(labelling.labels)
        return Value(self.alpha * (p - self._unlikely(labels)) - i, p, i)

    def variance(
        self, labelling: Labelling, log_probs: FloatArray, variances: FloatArray
    ) -> float:
        """Variance of U, for log-probabilities with independent errors of these variances."""
        labels = labelling.labels[labelling.order]
        return self.alpha**2 * score_variance(log_probs, variances, labels, self.measure)

    def leaning(self, labelling: Labelling) -> FloatArray:
        """What the prior adds to each label's log-probability, (n_labels,), where one more item
        is labelled: to first order its part in U. Zero without a prior."""
        n_labels = self.rules.n_labels
        if self.prior is None:
            return np.zeros(n_labels)
        counts = np.bincount(labelling.labels[labelling.order], minlength=n_labels)
        leaning: FloatArray = np.log(self.prior) - np.log(
            (counts + 1) / (counts.sum() + n_labels)
        )
        return leaning

    def _unlikely(self, labels: IntArray) -> float:
        if self.prior is None:
            return 0.0
        whole = divergence(labels, self.prior)
        return whole * labels.size if self.measure == "sum_log_prob" else whole


def predictability_score(log_probs: FloatArray, labels: IntArray, measure: Measure) -> float:
    """P(D) from the label log-probabilities of the labelled items.

    `sum_log_prob` is the paper's equation; `mean_log_prob` divides it by the number of
    labelled items, so that labelling one more does not lower it; `mean_log_odds` is what
    the authors' code computes: log-probability of the label less that of the best other.
    An empty labelling scores 0 under each.
    """
    if not labels.size:
        return 0.0
    rows = np.arange(labels.size)
    own = log_probs[rows, labels]
    if measure == "sum_log_prob":
        return float(own.sum())
    if measure == "mean_log_prob":
        return float(own.mean())
    return float(log_odds(log_probs, labels).mean())


def score_variance(
    log_probs: FloatArray, variances: FloatArray, labels: IntArray, measure: Measure
) -> float:
    """Variance of `predictability_score`, for log-probabilities with independent errors of
    these `variances`, both (n, n_labels).

    That of log-odds is bounded from above: two log-probabilities of one posterior are never
    further from independent than fully opposed.
    """
    if not labels.size:
        return 0.0
    rows = np.arange(labels.size)
    own = variances[rows, labels]
    if measure == "mean_log_odds":
        others = log_probs.copy()
        others[rows, labels] = -np.inf
        best = others.argmax(axis=1)
        own = (np.sqrt(own) + np.sqrt(variances[rows, best])) ** 2
    total = float(own.sum())
    return total if measure == "sum_log_prob" else total / labels.size**2


def log_odds(log_probs: FloatArray, labels: IntArray) -> FloatArray:
    """Log-probability of each label less that of the best other label, in nats, (n,)."""
    rows = np.arange(labels.size)
    others = log_probs.copy()
    others[rows, labels] = -np.inf
    odds: FloatArray = log_probs[rows, labels] - others.max(axis=1)
    return odds
