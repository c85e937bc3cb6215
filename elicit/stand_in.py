"""A model that is made up, so that a search can be rehearsed and its cost counted.

It "believes" a labelling planted in it at random, within the task's constraints, and learns
in context by a simple rule: the log-odds of an item's planted label grow with the share of
the demonstrations that are labelled as planted, and fall where most are labelled otherwise.
Nothing it says is about the task; only what a search asks it, and in which order, is of use.

Where the store holds scores of the task, those are given, and what is made up follows them:
without demonstrations, unscored items are like the scored ones, and what is planted is drawn
by how far these speak for one label; with demonstrations, an item goes on from the last true
score it had.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from scipy.special import log_softmax, polygamma

from elicit.constraints import Rules
from elicit.known import STRAYED, Known
from elicit.pieces import Pieces
from elicit.prompt import RenderedTask
from elicit.providers.base import Provider
from elicit.providers.sampled import PRIOR
from elicit.repair import repair
from elicit.scorer import Ask, FloatArray, Scorer, may_as_well
from elicit.tally import Group, Tally

RANK = 32
"""Directions in which demonstrations pull items."""
REMEMBERED = 64
"""Contexts whose scores are kept as arrays; others are made again, and are the same where
the store holds nothing of the task."""
ENOUGH = 8
"""Items with a zero-shot score in the store, from which the others' are drawn."""


@dataclass(frozen=True, slots=True)
class Temper:
    """How the made-up model answers. All but `half` and `mistaken` in nats of log-odds.

    The defaults, but for the last, are those, of some 500 drawn at random, under which
    searches asked about as much as on the embedded model (`benchmarks/estimate.py`).
    """

    strength: float = 6.0
    """Of the planted label against each other one, where all demonstrations are as planted."""
    half: float = 10.0
    """Demonstrations after which half of that strength is reached."""
    knows: float = 2.0
    """Mean over the items of what speaks for the planted label without any demonstration."""
    spread: float = 2.0
    """Standard deviation of that over the items."""
    noise: float = 1.0
    """Standard deviation of what the demonstrations at hand do to an item. Demonstrations
    that differ little do nearly the same."""
    preference: float = 4.0
    """For the first label, with no demonstrations; it goes as the strength comes."""
    mistaken: float = 0.06
    """Share of items of which demonstrations teach another label than the store's zero-shot
    scores tell. On the embedded tasks the first round changed 0 to 13 % of such labels."""


class StandIn(Scorer):
    """A scorer whose model is made up; it counts in `tally` what a real one would be sent.

    `planted`, (n_items,), are the labels it believes. What has been asked once is not counted
    again, as a store would have it. `provider` is the real one, and is never asked for a score;
    `known` is what the store holds of its scores.
    """

    def __init__(
        self,
        rendered: RenderedTask,
        provider: Provider,
        rules: Rules,
        pieces: Pieces,
        tally: Tally,
        temper: Temper,
        seed: int,
        known: Known | None = None,
    ) -> None:
        super().__init__(rendered, provider)
        rng = np.random.default_rng(seed)
        shape = (self.n_items, self.n_labels)
        self._pieces, self._tally, self._temper, self._seed = pieces, tally, temper, seed
        self._draws = max(1, provider.capabilities.samples)
        self._sampled = provider.capabilities.evidence == "sampled"
        self._known, self._strayed = known, 0
        alone = None if known is None else _like_the_known(known, self.n_items, rng)
        if alone is None:
            self.planted = repair(rng.random(shape), rules)
            self._preference = np.zeros(self.n_labels)
            self._preference[0] = temper.preference
            self._alone = np.tile(self._preference, (self.n_items, 1))
            apart = rng.normal(temper.knows, temper.spread, self.n_items)
            self._alone[np.arange(self.n_items), self.planted] += apart
        else:
            self._alone, self._preference = alone, alone.mean(axis=0)
            self.planted = repair(
                _believed(alone - self._preference, temper.mistaken, rng), rules
            )
        self._bent = np.zeros(shape)
        """What the last true score of an item, with demonstrations, has over a made-up one."""
        # Demonstration j pulls item i by the product of rows i and j.
        self._pulled, self._pulling = rng.normal(size=(2, self.n_items, RANK)) / RANK**0.25
        self._asked: dict[bytes, np.ndarray[tuple[int], np.dtype[np.bool_]]] = {}
        self._scores: OrderedDict[bytes, tuple[FloatArray, FloatArray]] = OrderedDict()

    def log_probs(self, asks: Sequence[Ask]) -> list[FloatArray]:
        return [
            scores[ask.items] for ask, (scores, _) in zip(asks, self._all(asks), strict=True)
        ]

    def variances(self, asks: Sequence[Ask]) -> list[FloatArray]:
        return [
            values[ask.items] for ask, (_, values) in zip(asks, self._all(asks), strict=True)
        ]

    def _all(self, asks: Sequence[Ask]) -> list[tuple[FloatArray, FloatArray]]:
        keys = [self._key(ask) for ask in asks]
        self._tally.send([self._group(ask, key) for ask, key in zip(asks, keys, strict=True)])
        return [self._made(ask, key) for ask, key in zip(asks, keys, strict=True)]

    def _key(self, ask: Ask) -> bytes:
        shown = self._pieces.shown[ask.context, ask.labels]
        return blake2b(shown.tobytes(), digest_size=16).digest()

    def _group(self, ask: Ask, key: bytes) -> Group:
        """What is new in an ask."""
        asked = self._asked.get(key)
        if asked is None:
            stored = self._stored(ask)
            asked = np.zeros(self.n_items, bool)
            if stored is not None:
                asked[self._pieces.questions[~np.isnan(stored[:, 0])]] = True
            self._asked[key] = asked
        numbers = self._pieces.questions[ask.items]
        new = np.unique(numbers[~asked[numbers]])
        if new.size and self._tally.items_per_call > 1:
            numbers = self._pieces.questions[may_as_well(ask, self.n_items)]
            new = np.unique(numbers[~asked[numbers]])
        asked[new] = True
        return self._pieces.group(ask, new)

    def _stored(self, ask: Ask) -> FloatArray | None:
        """True scores after a context, NaN where there are none."""
        if self._known is None or self._strayed >= STRAYED:
            return None
        rows = self._known.rows(ask)
        self._strayed = 0 if rows is not None else self._strayed + 1
        return rows

    def _made(self, ask: Ask, key: bytes) -> tuple[FloatArray, FloatArray]:
        made = self._scores.get(key)
        if made is None:
            made = self._answers(ask, key)
            self._scores[key] = made
            if len(self._scores) > REMEMBERED:
                self._scores.popitem(last=False)
        return made

    def _answers(self, ask: Ask, key: bytes) -> tuple[FloatArray, FloatArray]:
        """Log-probabilities of all items after a context, and their variances."""
        logits = self._logits(ask)
        stored = self._stored(ask)
        there = np.zeros(self.n_items, bool) if stored is None else ~np.isnan(stored[:, 0])
        if stored is not None and ask.context.size:
            self.planted[there] = stored[there].argmax(axis=1)
            self._bent[there] += stored[there] - log_softmax(self._logits(ask)[there], axis=1)
            logits = self._logits(ask)
        log_probs: FloatArray = log_softmax(logits, axis=1)
        if stored is not None:
            log_probs[there] = stored[there]
        if not self._sampled:
            return log_probs, np.zeros_like(log_probs)
        salt = self._seed.to_bytes(8, "little")
        draws = blake2b(key, digest_size=8, salt=salt).digest()
        rng = np.random.default_rng(int.from_bytes(draws, "little"))
        counts = rng.multinomial(self._draws, np.exp(log_probs)) + PRIOR
        total = counts.sum(axis=1, keepdims=True)
        drawn = np.log(counts / total)
        drawn[there] = log_probs[there]
        return drawn, polygamma(1, counts) - polygamma(1, total)

    def _logits(self, ask: Ask) -> FloatArray:
        temper, m = self._temper, ask.context.size
        if not m:
            return self._alone
        grown = m / (m + temper.half)
        # From −1/(L−1), all wrong, over 0, as by chance, to 1, all as planted.
        right = self.planted[ask.context] == ask.labels
        agreed = (right.mean() - 1 / self.n_labels) / (1 - 1 / self.n_labels)
        pull = self._pulled @ (np.where(right, 1.0, -1.0) @ self._pulling[ask.context])
        logits: FloatArray = self._alone - self._preference * grown + self._bent
        logits[np.arange(self.n_items), self.planted] += (
            temper.strength * grown * agreed + temper.noise * pull / m**0.5
        )
        return logits


def _like_the_known(known: Known, n_items: int, rng: np.random.Generator) -> FloatArray | None:
    """Zero-shot log-probabilities, (n_items, n_labels): the stored ones, and for items without
    one that of another item; None where too few are stored."""
    nobody = np.empty(0, np.int64)
    rows = known.rows(Ask(nobody, nobody, np.arange(n_items)))
    if rows is None:
        return None
    scored = np.flatnonzero(~np.isnan(rows[:, 0]))
    if scored.size < min(ENOUGH, n_items):
        return None
    source = np.arange(n_items)
    others = np.isnan(rows[:, 0])
    source[others] = rng.choice(scored, others.sum())
    drawn: FloatArray = rows[source]
    return drawn


def _believed(scores: FloatArray, mistaken: float, rng: np.random.Generator) -> FloatArray:
    """Scores whose likeliest label is drawn from what calibrated zero-shot ones say of it.

    Two labels are taken to be two normal distributions of one variance on the line of their
    difference, ±a and b: the log-odds of the nearer are 2·a·difference/b². Adding Gumbel noise
    draws from these odds. So where scores lie in clear clusters nearly all are believed,
    however near to each other, and where they lie in one the least are. Of the share
    `mistaken` of the items something else is believed.
    """
    ordered = np.sort(scores, axis=1)
    apart = ordered[:, -1] - ordered[:, -2]
    variance = max(float(apart.var()), 1e-12)
    believed: FloatArray = scores * (2 * float(apart.mean()) / variance)
    believed += rng.gumbel(size=scores.shape)
    wrong = rng.random(len(scores)) < mistaken
    believed[wrong] = rng.permuted(believed[wrong], axis=1)
    return believed
