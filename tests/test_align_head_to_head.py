"""Two policies asked the same: who wins, and how they write."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elicit.align.comparisons import Preference
from elicit.align.head_to_head import habits, judged, knows, play, right_share
from elicit.align.plot import smoothed
from elicit.align.sampling import Answer
from elicit.scorer import FloatArray

KNOWN = {"p?": "x", "q?": "y"}


def said(*texts: str) -> list[Answer]:
    return [Answer(text, len(text.split()), True) for text in texts]


def by_length(_prompts: Sequence[str], answers: Sequence[str]) -> FloatArray:
    return np.array([float(len(answer)) for answer in answers])


def test_the_right_answer_wins_equal_ones_tie_and_ties_count_half() -> None:
    ours = {"p?": said("x", "z"), "q?": said("Y ", "z")}
    theirs = {"p?": said("z", "w"), "q?": said("y", "y")}
    match = play(ours, theirs, knows(KNOWN))
    assert (match.wins, match.ties, match.losses) == (0.25, 0.5, 0.25)
    assert match.win_rate.value == 0.5
    assert (match.win_rate.n, match.win_rate.groups) == (4, 2)


texts = st.lists(st.sampled_from(["x", "y", "xx", ""]), min_size=4, max_size=4)


@given(texts, texts)
def test_what_one_wins_the_other_loses(first: list[str], second: list[str]) -> None:
    ours = {"p?": said(*first[:2]), "q?": said(*first[2:])}
    theirs = {"p?": said(*second[:2]), "q?": said(*second[2:])}
    there, back = play(ours, theirs, by_length), play(theirs, ours, by_length)
    assert (there.wins, there.ties, there.losses) == (back.losses, back.ties, back.wins)
    assert there.win_rate.value == pytest.approx(1 - back.win_rate.value)
    assert play(ours, ours, by_length).ties == 1


def test_a_policy_is_measured_by_the_share_of_its_answers_that_are_right() -> None:
    found = judged({"p?": said("x", "z"), "q?": said("y", "y")}, knows(KNOWN))
    assert (found.value, found.n, found.groups) == (0.75, 4, 2)


def test_a_judge_is_measured_by_the_comparisons_that_it_takes_as_they_are() -> None:
    preferences = [
        Preference("p?", "long", "s"),
        Preference("q?", "s", "long"),
        Preference("r?", "a", "b"),
    ]
    assert right_share(preferences, by_length).value == 0.5


def test_habits_show_a_policy_that_pads_repeats_or_says_nothing() -> None:
    given_answers = {
        "p?": [Answer("a a a b", 4, False), Answer("", 0, True)],
        "q?": [Answer("c", 1, True), Answer("c", 1, True)],
    }
    found = habits(given_answers)
    assert found.tokens == found.words == 1.5
    assert found.ended == 0.75
    assert found.empty == 0.25
    assert found.repeated == pytest.approx(2 / 6)
    assert found.commonest == 0.5


def test_a_drawn_curve_is_the_mean_of_neighbours() -> None:
    steps, values = smoothed([(i, float(i % 2)) for i in range(1, 19)])
    assert steps[0] == 5
    assert values == pytest.approx([5 / 9, 4 / 9] * 5)
    assert smoothed([(1, 2.0)]) == ([1], [2.0])
