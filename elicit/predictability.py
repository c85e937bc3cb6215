"""Mutual predictability: how well the model predicts each label from the others.

Each measure says, for some items under a labelling, which prompts to ask (arXiv 2506.10139,
§2.1); an item never sees its own label. What it plans is asked elsewhere, so that plans of
many proposals can be asked in one batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from elicit.constraints import UNLABELLED
from elicit.scorer import Ask, FloatArray, IntArray, Scorer


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


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask of the model about `size` items, and how the answers are put together.

    `places[k]` are the places among the items, (len(asks[k].items),), that the k-th ask is
    about. An item that several contexts are asked about gets the mean of their
    log-probabilities (a geometric mean of probabilities), normalised again.
    """

    asks: Sequence[Ask]
    places: Sequence[IntArray]
    size: int

    def log_probs(self, answers: Sequence[FloatArray], n_labels: int) -> FloatArray:
        """Log-probabilities, (size, n_labels), from the answer of each ask."""
        total, seen = self._summed(answers, n_labels)
        mean = total / seen
        normalised: FloatArray = mean - np.logaddexp.reduce(mean, axis=1, keepdims=True)
        return normalised

    def variances(self, answers: Sequence[FloatArray], n_labels: int) -> FloatArray:
        """Variances of those from the variances of the answers, whose draws are independent."""
        total, seen = self._summed(answers, n_labels)
        mean: FloatArray = total / seen**2
        return mean

    def _summed(
        self, answers: Sequence[FloatArray], n_labels: int
    ) -> tuple[FloatArray, FloatArray]:
        total, seen = np.zeros((self.size, n_labels)), np.zeros((self.size, 1))
        for places, rows in zip(self.places, answers, strict=True):
            total[places] += rows
            seen[places] += 1
        return total, seen


class Predictability(Protocol):
    """Plans the prompts from which the labels of `items` are predicted."""

    def plan(self, labelling: Labelling, items: IntArray) -> Plan: ...


def predict(
    scorer: Scorer, measure: Predictability, labelling: Labelling, items: IntArray
) -> FloatArray:
    """Label log-probabilities of `items`, (len(items), n_labels), rows normalised.

    Raises:
        ElicitError: a prompt could not be scored.
    """
    return predict_all(scorer, [measure.plan(labelling, items)])[0]


def predict_all(scorer: Scorer, plans: Sequence[Plan]) -> list[FloatArray]:
    """What `predict` gives for each of several plans, all asked in one batch."""
    answers = iter(scorer.log_probs([ask for plan in plans for ask in plan.asks]))
    return [
        plan.log_probs([next(answers) for _ in plan.asks], scorer.n_labels) for plan in plans
    ]


def variances(
    scorer: Scorer, measure: Predictability, labelling: Labelling, items: IntArray
) -> FloatArray:
    """Variances of what `predict` gives: 0 unless the model is one that is sampled."""
    plan = measure.plan(labelling, items)
    return plan.variances(scorer.variances(plan.asks), scorer.n_labels)


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """Each item given all other labelled items: the paper's own measure.

    Costs one context an item: about m²/2 tokens of demonstrations with shared prefixes.
    """

    demonstrations: IntArray | None = None
    """Rank of each item (n_items,), and with `limit` how many of the lowest are shown."""
    limit: int | None = None

    def plan(self, labelling: Labelling, items: IntArray) -> Plan:
        pool = labelling.order
        asks = []
        for item in items.tolist():
            context = _shown(pool[pool != item], self.demonstrations, self.limit)
            asks.append(Ask(context, labelling.labels[context], np.array([item])))
        return Plan(asks, list(np.arange(items.size)[:, None]), items.size)


@dataclass(frozen=True, slots=True)
class Folds:
    """Each item given every block of demonstrations it is not in, averaged.

    The labelled items are dealt in turn to k blocks. A block is one context for all items
    outside it, so everything costs k·m tokens and a changed label only what stands after
    one block: about m tokens.
    """

    k: int = 2
    demonstrations: IntArray | None = None
    limit: int | None = None

    def plan(self, labelling: Labelling, items: IntArray) -> Plan:
        order = labelling.order
        block_of = np.full(labelling.labels.size, UNLABELLED, np.int64)
        block_of[order] = np.arange(order.size) % self.k
        asks, places = [], []
        for block in range(self._blocks(order.size)):
            outside = np.flatnonzero(block_of[items] != block)
            if not outside.size:
                continue
            context = _shown(order[block :: self.k], self.demonstrations, self.limit)
            asks.append(Ask(context, labelling.labels[context], items[outside]))
            places.append(outside)
        return Plan(asks, places, items.size)

    def _blocks(self, labelled: int) -> int:
        # With fewer labelled items than blocks, a single empty block stands in for the
        # rest: the only labelled item is then predicted zero-shot.
        return 1 if labelled == 0 else min(self.k, max(2, labelled))


@dataclass(frozen=True, slots=True)
class Prequential:
    """Each item given those before it, averaged over r orders; an unlabelled one given all.

    One pass down an order is one context that grows, so everything costs r·m tokens. By the
    chain rule the sum over one whole pass is the log-probability of all labels together, a
    code length (Dawid, "Statistical theory: the prequential approach", 1984); the mean over
    several orders, or with a limit, is none. The first order is that of the labelling, each
    is followed by its reverse, so that over two orders an item sees every other once; the
    third, fifth and so on are permutations by `ranks`, ((r - 1) // 2, n_items).
    """

    orders: int = 2
    ranks: IntArray | None = None
    limit: int | None = None
    """Demonstrations shown at most: the first of each order."""

    def plan(self, labelling: Labelling, items: IntArray) -> Plan:
        asks, places = [], []
        for order in self._orders(labelling.order):
            before = np.full(labelling.labels.size, order.size, np.int64)
            before[order] = np.arange(order.size)
            seen = before[items]
            if self.limit is not None:
                # Where an item stands among those shown, it sees those before it alone.
                seen = np.minimum(seen, self.limit)
            for count in np.unique(seen).tolist():
                context = order[:count]
                who = np.flatnonzero(seen == count)
                asks.append(Ask(context, labelling.labels[context], items[who]))
                places.append(who)
        return Plan(asks, places, items.size)

    def _orders(self, order: IntArray) -> list[IntArray]:
        orders: list[IntArray] = []
        for number in range(self.orders):
            if number % 2:
                orders.append(orders[-1][::-1])
            elif number == 0 or self.ranks is None:
                orders.append(order)
            else:
                orders.append(order[np.argsort(self.ranks[number // 2 - 1][order])])
        return orders


def _shown(members: IntArray, rank: IntArray | None, limit: int | None) -> IntArray:
    """The demonstrations shown: all, or the `limit` of lowest rank, in their order."""
    if limit is None or rank is None or members.size <= limit:
        return members
    kept = np.argpartition(rank[members], limit - 1)[:limit]
    return members[np.sort(kept)]
