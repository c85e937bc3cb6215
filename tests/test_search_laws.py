"""Laws of searches that hold whatever the model: looking ahead, orders, pools, priors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elicit.cache.errors import InputError
from elicit.constraints import UNLABELLED, Constraint
from elicit.objective import Objective
from elicit.predictability import (
    Folds,
    Labelling,
    LeaveOneOut,
    Predictability,
    Prequential,
    predict,
)
from elicit.prior import divergence, parse_prior, with_mean
from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Identity,
    LabelScores,
    ScoredUnit,
    ScoreRequest,
    Scoring,
    Usage,
)
from elicit.run import pool_of
from elicit.scorer import Scorer
from elicit.search.bootstrap import BootstrapSettings, bootstrap
from elicit.search.icm import ICMSettings, icm
from elicit.search.problem import Problem
from elicit.search.state import State
from elicit.settings import RunSettings
from elicit.task import Task

LABELS = ("a", "b", "c")


class Whim:
    """A model whose answer is a hash of the prompt, drawn towards labels it has been shown;
    counts its calls and keeps what it was asked."""

    name = "whim"
    identity = Identity("test", "whim")
    capabilities = Capabilities("exact", None, deterministic=True)

    def __init__(self, salt: int, follows: float = 1.0) -> None:
        self.salt, self.follows = salt, follows
        self.calls = 0
        self.asked: list[tuple[str, ...]] = []

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        return [len(request.prompt) for request in requests]

    def close(self) -> None:
        return None

    def score(
        self,
        requests: Sequence[ScoreRequest],
        budget: Budget = UNBOUNDED,  # noqa: ARG002  a whim costs nothing
    ) -> Scoring:
        self.calls += 1
        for i, request in enumerate(requests):
            texts = tuple(segment.text for segment in request.prompt)
            self.asked.append(texts)
            seed = b"".join(s.digest for s in request.prompt) + self.salt.to_bytes(4, "little")
            whim = np.random.default_rng(list(seed)).normal(size=len(request.labels))
            shown = [text.split()[-1] for text in texts[:-1]]
            counts = np.array([shown.count(label.strip()) for label in request.labels])
            values = whim + self.follows * counts / max(1, len(shown))
            values = values - np.logaddexp.reduce(values)
            yield ScoredUnit(((i, LabelScores(tuple(values.tolist()))),), Usage(1))


def made_task(n: int, n_labels: int = 2, *, paired: bool = False) -> Task:
    rules = [Constraint("at_most_one", "a", by="pair")] if paired else []
    return Task(
        labels=LABELS[:n_labels],
        items=[{"n": i, "pair": i // 2} for i in range(n)],
        template="{{ n }} ",
        constraints=rules,
    )


def made_problem(
    model: Whim, task: Task, measure: Predictability | None = None, **objective: object
) -> Problem:
    made = Objective(task.rules(), measure or Folds(2), **objective)  # type: ignore[arg-type] # options by name
    return Problem.of(Scorer(task.render(), model), made)


def annealed(
    salt: int,
    n: int,
    n_labels: int,
    ahead: int,
    *,
    state: State | None = None,
    heat: float = 10.0,
) -> tuple[list[State], Whim]:
    model = Whim(salt)
    problem = made_problem(model, made_task(n, n_labels, paired=True))
    chosen = ICMSettings(iterations=25, initial=4, ahead=ahead, initial_temperature=heat)
    return list(icm(problem, chosen, np.random.default_rng(salt), state)), model


@given(
    salt=st.integers(0, 10_000),
    n=st.integers(2, 12),
    n_labels=st.integers(2, 3),
    ahead=st.integers(2, 9),
)
@settings(max_examples=25, deadline=None)
def test_looking_ahead_changes_no_state(salt: int, n: int, n_labels: int, ahead: int) -> None:
    one, _ = annealed(salt, n, n_labels, 1)
    many, _ = annealed(salt, n, n_labels, ahead)
    assert [s.dumps() for s in many] == [s.dumps() for s in one]


@given(salt=st.integers(0, 500), stop=st.integers(0, 24))
@settings(max_examples=15, deadline=None)
def test_a_search_that_looks_ahead_goes_on_as_if_it_had_never_stopped(
    salt: int, stop: int
) -> None:
    whole, _ = annealed(salt, 8, 2, 4)
    saved = State.loads(whole[stop].dumps())
    rest, _ = annealed(salt, 8, 2, 4, state=saved)
    assert [s.dumps() for s in rest] == [s.dumps() for s in whole[stop + 1 :]]


def test_where_proposals_are_rejected_looking_ahead_asks_in_fewer_calls() -> None:
    calls = np.zeros(2, int)
    for salt in range(8):
        alone, many = (annealed(salt, 12, 2, ahead, heat=0.01)[1] for ahead in (1, 8))
        assert set(many.asked) >= set(alone.asked)
        calls += alone.calls, many.calls
    assert calls[1] < calls[0]


@given(
    salt=st.integers(0, 500),
    n=st.integers(1, 9),
    measure=st.sampled_from(
        [
            LeaveOneOut(),
            Folds(2),
            Folds(4),
            Prequential(1),
            Prequential(2),
            Prequential(2, None, 3),
        ]
    ),
)
@settings(max_examples=40, deadline=None)
def test_no_measure_shows_an_item_its_own_label(
    salt: int, n: int, measure: Predictability
) -> None:
    model = Whim(salt)
    rng = np.random.default_rng(salt)
    labels = np.where(rng.random(9) < n / 9, rng.integers(2, size=9), UNLABELLED)
    labelling = Labelling(labels, rng.permutation(np.flatnonzero(labels != UNLABELLED)))
    scorer = Scorer(made_task(9).render(), model)
    rows = predict(scorer, measure, labelling, np.arange(9))
    assert np.allclose(np.exp(rows).sum(axis=1), 1)
    for *shown, question in model.asked:
        assert all(text.split()[0] != question.strip() for text in shown)


def test_one_prequential_pass_is_the_joint_log_probability_of_the_labels() -> None:
    task = made_task(6)
    scorer = Scorer(task.render(), Whim(1))
    labelling = Labelling(np.array([0, 1, 1, 0, 1, 0]), np.array([3, 1, 5, 0, 2, 4]))
    rows = predict(scorer, Prequential(1), labelling, labelling.order)
    chained = 0.0
    for place, item in enumerate(labelling.order.tolist()):
        before = Labelling.empty(6).updated(
            {i: int(labelling.labels[i]) for i in labelling.order[:place].tolist()}
        )
        seen = predict(scorer, LeaveOneOut(), before, np.array([item]))
        chained += float(seen[0, labelling.labels[item]])
    told = float(rows[np.arange(6), labelling.labels[labelling.order]].sum())
    assert told == pytest.approx(chained)


def test_over_two_orders_an_item_sees_every_other_once() -> None:
    model = Whim(0)
    scorer = Scorer(made_task(7).render(), model)
    labelling = Labelling(np.zeros(7, np.int64), np.random.default_rng(0).permutation(7))
    predict(scorer, Prequential(2), labelling, np.arange(7))
    for item in range(7):
        shown = [
            int(text.split()[0])
            for *context, question in model.asked
            if int(question) == item
            for text in context
        ]
        assert sorted(shown) == [other for other in range(7) if other != item]


def test_further_orders_are_other_orders() -> None:
    ranks = np.random.default_rng(1).permutation(8)[None]
    order = np.arange(8)
    plan = Prequential(4, ranks).plan(Labelling(np.zeros(8, np.int64), order), np.array([7]))
    assert [len(ask.context) for ask in plan.asks][:2] == [7, 0]
    assert len(plan.asks) == 4


@given(size=st.integers(0, 30), seed=st.integers(0, 5), method=st.sampled_from(["icm", "b"]))
@settings(max_examples=25, deadline=None)
def test_a_search_of_a_pool_labels_nothing_else(size: int, seed: int, method: str) -> None:
    task = made_task(24, paired=True)
    pool = pool_of(RunSettings(pool=size, seed=seed), task.rules())
    problem = made_problem(Whim(seed), task)
    problem = Problem.of(problem.scorer, problem.objective, pool)
    rng = np.random.default_rng(seed)
    if method == "icm":
        final = list(icm(problem, ICMSettings(iterations=40), rng))[-1]
    else:
        final = list(bootstrap(problem, BootstrapSettings(), rng))[-1]
    labelled = np.flatnonzero(final.labelling.labels != UNLABELLED)
    assert np.isin(labelled, pool).all()
    if method == "b":
        assert labelled.tolist() == pool.tolist()


@given(size=st.integers(1, 40), seed=st.integers(0, 50))
def test_a_pool_is_of_whole_groups_and_just_large_enough(size: int, seed: int) -> None:
    rules = made_task(24, paired=True).rules()
    pool = pool_of(RunSettings(pool=size, seed=seed), rules)
    assert sorted({int(i) // 2 for i in pool}) == sorted(set((pool // 2).tolist()))
    assert all({2 * (i // 2), 2 * (i // 2) + 1} <= set(pool.tolist()) for i in pool.tolist())
    assert min(size, 24) <= pool.size <= size + 1 or pool.size == 24


def test_a_bootstrap_whose_rounds_run_out_ends_on_the_best_it_has_seen() -> None:
    ended_elsewhere = 0
    for salt in range(30):
        problem = made_problem(Whim(salt, follows=0.0), made_task(10))
        found = list(bootstrap(problem, BootstrapSettings(rounds=4), np.random.default_rng(0)))
        if found[-1].iteration == 4:
            best = max(state.objective for state in found)
            assert found[-1].objective == best
            assert problem.value(found[-1].labelling).objective == best
            ended_elsewhere += found[-1].step is not None and found[-1].step.delta > 0
    assert ended_elsewhere


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a=0.5", "each label needs a share"),
        ("a=0.5,b=0.6", "add up to 1.1"),
        ("a=0.5,c=0.5", "'c=0.5' is not a label=share"),
        ("a=0.5,a=0.5", "'a' stands twice"),
        ("a=x,b=0.5", "'x' is not a number"),
        ("a=0,b=1", "above 0"),
        ("half", "is not a label=share"),
    ],
)
def test_a_prior_that_can_t_be_meant_is_refused_with_an_example(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as refused:
        parse_prior(text, ("a", "b"))
    assert "a=0.5,b=0.5" in str(refused.value)


def test_no_prior_is_none_and_a_label_may_hold_an_equals_sign() -> None:
    assert parse_prior("", ("a", "b")) is None
    found = parse_prior("x=1=0.25, b=0.75", ("x=1", "b"))
    assert found is not None
    assert found.tolist() == [0.25, 0.75]
    found = parse_prior("yes, but=0.25, yes=0.75", ("yes", "yes, but"))
    assert found is not None
    assert found.tolist() == [0.75, 0.25]


@given(
    seed=st.integers(0, 200),
    share=st.floats(0.02, 0.98),
    n_labels=st.integers(2, 4),
    scale=st.floats(0.1, 30),
)
@settings(max_examples=50, deadline=None)
def test_shifted_log_probabilities_have_the_prior_as_their_mean(
    seed: int, share: float, n_labels: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    raw = rng.normal(scale=scale, size=(40, n_labels))
    prior = np.array([share, *[(1 - share) / (n_labels - 1)] * (n_labels - 1)])
    shifted = with_mean(raw, prior)
    assert np.allclose(np.exp(shifted).mean(axis=0), prior, atol=1e-6)
    # What one item has over another stays: only the labels are shifted.
    apart = (raw[:, 1:] - raw[:, :1]) - (shifted[:, 1:] - shifted[:, :1])
    assert np.allclose(apart, apart[0])


def test_labels_of_the_expected_shares_lose_nothing_and_others_lose_more_the_further() -> None:
    prior = np.array([0.9, 0.1])
    exact = divergence(np.array([0] * 9 + [1]), prior)
    some = divergence(np.array([0] * 7 + [1] * 3), prior)
    all_rare = divergence(np.array([1] * 10), prior)
    assert exact == pytest.approx(0)
    assert 0 < some < all_rare
    assert all_rare == pytest.approx(np.log(10))


def test_a_prior_keeps_annealing_from_giving_one_label_to_all() -> None:
    task = made_task(24)
    shares = []
    for prior in (None, np.array([0.5, 0.5])):
        problem = made_problem(Whim(4, follows=3.0), task, prior=prior)
        rng = np.random.default_rng(0)
        final = list(icm(problem, ICMSettings(iterations=150), rng))[-1]
        labels = final.labelling.labels[final.labelling.labels != UNLABELLED]
        shares.append(max(labels.mean(), 1 - labels.mean()))
    assert shares[0] > 0.9
    assert shares[1] < 0.8
