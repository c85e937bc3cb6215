"""A model that is made up, so that a search can be rehearsed and its cost counted.

It "believes" a labelling planted in it at random, within the task's constraints, and learns
in context by a simple rule: the log-odds of an item's planted label grow with the share of
the demonstrations that are labelled as planted, and fall where most are labelled otherwise.
Nothing it says is about the task; only what a search asks it, and in which order, is of use.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from scipy.special import log_softmax, polygamma

from elicit.constraints import Rules
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
"""Contexts whose scores are kept as arrays; others are made again, and are the same."""


@dataclass(frozen=True, slots=True)
class Temper:
    """How the made-up model answers. All but `half` in nats of log-odds.

    The defaults are those, of some 500 drawn at random, under which searches asked about as
    much as on the embedded model (`benchmarks/estimate.py`).
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


class StandIn(Scorer):
    """A scorer whose model is made up; it counts in `tally` what a real one would be sent.

    `planted`, (n_items,), are the labels it believes. What has been asked once is not counted
    again, as a store would have it. `provider` is the real one, and is never asked for a score.
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
    ) -> None:
        super().__init__(rendered, provider)
        rng = np.random.default_rng(seed)
        shape = (self.n_items, self.n_labels)
        self._pieces, self._tally, self._temper, self._seed = pieces, tally, temper, seed
        self._draws = max(1, provider.capabilities.samples)
        self._sampled = provider.capabilities.evidence == "sampled"
        self.planted = repair(rng.random(shape), rules)
        self._apart = rng.normal(temper.knows, temper.spread, self.n_items)
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
        asked = self._asked.setdefault(key, np.zeros(self.n_items, bool))
        numbers = self._pieces.questions[ask.items]
        new = np.unique(numbers[~asked[numbers]])
        if new.size and self._tally.items_per_call > 1:
            numbers = self._pieces.questions[may_as_well(ask, self.n_items)]
            new = np.unique(numbers[~asked[numbers]])
        asked[new] = True
        return self._pieces.group(ask, new)

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
        temper, m = self._temper, ask.context.size
        grown = m / (m + temper.half)
        # From −1/(L−1), all wrong, over 0, as by chance, to 1, all as planted.
        right = self.planted[ask.context] == ask.labels
        agreed = (right.mean() - 1 / self.n_labels) / (1 - 1 / self.n_labels) if m else 0.0
        pull = self._pulled @ (np.where(right, 1.0, -1.0) @ self._pulling[ask.context])
        logits = np.zeros((self.n_items, self.n_labels))
        logits[:, 0] += temper.preference * (1 - grown)
        logits[np.arange(self.n_items), self.planted] += (
            temper.strength * grown * agreed
            + self._apart
            + temper.noise * pull / max(1, m) ** 0.5
        )
        log_probs: FloatArray = log_softmax(logits, axis=1)
        if not self._sampled:
            return log_probs, np.zeros_like(log_probs)
        salt = self._seed.to_bytes(8, "little")
        draws = blake2b(key, digest_size=8, salt=salt).digest()
        rng = np.random.default_rng(int.from_bytes(draws, "little"))
        counts = rng.multinomial(self._draws, np.exp(log_probs)) + PRIOR
        total = counts.sum(axis=1, keepdims=True)
        return np.log(counts / total), polygamma(1, counts) - polygamma(1, total)
