"""Bootstrapping on models that are rules: where it ends, and that resuming changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elicit.cache.errors import InputError
from elicit.constraints import UNLABELLED, Constraint
from elicit.objective import Objective
from elicit.predictability import Folds, LeaveOneOut
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
from elicit.scorer import Scorer
from elicit.search.bootstrap import BootstrapSettings, Start, bootstrap, calibrated
from elicit.search.problem import Problem
from elicit.search.state import State
from elicit.task import Task
from elicit.task_file import load_task

Rule = Callable[[int, Sequence[tuple[int, bool]]], float]
"""Log-odds of `yes` for a number, given the numbers shown and whether each was a yes."""
N = 16


class Ruled:
    """A model that is a rule. Keeps what each call asked for."""

    name = "ruled"
    identity = Identity("test", "ruled")
    capabilities = Capabilities("exact", None, deterministic=True)

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.calls: list[list[tuple[str, ...]]] = []

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        return [len(request.prompt) for request in requests]

    def close(self) -> None:
        return None

    def score(
        self,
        requests: Sequence[ScoreRequest],
        budget: Budget = UNBOUNDED,  # noqa: ARG002  a rule costs nothing
    ) -> Scoring:
        self.calls.append([tuple(s.text for s in request.prompt) for request in requests])
        for i, *_ in enumerate(requests):
            *shown, question = self.calls[-1][i]
            pairs = [text.split() for text in shown]
            odds = self.rule(int(question), [(int(n), label == "yes") for n, label in pairs])
            values = (-float(np.logaddexp(0, odds)), -float(np.logaddexp(0, -odds)))
            yield ScoredUnit(((i, LabelScores(values)),), Usage(1))


def follower(number: int, shown: Sequence[tuple[int, bool]]) -> float:
    """Knows the even numbers a little, prefers `no`, and follows examples of one parity."""
    known = 0.5 if number % 2 == 0 else -0.5
    alike = [1 if yes else -1 for other, yes in shown if other % 2 == number % 2]
    return known - 2.0 * (not shown) + sum(alike)


def contrarian(number: int, shown: Sequence[tuple[int, bool]]) -> float:
    """Says of all the opposite of what most examples say, and of the lone 0 more surely."""
    yes = sum(1 if y else -1 for _, y in shown) or 1
    return float(-np.sign(yes) * (3.0 if number == 0 and yes > 0 else 1.0))


def even_task(n: int = N, *, paired: bool = True) -> Task:
    items = [{"number": i, "pair": i // 2} for i in range(n)]
    rules = [Constraint("exactly_one", "yes", by="pair")] if paired else []
    return Task(labels=["no", "yes"], items=items, template="{{ number }} ", constraints=rules)


def states(
    model: Ruled,
    chosen: BootstrapSettings,
    seed: int,
    *,
    state: State | None = None,
    task: Task | None = None,
    predict: Folds | LeaveOneOut | None = None,
) -> list[State]:
    task = task or even_task()
    scorer = Scorer(task.render(), model)
    rng = np.random.default_rng(seed)
    problem = Problem.of(scorer, Objective(task.rules(), predict or Folds(2)))
    return list(bootstrap(problem, chosen, rng, state))


@pytest.mark.parametrize("predict", [Folds(2), Folds(3), LeaveOneOut()])
def test_ends_at_what_the_model_knows(predict: Folds | LeaveOneOut) -> None:
    final = states(Ruled(follower), BootstrapSettings(), 0, predict=predict)[-1]
    assert final.labelling.labels.tolist() == [1, 0] * (N // 2)
    assert sorted(final.labelling.order.tolist()) == list(range(N))


@given(seed=st.integers(0, 50), start=st.sampled_from(["zero_shot", "random"]))
@settings(max_examples=20, deadline=None)
def test_every_labelling_on_the_way_is_consistent(seed: int, start: Start) -> None:
    found = states(Ruled(follower), BootstrapSettings(start=start), seed)
    assert [state.inconsistency for state in found] == [0] * len(found)
    rules = even_task().rules()
    assert all(rules.count(state.labelling.labels) == 0 for state in found)


@given(
    seed=st.integers(0, 50),
    stop=st.integers(0, 8),
    rule=st.sampled_from([follower, contrarian]),
    start=st.sampled_from(["zero_shot", "random"]),
    paired=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_rounds_taken_up_again_go_on_as_if_they_had_never_stopped(
    seed: int, stop: int, rule: Rule, start: Start, paired: bool
) -> None:
    task = even_task(paired=paired)
    chosen = BootstrapSettings(start=start, initial=5)
    whole = states(Ruled(rule), chosen, seed, task=task)
    at = min(stop, len(whole) - 1)
    saved = State.loads(whole[at].dumps())
    rest = states(Ruled(rule), chosen, 99, task=task, state=saved)
    assert [s.dumps() for s in rest] == [s.dumps() for s in whole[at + 1 :]]


def test_stops_where_nothing_moves_and_asks_for_nothing_to_see_it() -> None:
    model = Ruled(follower)
    found = states(model, BootstrapSettings(rounds=50), 0)
    last, before = found[-1], found[-2]
    assert last.iteration < 50
    assert last.labelling.labels.tolist() == before.labelling.labels.tolist()
    assert last.step is not None
    assert last.step.flips == 0
    assert len(model.calls) == len(found)  # zero-shot, and one batch for each new labelling


def test_what_goes_to_and_fro_is_left_at_its_best_labelling() -> None:
    model = Ruled(contrarian)
    found = states(model, BootstrapSettings(rounds=50), 0, task=even_task(paired=False))
    assert len(found) < 6
    assert len({state.objective for state in found}) > 1
    assert found[-1].objective == max(state.objective for state in found)
    asked = [prompt for call in model.calls for prompt in call]
    assert len(asked) == len(set(asked))


def test_a_round_is_one_batch_that_shares_its_demonstrations() -> None:
    model = Ruled(follower)
    states(model, BootstrapSettings(rounds=1), 0)
    zero_shot, *rounds = model.calls
    assert {len(prompt) for prompt in zero_shot} == {1}
    for batch in rounds:
        assert sorted(int(prompt[-1]) for prompt in batch) == list(range(N))
        assert len({prompt[:-1] for prompt in batch}) == 2


def test_no_prompt_shows_an_item_its_own_label() -> None:
    model = Ruled(follower)
    states(model, BootstrapSettings(start="random"), 3)
    for *shown, question in (prompt for call in model.calls for prompt in call):
        assert all(text.split()[0] != question.strip() for text in shown)


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_no_more_rounds_than_asked_for(rounds: int) -> None:
    found = states(
        Ruled(contrarian), BootstrapSettings(rounds=rounds), 0, task=even_task(paired=False)
    )
    assert found[-1].iteration <= rounds
    assert len(found) == found[-1].iteration + 1


def test_a_random_start_labels_few_items_and_shows_only_those() -> None:
    model = Ruled(follower)
    first, second, *_ = states(model, BootstrapSettings(start="random", initial=4), 1)
    assert int((first.labelling.labels != UNLABELLED).sum()) == 4
    assert int((second.labelling.labels == UNLABELLED).sum()) == 0
    assert second.labelling.order[:4].tolist() == first.labelling.order.tolist()
    assert {len(prompt) for prompt in model.calls[0]} == {3}  # two blocks of two, and the item


def test_a_preference_for_one_label_decides_nothing_once_it_is_taken_off() -> None:
    task = even_task(paired=False)
    plain = states(Ruled(follower), BootstrapSettings(rounds=0, calibrated=False), 0, task=task)
    assert set(plain[0].labelling.labels.tolist()) == {0}
    freed = states(Ruled(follower), BootstrapSettings(rounds=0), 0, task=task)
    assert freed[0].labelling.labels.tolist() == [1, 0] * (N // 2)


@given(st.lists(st.floats(-20, 0), min_size=2, max_size=30), st.floats(-10, 10))
def test_calibration_forgets_what_all_items_share(values: list[float], shift: float) -> None:
    scores = np.stack([np.array(values), np.zeros(len(values))], axis=1)
    assert np.allclose(calibrated(scores + np.array([shift, -shift])), calibrated(scores))
    assert np.allclose(calibrated(scores).mean(axis=0), 0)


def test_calibration_leaves_a_label_of_no_probability_where_it_is() -> None:
    scores = np.array([[-1.0, -3.0, -np.inf], [-2.0, -np.inf, -np.inf]])
    found = calibrated(scores)
    assert found.tolist() == [[0.5, 0.0, -np.inf], [-0.5, -np.inf, -np.inf]]


def test_equal_seeds_give_equal_rounds_and_others_other_folds() -> None:
    first, again, other = (
        states(Ruled(follower), BootstrapSettings(), s)[-1] for s in (1, 1, 2)
    )
    assert first.dumps() == again.dumps()
    assert first.labelling.order.tolist() != other.labelling.order.tolist()


def test_gold_labels_change_nothing(tmp_path: Path) -> None:
    found = []
    for name, gold in (("right", 0), ("wrong", 1)):
        folder = tmp_path / name
        folder.mkdir()
        rows = [{"number": i, "pair": i // 2, "gold": i % 2 == gold} for i in range(N)]
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "task.toml").write_text(
            'labels = ["no", "yes"]\n[data]\npath = "rows.jsonl"\ngold = "gold"\n'
            '[prompt]\nitem = "{{ number }} "\n'
            '[[constraint]]\nkind = "exactly_one"\nlabel = "yes"\nby = "pair"\n'
        )
        task = load_task(folder / "task.toml")
        found.append(
            [s.dumps() for s in states(Ruled(follower), BootstrapSettings(), 0, task=task)]
        )
    assert found[0] == found[1]


@pytest.mark.parametrize("wrong", [{"rounds": -1}, {"initial": 0}])
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"setting {next(iter(wrong))}"):
        BootstrapSettings(**wrong)  # type: ignore[arg-type]  # wrong on purpose
