"""Label probabilities of a model that only answers: n draws, and what they tell.

The provider behind gives one draw a request; each is a row of the store, so asking for more
draws later extends those that are there. Here the draws of a prompt are counted, and the
counts become the mean of a Dirichlet posterior with Jeffreys' prior, 1/2 a label (Jeffreys,
"An invariant form for the prior probability in estimation problems", 1946), so that a label
never drawn has a small probability and not none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
from scipy.special import polygamma

from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Identity,
    LabelScores,
    Provider,
    ScoredUnit,
    ScoreRequest,
    Scoring,
)

PRIOR = 0.5
"""Pseudo-count of each label."""


def one_draw(label: int, n_labels: int) -> LabelScores:
    """What a single draw is stored as: all probability on the label drawn."""
    values = tuple(0.0 if i == label else -math.inf for i in range(n_labels))
    return LabelScores(values, "sampled", samples=1)


def from_draws(draws: Sequence[LabelScores]) -> LabelScores:
    """Log of the posterior mean of each label's probability, from single draws."""
    counts = np.exp([draw.log_probs for draw in draws]).sum(axis=0) + PRIOR
    log_probs = np.log(counts) - np.log(counts.sum())
    return LabelScores(tuple(log_probs.tolist()), "sampled", samples=len(draws))


def log_prob_variances(scores: LabelScores) -> tuple[float, ...]:
    """Posterior variance of each log-probability; 0 where the model told its probabilities.

    For θ ~ Dirichlet(a), Var[log θᵢ] = ψ'(aᵢ) − ψ'(Σa), with ψ' the trigamma function.
    """
    if scores.evidence != "sampled":
        return (0.0,) * len(scores.log_probs)
    total = scores.samples + PRIOR * len(scores.log_probs)
    counts = np.exp(scores.log_probs) * total
    variances = polygamma(1, counts) - polygamma(1, total)
    return tuple(float(value) for value in variances)


class SampledProvider:
    """Asks the provider behind for n draws of each prompt and reports their posterior."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._n = provider.capabilities.samples

    @property
    def name(self) -> str:
        return self._provider.name

    @property
    def identity(self) -> Identity:
        """The model's own, with the number of draws: it changes what a score is."""
        identity = self._provider.identity
        return replace(identity, parameters={**identity.parameters, "samples": self._n})

    @property
    def capabilities(self) -> Capabilities:
        return self._provider.capabilities

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        return self._provider.count_tokens(requests)

    def close(self) -> None:
        self._provider.close()

    def score(self, requests: Sequence[ScoreRequest], budget: Budget = UNBOUNDED) -> Scoring:
        draws = [replace(r, sample=s) for r in requests for s in range(self._n)]
        found: dict[int, list[LabelScores]] = {}
        with closing(self._provider.score(draws, budget)) as units:
            for unit in units:
                whole = []
                for place, draw in unit.scores:
                    index = place // self._n
                    found.setdefault(index, []).append(draw)
                    if len(found[index]) == self._n:
                        whole.append((index, from_draws(found.pop(index))))
                yield ScoredUnit(tuple(whole), unit.usage)
