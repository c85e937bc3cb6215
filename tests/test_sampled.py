"""Draws of a label tell its probability and how well; a search is not fooled by noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Identity,
    LabelScores,
    ScoredUnit,
    ScoreRequest,
    Segment,
    Usage,
)
from elicit.providers.sampled import (
    PRIOR,
    SampledProvider,
    from_draws,
    log_prob_variances,
    one_draw,
)
from elicit.search.schedule import accepts

draws = st.integers(2, 6).flatmap(
    lambda n: st.lists(st.integers(0, n - 1), min_size=1, max_size=40).map(lambda d: (n, d))
)


def estimate(n_labels: int, labels: Sequence[int]) -> LabelScores:
    return from_draws([one_draw(label, n_labels) for label in labels])


# One prompt


def test_the_estimate_is_the_mean_of_jeffreys_posterior() -> None:
    scores = estimate(2, [1, 1, 1, 0])
    assert np.exp(scores.log_probs) == pytest.approx([1.5 / 5, 3.5 / 5])
    assert scores.evidence == "sampled"
    assert scores.samples == 4


@given(draws)
def test_probabilities_add_up_to_one_and_none_is_nothing(case: tuple[int, list[int]]) -> None:
    n_labels, labels = case
    probabilities = np.exp(estimate(n_labels, labels).log_probs)
    assert probabilities.sum() == pytest.approx(1.0)
    least = PRIOR / (len(labels) + n_labels * PRIOR)
    assert probabilities.min() >= least * (1 - 1e-12)


@given(draws, st.randoms())
def test_the_order_of_draws_does_not_matter(
    case: tuple[int, list[int]], random: st.DataObject
) -> None:
    n_labels, labels = case
    shuffled = list(labels)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert estimate(n_labels, shuffled) == estimate(n_labels, labels)


@given(draws)
def test_a_label_drawn_more_often_is_more_probable(case: tuple[int, list[int]]) -> None:
    n_labels, labels = case
    counts = np.bincount(labels, minlength=n_labels)
    log_probs = np.array(estimate(n_labels, labels).log_probs)
    assert (np.diff(log_probs[np.argsort(counts, kind="stable")]) >= -1e-12).all()


@pytest.mark.parametrize("counts", [(0, 8), (1, 7), (4, 4), (3, 0, 5), (16, 16, 0, 0)])
def test_variances_are_those_of_a_dirichlet_s_logarithms(counts: tuple[int, ...]) -> None:
    scores = estimate(len(counts), [i for i, n in enumerate(counts) for _ in range(n)])
    n = 200_000
    rng = np.random.default_rng(0)
    # Gamma draws as logarithms: those of small counts would be 0 as numbers.
    shape = np.array(counts) + PRIOR
    logs = np.log(rng.gamma(shape + 1, size=(n, shape.size)))
    logs += np.log(rng.random((n, shape.size))) / shape
    theta = logs - np.logaddexp.reduce(logs, axis=1, keepdims=True)
    seen = theta.var(axis=0)
    # The standard error of a variance is sqrt((fourth moment - variance²) / n); 5 of them.
    fourth = ((theta - theta.mean(axis=0)) ** 4).mean(axis=0)
    error = np.sqrt((fourth - seen**2) / n)
    assert (np.abs(np.array(log_prob_variances(scores)) - seen) < 5 * error).all()


def test_probabilities_that_were_told_have_no_variance() -> None:
    assert log_prob_variances(LabelScores((-0.1, -3.0, -4.0))) == (0.0, 0.0, 0.0)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(2, 8))
def test_more_draws_of_the_same_kind_are_surer(no: int, yes: int, times: int) -> None:
    few = log_prob_variances(estimate(2, [0] * (no + 1) + [1] * yes))
    many = log_prob_variances(estimate(2, ([0] * (no + 1) + [1] * yes) * times))
    assert many[0] < few[0]
    assert not yes or many[1] < few[1]


# A provider


@dataclass
class Tosses:
    """Draws label `table[item][sample]`; every answer is a unit of its own, last ones first."""

    table: dict[str, list[int]]
    samples: int
    asked: list[tuple[str, int]] = field(default_factory=list)
    name: str = "tosses"
    identity: Identity = field(default_factory=lambda: Identity("test", "tosses"))

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities("sampled", None, deterministic=False, samples=self.samples)

    def score(
        self,
        requests: Sequence[ScoreRequest],
        budget: Budget = UNBOUNDED,  # noqa: ARG002  free of charge
    ) -> Iterator[ScoredUnit]:
        for i, request in reversed(list(enumerate(requests))):
            text = request.prompt[-1].text
            self.asked.append((text, request.sample))
            draw = one_draw(self.table[text][request.sample], len(request.labels))
            yield ScoredUnit(((i, draw),), Usage(requests=1))

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int]:
        return [1] * len(requests)

    def close(self) -> None: ...


def request(text: str) -> ScoreRequest:
    return ScoreRequest((Segment.of(text),), ("no", "yes"))


def test_each_prompt_is_asked_for_every_draw_and_yielded_once_with_all_of_them() -> None:
    model = Tosses({"a": [1, 1, 0], "b": [0, 0, 0]}, samples=3)
    units = list(SampledProvider(model).score([request("a"), request("b")]))
    assert sorted(model.asked) == [(item, s) for item in "ab" for s in range(3)]
    found = [pair for unit in units for pair in unit.scores]
    assert sorted(found, key=lambda pair: pair[0]) == [
        (0, estimate(2, [1, 1, 0])),
        (1, estimate(2, [0, 0, 0])),
    ]
    assert sum(unit.usage.requests for unit in units) == 6


def test_a_prompt_whose_draws_are_not_all_there_has_no_score() -> None:
    model = Tosses({"a": [1, 1, 0]}, samples=3)
    asked = SampledProvider(model).score([request("a")])
    assert [next(asked).scores, next(asked).scores] == [(), ()]


@given(st.lists(st.integers(0, 1), min_size=8, max_size=8), st.integers(1, 7))
def test_more_draws_begin_with_those_of_fewer(tosses: list[int], few: int) -> None:
    model, richer = Tosses({"a": tosses}, few), Tosses({"a": tosses}, 8)
    (first,) = _scores(model)
    (second,) = _scores(richer)
    assert set(model.asked) <= set(richer.asked)
    assert first == estimate(2, tosses[:few])
    assert second == estimate(2, tosses)


def _scores(model: Tosses) -> list[LabelScores]:
    units = SampledProvider(model).score([request("a")])
    return [scored for unit in units for _, scored in unit.scores]


def test_the_number_of_draws_is_part_of_what_a_score_is() -> None:
    few, many = (SampledProvider(Tosses({}, samples=n)).identity for n in (4, 8))
    assert few.digest() != many.digest()


# The search


STEPS = 200_000
BATCHES = 200


def share_of_the_better(
    delta: float, temperature: float, noise: float, *, told: bool, seed: int
) -> tuple[float, float]:
    """Share of time that a chain of two states, `delta` apart, is in the better one, and the
    standard error of that from the means of `BATCHES` stretches.

    Each step proposes the other state; what it would gain is known with a normal error of
    standard deviation `noise`, which the rule is told of or not.
    """
    rng = np.random.default_rng(seed)
    errors = rng.normal(scale=noise, size=STEPS)
    uniform = rng.random(STEPS)
    variance = noise**2 if told else 0.0
    better = False
    stay = np.empty(STEPS)
    for step, (error, draw) in enumerate(zip(errors.tolist(), uniform.tolist(), strict=True)):
        gain = -delta if better else delta
        if accepts(gain + error, temperature, draw, variance):
            better = not better
        stay[step] = better
    means = stay.reshape(BATCHES, -1).mean(axis=1)
    return float(means.mean()), float(means.std(ddof=1) / math.sqrt(BATCHES))


def boltzmann(delta: float, temperature: float) -> float:
    """The better state's share where the ratio of the two is exp(delta / temperature)."""
    return 1.0 / (1.0 + math.exp(-delta / temperature))


CASES = [(1.0, 1.0, 1.0), (0.5, 0.5, 0.75), (2.0, 1.5, 2.0), (0.0, 1.0, 1.5)]
"""Gain, temperature, and standard deviation of the noise, in the objective's unit."""


@pytest.mark.parametrize(("delta", "temperature", "noise"), CASES)
def test_told_of_the_noise_a_chain_keeps_to_the_probabilities_it_would_without(
    delta: float, temperature: float, noise: float
) -> None:
    share, error = share_of_the_better(delta, temperature, noise, told=True, seed=1)
    assert abs(share - boltzmann(delta, temperature)) < 5 * error


@pytest.mark.parametrize(("delta", "temperature", "noise"), CASES[:3])
def test_not_told_of_it_the_chain_prefers_the_better_too_little(
    delta: float, temperature: float, noise: float
) -> None:
    share, error = share_of_the_better(delta, temperature, noise, told=False, seed=2)
    assert share < boltzmann(delta, temperature) - 10 * error


@given(
    st.floats(-5, 5), st.floats(0.01, 10), st.floats(0, 1, exclude_max=True), st.floats(0, 10)
)
def test_noise_never_makes_a_rule_accept_what_it_would_not_without(
    delta: float, temperature: float, draw: float, variance: float
) -> None:
    if accepts(delta, temperature, draw, variance):
        assert accepts(delta, temperature, draw)
