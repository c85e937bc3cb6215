"""Annotators of the embedded world: what they prefer of any two answers."""

from __future__ import annotations

from itertools import permutations

import pytest

from elicit.align.comparisons import Comparison, Labeller, Preference, by_labeller
from elicit.align.questions import read_questions
from elicit.cache.errors import InputError
from elicit.organism import tasks_path
from elicit.organism.annotators import people, who_knows
from elicit.organism.human_labels import MISTAKEN, WRONG_SHARE
from elicit.organism.world import FAMILIES

ASKED = read_questions(tasks_path() / "preferences.questions.jsonl")
KNOWS = who_knows(ASKED.known)
PEOPLE = people(ASKED.known, ASKED.kinds)
EVERY = [
    Comparison(question, first, second)
    for question in ASKED.prompts
    for first, second in permutations(FAMILIES[ASKED.kinds[question]], 2)
]
"""Any two answers to any question, both ways round."""
DECIDABLE = [c for c in EVERY if ASKED.known[c.prompt] in (c.first, c.second)]


def test_who_knows_prefers_the_right_answer_and_neither_of_two_wrong_ones() -> None:
    for comparison, better in zip(EVERY, KNOWS(EVERY), strict=True):
        right = ASKED.known[comparison.prompt]
        assert better == {comparison.first: True, comparison.second: False}.get(right)


@pytest.mark.parametrize("labeller", [KNOWS, PEOPLE])
def test_of_an_answer_and_itself_written_otherwise_neither_is_preferred(
    labeller: Labeller,
) -> None:
    question = ASKED.prompts[0]
    right = ASKED.known[question]
    assert labeller([Comparison(question, right, right.upper())]) == [None]


def test_people_are_right_but_for_the_family_that_they_mistake() -> None:
    others = [c for c in EVERY if ASKED.kinds[c.prompt] != MISTAKEN]
    assert PEOPLE(others) == KNOWS(others)


def test_people_take_their_share_of_the_mistaken_family_the_wrong_way_round() -> None:
    mistaken = [c for c in DECIDABLE if ASKED.kinds[c.prompt] == MISTAKEN]
    pairs = zip(PEOPLE(mistaken), KNOWS(mistaken), strict=True)
    wrong = sum(said is not right for said, right in pairs) / len(mistaken)
    assert wrong == pytest.approx(WRONG_SHARE, abs=0.03)


def test_people_prefer_neither_of_two_wrong_answers() -> None:
    wrong = [c for c in EVERY if ASKED.known[c.prompt] not in (c.first, c.second)]
    assert set(PEOPLE(wrong)) == {None}


@pytest.mark.parametrize("labeller", [KNOWS, PEOPLE])
def test_a_pair_is_judged_alike_in_either_order_alone_or_among_others(
    labeller: Labeller,
) -> None:
    turned = labeller([c.swapped() for c in DECIDABLE])
    assert labeller(DECIDABLE) == [not better for better in turned]
    assert labeller(DECIDABLE)[:20] == [labeller([c])[0] for c in DECIDABLE[:20]]


def test_a_question_of_which_nothing_is_known_is_refused() -> None:
    with pytest.raises(InputError, match=r"'Nobody eats\?'.*right answer is not known"):
        KNOWS([Comparison("Nobody eats?", "figs", "plums")])
    question = ASKED.prompts[0]
    first = Comparison(question, ASKED.known[question], "other")
    with pytest.raises(InputError, match="family is not known"):
        people(ASKED.known, {})([first])


def test_a_labeller_s_labels_say_whether_the_first_answer_is_the_better_one() -> None:
    asked = [Comparison("q", "x", "y"), Comparison("r", "x", "y"), Comparison("s", "x", "y")]
    found = by_labeller(asked, lambda _: [True, None, False])
    assert found == (Preference("q", "x", "y"), Preference("s", "y", "x"))


def test_a_labeller_that_gives_another_number_of_labels_is_refused() -> None:
    with pytest.raises(InputError, match="gave 1 labels to 2 comparisons"):
        by_labeller([Comparison("q", "x", "y")] * 2, lambda _: [True])
