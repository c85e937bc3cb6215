"""ICM on a model that is a rule: what it finds, and that resuming changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from elicit.cache.store import ScoreStore
from elicit.constraints import Constraint
from elicit.objective import Objective, predictability_score
from elicit.predictability import (
    Folds,
    Labelling,
    LeaveOneOut,
    Predictability,
    Prequential,
    predict,
)
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
    Usage,
)
from elicit.providers.cached import CachedProvider
from elicit.providers.usage import Account, BudgetReached, Limits, Meter
from elicit.scorer import Scorer
from elicit.search.icm import ICMSettings, icm
from elicit.search.problem import Problem
from elicit.search.schedule import accepts, temperature
from elicit.search.state import State
from elicit.task import Task


class Copycat:
    """Predicts what the demonstrations of the same parity are labelled, and counts calls."""

    name = "copycat"
    identity = Identity("test", "copycat")
    capabilities = Capabilities("exact", None, deterministic=True)

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        return [len(request.prompt) for request in requests]

    def close(self) -> None:
        return None

    def score(self, requests: Sequence[ScoreRequest], budget: Budget = UNBOUNDED) -> Scoring:
        for i, request in enumerate(requests):
            usage = Usage(1, len(request.prompt), len(request.prompt))
            budget.reserve(usage)
            self.asked.append(tuple(segment.text for segment in request.prompt))
            yes = 1.0
            no = 1.0
            parity = int(request.prompt[-1].text) % 2
            for shown in request.prompt[:-1]:
                number, answer = shown.text.split()
                if int(number) % 2 == parity:
                    yes += answer == "yes"
                    no += answer == "no"
            no, yes = no**3, yes**3
            odds = np.log([no / (yes + no), yes / (yes + no)])
            scores = LabelScores((float(odds[0]), float(odds[1])))
            budget.settle(usage, usage)
            yield ScoredUnit(((i, scores),), usage)


def parity_task(n: int = 16) -> Task:
    items = [{"number": i, "pair": i // 2} for i in range(n)]
    rule = Constraint("exactly_one", "yes", by="pair")
    return Task(labels=["no", "yes"], items=items, template="{{ number }} ", constraints=[rule])


def problem(provider: Provider, task: Task | None = None) -> Problem:
    task = task or parity_task()
    return Problem.of(Scorer(task.render(), provider), Objective(task.rules(), Folds(2)))


def states(
    provider: Copycat, settings: ICMSettings, seed: int, state: State | None = None
) -> list[State]:
    return list(icm(problem(provider), settings, np.random.default_rng(seed), state))


def test_finds_the_coherent_labelling() -> None:
    settings = ICMSettings(iterations=200)
    final = states(Copycat(), settings, seed=0)[-1]
    labels = final.labelling.labels
    assert final.inconsistency == 0
    assert set(labels.tolist()) == {0, 1}
    assert (labels[0::2] == labels[0]).mean() > 0.8


@pytest.mark.parametrize("stop", [0, 1, 7, 23])
def test_a_search_taken_up_again_goes_on_as_if_it_had_never_stopped(stop: int) -> None:
    settings = ICMSettings(iterations=30)
    whole = states(Copycat(), settings, seed=3)
    saved = State.loads(whole[stop].dumps())
    rest = states(Copycat(), settings, seed=99, state=saved)
    assert [s.dumps() for s in rest] == [s.dumps() for s in whole[stop + 1 :]]


def test_equal_seeds_give_equal_traces_and_others_differ() -> None:
    settings = ICMSettings(iterations=20)
    first, again, other = (states(Copycat(), settings, seed)[-1] for seed in (1, 1, 2))
    assert first.dumps() == again.dumps()
    assert first.dumps() != other.dumps()


def test_no_prompt_shows_an_item_its_own_label() -> None:
    provider = Copycat()
    states(provider, ICMSettings(iterations=40), seed=0)
    for *shown, question in provider.asked:
        assert all(text.split()[0] != question.strip() for text in shown)


@pytest.mark.parametrize("measure", [LeaveOneOut(), Folds(2), Folds(3), Prequential(2)])
def test_every_measure_scores_the_items_asked_for(measure: Predictability) -> None:
    task = parity_task()
    scorer = Scorer(task.render(), Copycat())
    labels = np.arange(16) % 2
    labelling = Labelling(labels.astype(np.int64), np.random.default_rng(0).permutation(16))
    rows = predict(scorer, measure, labelling, np.arange(16))
    assert rows.shape == (16, 2)
    assert np.allclose(np.exp(rows).sum(axis=1), 1)
    assert (rows.argmax(axis=1) == labels).all()


def test_the_store_answers_a_repeated_search(tmp_path: object) -> None:
    settings = ICMSettings(iterations=25)
    model = Copycat()
    with ScoreStore(f"{tmp_path}/scores.db") as store:
        for expected_calls in (True, False):
            model.asked.clear()
            list(icm(problem(CachedProvider(model, store)), settings, np.random.default_rng(0)))
            assert bool(model.asked) is expected_calls
            assert len(set(model.asked)) == len(model.asked)


def test_a_budget_stops_before_the_step_that_would_pass_it() -> None:
    meter = Meter(Copycat(), Account(Limits(tokens=40)))
    with pytest.raises(BudgetReached, match="budget reached"):
        list(icm(problem(meter), ICMSettings(), np.random.default_rng(0)))
    assert 20 < meter.usage.forwarded_tokens <= 40


def test_the_paper_s_schedule_and_acceptance() -> None:
    assert temperature(1, initial=10, minimum=0.01, cooling=0.99) == 10
    at_100 = temperature(100, initial=10, minimum=0.01, cooling=0.99)
    assert at_100 == pytest.approx(10 / (1 + 0.99 * np.log(100)))
    assert accepts(0.1, 1.0, 0.999)
    assert accepts(-1.0, 1.0, 0.36)
    assert not accepts(-1.0, 1.0, 0.37)


def test_the_measures_of_predictability() -> None:
    log_probs = np.log(np.array([[0.8, 0.2], [0.4, 0.6]]))
    labels = np.array([0, 1])
    total = float(np.log(0.8) + np.log(0.6))
    assert predictability_score(log_probs, labels, "sum_log_prob") == pytest.approx(total)
    assert predictability_score(log_probs, labels, "mean_log_prob") == pytest.approx(total / 2)
    odds = (np.log(4.0) + np.log(1.5)) / 2
    assert predictability_score(log_probs, labels, "mean_log_odds") == pytest.approx(odds)
