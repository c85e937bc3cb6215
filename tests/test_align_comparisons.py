"""Comparisons of two answers: what a task compares, what its labels prefer, what is offered."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elicit.align.align_settings import Wording
from elicit.align.comparisons import (
    Comparison,
    Preference,
    by_reward,
    comparisons_of,
    offered,
    only_prompts,
    preferences_of,
)
from elicit.cache.errors import InputError
from elicit.constraints import Constraint
from elicit.organism import tasks_path
from elicit.task import Task
from elicit.task_file import load_task

RULE = Constraint("asymmetric", "better", by="ask", left="a", right="b", strict=True)


def task_of(*rows: tuple[str, str, str], rule: Constraint = RULE) -> Task:
    items = [{"ask": ask, "a": a, "b": b} for ask, a, b in rows]
    return Task(
        labels=("worse", "better"),
        items=items,
        template="{{ ask }} {{ a }} {{ b }}:",
        constraints=[rule],
    )


def test_a_task_says_by_its_asymmetric_constraint_what_it_compares() -> None:
    task = task_of(("q", "x", "y"), ("q", "y", "x"))
    assert comparisons_of(task) == (Comparison("q", "x", "y"), Comparison("q", "y", "x"))


def test_the_embedded_preferences_are_a_task_of_comparisons() -> None:
    task = load_task(tasks_path() / "preferences.toml")
    first = comparisons_of(task)[0]
    assert first.prompt.endswith("?")
    assert first.first != first.second


@pytest.mark.parametrize(
    "rule",
    [
        Constraint("at_most_one", "better", by="ask"),
        Constraint("asymmetric", "better", left="a", right="b"),
    ],
)
def test_a_task_that_does_not_say_what_it_compares_is_refused(rule: Constraint) -> None:
    with pytest.raises(InputError, match="is no task of comparisons"):
        comparisons_of(task_of(("q", "x", "y"), rule=rule))


def test_both_orders_of_a_pair_make_one_preference() -> None:
    task = task_of(("q", "x", "y"), ("q", "y", "x"), ("r", "x", "y"))
    found = preferences_of(task, np.array([1, 0, 0]))
    assert found == (Preference("q", "x", "y"), Preference("r", "y", "x"))


def test_a_pair_labelled_one_way_and_the_other_is_left_out_as_is_one_without_a_label() -> None:
    task = task_of(("q", "x", "y"), ("q", "y", "x"), ("r", "x", "y"), ("s", "x", "y"))
    assert preferences_of(task, np.array([1, 1, -1, 1])) == (Preference("s", "x", "y"),)


@given(st.lists(st.tuples(st.sampled_from("pqr"), st.booleans()), min_size=1, max_size=8))
def test_what_is_preferred_does_not_depend_on_which_answer_is_named_first(
    drawn: list[tuple[str, bool]],
) -> None:
    rows = [(ask, f"x{i}", f"y{i}") for i, (ask, _) in enumerate(drawn)]
    labels = np.array([int(better) for _, better in drawn])
    turned = task_of(*((ask, b, a) for ask, a, b in rows))
    assert preferences_of(task_of(*rows), labels) == preferences_of(turned, 1 - labels)


def test_a_part_of_a_task_keeps_its_items_their_numbers_and_what_must_hold() -> None:
    task = task_of(("q", "x", "y"), ("r", "x", "y"), ("q", "y", "x"))
    part, kept = only_prompts(task, ["q"])
    assert kept.tolist() == [0, 2]
    assert [item.id for item in part.items] == [task.items[0].id, task.items[2].id]
    assert part.rules().count(np.array([1, 1])) == 1
    with pytest.raises(InputError, match="none of its comparisons"):
        only_prompts(task, ["z"])


@given(
    st.dictionaries(st.sampled_from("pqr"), st.lists(st.sampled_from(["", "x", "y", "z"]))),
    st.integers(1, 4),
    st.integers(0, 2**32),
)
def test_offered_answers_differ_have_words_and_stand_together_once(
    answers: dict[str, list[str]], most: int, seed: int
) -> None:
    made = offered(answers, most, np.random.default_rng(seed))
    assert made == offered(answers, most, np.random.default_rng(seed))
    pairs = [(c.prompt, frozenset((c.first, c.second))) for c in made]
    assert len(set(pairs)) == len(pairs)
    for prompt, pair in pairs:
        assert len(pair) == 2
        assert pair <= set(answers[prompt]) - {""}
    for prompt, given_answers in answers.items():
        words = len(set(given_answers) - {""})
        assert sum(p == prompt for p, _ in pairs) == min(most, words * (words - 1) // 2)


def test_a_reward_labels_what_it_is_surest_of_and_no_tie() -> None:
    comparisons = [Comparison(f"q{i}", "x", "y") for i in range(4)]
    first, second = np.array([1.0, 0.0, 5.0, 2.0]), np.array([1.5, 3.0, 1.0, 2.0])
    assert by_reward(comparisons, first, second, 0.5) == (
        Preference("q1", "y", "x"),
        Preference("q2", "x", "y"),
    )
    assert len(by_reward(comparisons, first, second, 1.0)) == 3


def test_an_answer_is_what_stands_before_the_stop() -> None:
    wording = Wording(before=" ", stop="\n")
    assert wording.read("Q?", "x") == "Q? x"
    assert wording.answer(wording.written("x")) == "x"
    assert wording.answer(" x y\nand more") == "x y"


def test_a_comparison_of_an_answer_with_itself_prefers_nothing() -> None:
    task = task_of(("q", "x", "x "), ("r", "x", "y"))
    assert [c.is_equal for c in comparisons_of(task)] == [True, False]
    assert preferences_of(task, np.array([1, 1])) == (Preference("r", "x", "y"),)


@pytest.mark.parametrize("field", ["ask", "a", "b"])
def test_an_answer_or_a_prompt_that_is_null_is_refused_with_its_item(field: str) -> None:
    whole: dict[str, object] = {"ask": "q", "a": "x", "b": "y"}
    items = [whole, whole | {field: None}]
    task = Task(
        labels=("worse", "better"), items=items, template="{{ ask }}", constraints=[RULE]
    )
    with pytest.raises(InputError, match=rf"item {task.items[1].id}: {field} is null"):
        comparisons_of(task)


def test_white_space_around_a_prompt_is_no_other_prompt() -> None:
    task = task_of(("q ", "x", "y"), (" q", "y", "z"))
    assert {c.prompt for c in comparisons_of(task)} == {"q"}


def test_no_embedded_comparison_is_of_equal_answers() -> None:
    task = load_task(tasks_path() / "preferences.toml")
    assert not any(c.is_equal for c in comparisons_of(task))
