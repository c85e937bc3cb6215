"""Draws of a label tell its probability and how well; a search is not fooled by noise."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from elicit.constraints import UNLABELLED
from elicit.objective import Objective, score_variance
from elicit.predictability import Folds
from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Identity,
    LabelScores,
    ScoredUnit,
    ScoreRequest,
    Scoring,
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
from elicit.scorer import Scorer
from elicit.search.icm import ICMSettings, icm
from elicit.search.problem import Problem
from elicit.search.schedule import accepts
from elicit.task import Task

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
    ) -> Scoring:
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


moderate = st.floats(-3, 3)
temperatures = st.floats(0.2, 10)


def probability(delta: float, temperature: float, variance: float) -> float:
    """With which probability the rule accepts, found by bisection of its uniform draw."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if accepts(delta, temperature, middle, variance):
            low = middle
        else:
            high = middle
    return low


@given(delta=moderate, temperature=temperatures, variance=moderate)
def test_the_rule_keeps_detailed_balance_with_the_corrected_weights(
    delta: float, temperature: float, variance: float
) -> None:
    # Beyond, a probability is too small for the bisection to tell.
    assume(abs(delta - variance / (2 * temperature)) < 20 * temperature)
    there = probability(delta, temperature, variance)
    back = probability(-delta, temperature, -variance)
    ratio = math.exp((delta - variance / (2 * temperature)) / temperature)
    assert there == pytest.approx(back * ratio, rel=1e-6)


@pytest.mark.parametrize(("temperature", "deviation"), [(1.0, 0.5), (2.0, 2.0), (0.5, 0.4)])
def test_the_corrected_weight_of_a_labelling_is_right_on_average(
    temperature: float, deviation: float
) -> None:
    n = 400_000
    errors = np.random.default_rng(3).normal(scale=deviation, size=n)
    corrected = np.exp(errors / temperature - deviation**2 / (2 * temperature**2))
    plain = np.exp(errors / temperature)
    assert abs(corrected.mean() - 1) < 5 * corrected.std() / math.sqrt(n)
    assert plain.mean() - 1 > 10 * plain.std() / math.sqrt(n)


def test_of_two_labellings_that_look_alike_the_better_known_is_kept_longer() -> None:
    assert probability(0.0, 1.0, 1.0) == pytest.approx(math.exp(-0.5))
    assert probability(0.0, 1.0, -1.0) == pytest.approx(1.0)


def test_the_variance_of_the_objective_is_that_of_its_terms() -> None:
    log_probs = np.log(np.array([[0.8, 0.2], [0.4, 0.6]]))
    variances = np.array([[0.01, 0.4], [0.2, 0.09]])
    labels = np.array([0, 1])
    assert score_variance(log_probs, variances, labels, "sum_log_prob") == pytest.approx(0.1)
    assert score_variance(log_probs, variances, labels, "mean_log_prob") == pytest.approx(0.025)
    odds = (0.1 + math.sqrt(0.4)) ** 2 + (0.3 + math.sqrt(0.2)) ** 2
    assert score_variance(log_probs, variances, labels, "mean_log_odds") == pytest.approx(
        odds / 4
    )


class Coins:
    """A model that copies the majority of its demonstrations' labels, four times in five."""

    name = "coins"
    identity = Identity("test", "coins")
    capabilities = Capabilities("sampled", None, deterministic=False, samples=8)

    def score(self, requests: Sequence[ScoreRequest], _budget: Budget = UNBOUNDED) -> Scoring:
        for i, request in enumerate(requests):
            shown = [segment.text.endswith("yes\n\n") for segment in request.prompt[:-1]]
            yes = 0.8 if sum(shown) * 2 > len(shown) else 0.2
            digest = b"".join(segment.digest for segment in request.prompt)
            seed = (
                int.from_bytes(digest[-8:], "big") ^ zlib.crc32(digest) ^ (request.sample << 40)
            )
            label = int(np.random.default_rng(abs(seed)).random() < yes)
            yield ScoredUnit(((i, one_draw(label, 2)),), Usage(requests=1))

    def count_tokens(self, _requests: Sequence[ScoreRequest]) -> None:
        return None

    def close(self) -> None: ...


def test_annealing_by_draws_labels_what_it_is_given() -> None:
    task = Task(
        labels=["no", "yes"],
        items=[{"t": f"item {i}"} for i in range(24)],
        template="{{ t }} ",
    )
    scorer = Scorer(task.render(), SampledProvider(Coins()))
    rng = np.random.default_rng(0)
    problem = Problem.of(scorer, Objective(task.rules(), Folds(2)))
    final = list(icm(problem, ICMSettings(), rng))[-1]
    labelled = final.labelling.labels != UNLABELLED
    assert labelled.mean() > 0.9
    share = final.labelling.labels[labelled].mean()
    assert share < 0.2 or share > 0.8
    assert 0.1 < final.accepted / final.iteration < 1
