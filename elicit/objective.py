"""Mutual predictability: how well the model predicts each label from the others.

`U(D) = α · P(D) − I(D)` (arXiv 2506.10139, §2.1): P is here, I is in `constraints`. Each
way to measure P is one function with one signature: log-probabilities of the labels of
some items, given a labelling in which an item never sees its own label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from elicit.constraints import UNLABELLED
from elicit.scorer import Ask, FloatArray, IntArray, Scorer

Measure = Literal["mean_log_prob", "sum_log_prob", "mean_log_odds"]


@dataclass(frozen=True, slots=True)
class Labelling:
    """Labels of some of the items, and the order in which they were first labelled.

    `labels` has shape (n_items,), `UNLABELLED` where there is none. The order decides the
    order of demonstrations, and so which prompts are asked: it is part of the state.
    """

    labels: IntArray
    order: IntArray

    @staticmethod
    def empty(n_items: int) -> Labelling:
        return Labelling(np.full(n_items, UNLABELLED, np.int64), np.empty(0, np.int64))

    def updated(self, changes: Mapping[int, int]) -> Labelling:
        """A new labelling with these labels; items new to it come last, as given."""
        labels = self.labels.copy()
        new = [item for item in changes if labels[item] == UNLABELLED]
        for item, label in changes.items():
            labels[item] = label
        order = np.concatenate([self.order, np.array(new, np.int64)]) if new else self.order
        return Labelling(labels, order)


class Predictability(Protocol):
    """Label log-probabilities of `items`, shape (len(items), n_labels), rows normalised."""

    def __call__(self, scorer: Scorer, labelling: Labelling, items: IntArray) -> FloatArray: ...

    def variances(self, scorer: Scorer, labelling: Labelling, items: IntArray) -> FloatArray:
        """Variances of those, in the same shape: 0 unless the model is one that is sampled."""


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """Each item given all other labelled items: the paper's own measure.

    Costs one context an item: about m²/2 tokens of demonstrations with shared prefixes.
    """

    demonstrations: IntArray | None = None
    """Rank of each item (n_items,), and with `limit` how many of the lowest are shown."""
    limit: int | None = None

    def __call__(self, scorer: Scorer, labelling: Labelling, items: IntArray) -> FloatArray:
        asks = self._asks(labelling, items)
        return np.concatenate(scorer.log_probs(asks)) if asks else _no_rows(scorer)

    def variances(self, scorer: Scorer, labelling: Labelling, items: IntArray) -> FloatArray:
        asks = self._asks(labelling, items)
        return np.concatenate(scorer.variances(asks)) if asks else _no_rows(scorer)

    def _asks(self, labelling: Labelling, items: IntArray) -> list[Ask]:
        pool = labelling.order
        asks = []
        for item in items.tolist():
            context = _shown(pool[pool != item], self.demonstrations, self.limit)
            asks.append(Ask(context, labelling.labels[context], np.array([item])))
        return asks


@dataclass(frozen=True, slots=True)
class Folds:
    """Each item given every block of demonstrations it is not in, averaged.

    The labelled items are dealt in turn to k blocks. A block is one context for all items
    outside it, so everything costs k·m tokens and a changed label only what stands after
    one block: about m tokens. Log-probabilities are averaged over the blocks (a geometric
    mean) and normalised again.
    """

    k: int = 2
    demonstrations: IntArray | None = None
    limit: int | None = None

    def __call__(self, scorer: Scorer, labelling: Labelling, items: IntArray) -> FloatArray:
        if not items.size:
            return _no_rows(scorer)
        asks, rows = self._asks(scorer, labelling, items)
        total, seen = _summed(scorer.log_probs(asks), rows, (items.size, scorer.n_labels))
        mean = total / seen
        normalised: FloatArray = mean - np.logaddexp.reduce(mean, axis=1, keepdims=True)
        return normalised

    def variances(self, scorer: Scorer, labelling: Labelling, items: IntArray) -> FloatArray:
        """Of the mean over the blocks, whose draws are independent."""
        if not items.size:
            return _no_rows(scorer)
        asks, rows = self._asks(scorer, labelling, items)
        total, seen = _summed(scorer.variances(asks), rows, (items.size, scorer.n_labels))
        mean: FloatArray = total / seen**2
        return mean

    def _asks(
        self, scorer: Scorer, labelling: Labelling, items: IntArray
    ) -> tuple[list[Ask], list[IntArray]]:
        """One ask a block, and the places in `items` that it is about."""
        block_of = np.full(scorer.n_items, UNLABELLED, np.int64)
        block_of[labelling.order] = np.arange(labelling.order.size) % self.k
        asks, rows = [], []
        for block in range(self._blocks(labelling.order.size)):
            outside = np.flatnonzero(block_of[items] != block)
            if not outside.size:
                continue
            members = labelling.order[block :: self.k]
            context = _shown(members, self.demonstrations, self.limit)
            asks.append(Ask(context, labelling.labels[context], items[outside]))
            rows.append(outside)
        return asks, rows

    def _blocks(self, labelled: int) -> int:
        # With fewer labelled items than blocks, a single empty block stands in for the
        # rest: the only labelled item is then predicted zero-shot.
        return 1 if labelled == 0 else min(self.k, max(2, labelled))


def _shown(members: IntArray, rank: IntArray | None, limit: int | None) -> IntArray:
    """The demonstrations shown: all, or the `limit` of lowest rank, in their order."""
    if limit is None or rank is None or members.size <= limit:
        return members
    kept = np.argpartition(rank[members], limit - 1)[:limit]
    return members[np.sort(kept)]


def _summed(
    blocks: Sequence[FloatArray], rows: Sequence[IntArray], shape: tuple[int, int]
) -> tuple[FloatArray, FloatArray]:
    """Sums over the blocks, and how many blocks each row was in, (n, 1)."""
    total, seen = np.zeros(shape), np.zeros((shape[0], 1))
    for places, values in zip(rows, blocks, strict=True):
        total[places] += values
        seen[places] += 1
    return total, seen


def _no_rows(scorer: Scorer) -> FloatArray:
    return np.empty((0, scorer.n_labels))


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
