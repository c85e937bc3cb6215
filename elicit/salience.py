"""Whether a model knows a concept that separates the items, told from labels it gave alone.

Two signs are read, and neither will do without the other.

*Predictive information.* A labelling of one label only is the easiest to predict, so mutual
predictability alone is highest where nothing was found. What counts is how much better the
model predicts the labels from one another than their shares do: H(shares) + the mean
log-probability, in nats an item, as a share of H. It is 0 for one label only, below 0 where the
model is surely wrong, 1 where it is surely right. (Usable information: Xu et al., "A theory of
usable information under computational constraints", ICLR 2020; as a share of the entropy,
Theil's uncertainty coefficient.)

*Found again.* A search finds something predictable in anything if it looks long enough; chains
from independent random labels find the same only if the model leads them there. They are
compared as splits, whatever the names, and with what chance gives taken off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import entr

from elicit.agreement import adjusted_rand, best_permutation
from elicit.association import Association
from elicit.constraints import UNLABELLED
from elicit.outcome import Chain
from elicit.scorer import FloatArray, IntArray

Verdict = Literal["salient", "doubtful", "not salient"]

PREDICTED = 0.2
"""Information, as a share of the entropy, from which labels count as predicted. A concept of
which the model is right in three of four cases, and knows it, gives 0.19 for two even labels:
as good as labels by people who are wrong in a quarter of the cases."""
EVIDENCE = 9.0
"""Nats over all items, in favour of the predictions over the shares, below which too little was
seen to tell: 5, which is very strong evidence (2 · 5 = 10: Kass and Raftery, "Bayes factors",
1995), and ln 64 for having looked at as many labellings, 8 chains of 8 rounds."""
SAME = 0.5
"""Adjusted Rand index from which two chains found the same split: for two even labels 85 % of
the items, what chains that each miss one item in twelve at random agree on."""
ONE_LABEL = 0.95
"""Share of the items from which one label has taken all."""


@dataclass(frozen=True, slots=True)
class Information:
    """How well a labelling is predicted, beyond its shares."""

    entropy: float
    """Of the labels' shares, in nats."""
    predictability: float
    """Mean log-probability of the labels, each given the others, in nats."""
    items: int

    @property
    def total(self) -> float:
        """Nats over all items that the predictions are better than the shares."""
        return self.items * (self.entropy + self.predictability)

    @property
    def relative(self) -> float:
        """The same as a share of the labels' entropy, at most 1; 0 for one label only."""
        if self.entropy == 0:
            return 0.0
        return 1 + self.predictability / self.entropy

    @property
    def convincing(self) -> bool:
        return self.total >= EVIDENCE and self.relative >= PREDICTED

    @property
    def too_few(self) -> bool:
        """Whether nothing but the number of items keeps it from convincing."""
        return self.relative >= PREDICTED and self.total < EVIDENCE

    @property
    def items_needed(self) -> int:
        """Items that would be evidence enough, were all predicted as well as these. The total
        must be above 0."""
        return math.ceil(EVIDENCE * self.items / self.total)


def information(labels: IntArray, log_probs: FloatArray, n_labels: int) -> Information:
    """Of labels, (n_items,), and how each is predicted from the others, (n_items, n_labels)."""
    known = np.flatnonzero(labels != UNLABELLED)
    given = labels[known]
    shares = np.bincount(given, minlength=n_labels) / max(1, given.size)
    mean = float(log_probs[known, given].mean()) if given.size else 0.0
    return Information(float(entr(shares).sum()), mean, given.size)


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """What one chain found, and how it compares with the labelling that is reported."""

    shares: tuple[float, ...]
    objective: float
    information: Information
    likeness: float
    """Adjusted Rand index with the reported labelling."""
    swapped: bool
    """Whether it is most like the reported labelling under other names."""

    @property
    def one_label(self) -> bool:
        return max(self.shares) >= ONE_LABEL

    @property
    def same(self) -> bool:
        return self.likeness >= SAME


def chosen_chain(chains: Sequence[Chain], n_labels: int) -> int:
    """Number of the chain whose labelling is reported: the best predicted over its shares,
    among those with evidence enough if there are any."""
    told = [information(*_parts(chain), n_labels) for chain in chains]
    enough = [k for k, i in enumerate(told) if i.total >= EVIDENCE]
    if enough:
        return max(enough, key=lambda k: told[k].relative)
    return max(range(len(told)), key=lambda k: (told[k].total, chains[k].objective))


def chain_facts(chains: Sequence[Chain], n_labels: int, found: int) -> tuple[ChainFacts, ...]:
    """The facts of each chain, where the one of number `found` is reported."""
    reference = chains[found].labels
    facts = []
    for chain in chains:
        labels = chain.labels
        counts = np.bincount(labels[labels != UNLABELLED], minlength=n_labels)
        names = best_permutation(labels, reference, n_labels)
        facts.append(
            ChainFacts(
                shares=tuple((counts / max(1, counts.sum())).tolist()),
                objective=chain.objective,
                information=information(*_parts(chain), n_labels),
                likeness=adjusted_rand(labels, reference) or 0.0,
                swapped=bool((names != np.arange(n_labels)).any()),
            )
        )
    return tuple(facts)


def _parts(chain: Chain) -> tuple[IntArray, FloatArray]:
    if chain.log_probs is None:
        raise ValueError("a chain from a record without log-probabilities")
    return chain.labels, chain.log_probs


@dataclass(frozen=True, slots=True)
class Comparison:
    """Labellings that nobody found, scored as the reported one is."""

    kind: str
    """`permuted`, `random`, or `all LABEL`."""
    objective: float
    """Mean of U over them; of `all LABEL`, which is one labelling, its U."""
    predictability: tuple[float, ...]
    """P of each, in nats."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the verdict is read from. No gold label is among it."""

    label_names: tuple[str, ...]
    chains: tuple[ChainFacts, ...]
    found: int
    """Number of the chain that is reported."""
    agreement: float | None
    """Mean share of items on which two chains agree, by names."""
    agreement_up_to_names: float | None
    adjusted_rand: float | None
    objective: float
    """U of the reported labelling over the items on which `comparisons` are scored."""
    predictability: float
    comparisons: tuple[Comparison, ...]
    """Empty where nothing was scored but the run itself."""
    surface: tuple[Association, ...]
    mean_coverage: float | None

    @property
    def reported(self) -> ChainFacts:
        return self.chains[self.found]

    @property
    def others(self) -> tuple[ChainFacts, ...]:
        return tuple(c for k, c in enumerate(self.chains) if k != self.found)

    @property
    def again(self) -> int:
        """Other chains that found the reported split."""
        return sum(chain.same for chain in self.others)

    @property
    def by_few(self) -> bool:
        """Whether some, and fewer than half, of the other chains found the reported split."""
        return 0 < 2 * self.again < len(self.others)

    @property
    def least_items(self) -> int:
        """Items below which not even labels that are all surely right could convince."""
        return math.ceil(EVIDENCE / math.log(len(self.label_names)))

    @property
    def permuted(self) -> tuple[float, ...]:
        """P of each permuted labelling, in nats."""
        own = (c.predictability for c in self.comparisons if c.kind == "permuted")
        return next(own, ())

    @property
    def deviations(self) -> float | None:
        """Standard deviations that P is above its mean under permuted labels; None where there
        are none, or they are all alike, as those of one label are."""
        if self.reported.information.entropy == 0 or len(self.permuted) < 2:
            return None
        spread = float(np.std(self.permuted, ddof=1))
        if spread < 1e-12:
            return None
        return (self.predictability - float(np.mean(self.permuted))) / spread

    @property
    def rank(self) -> int:
        """Place of P among the permuted labels, 1 for the highest; ties count against it."""
        return 1 + sum(p >= self.predictability for p in self.permuted)


def settled(facts: Sequence[ChainFacts], found: int) -> bool:
    """Whether more chains would not change the verdict: well predicted, and found again."""
    again = any(chain.same for k, chain in enumerate(facts) if k != found)
    return facts[found].information.convincing and again
