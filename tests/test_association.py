"""How often a feature is said to go with labels that no feature goes with.

Each rate is measured over `SIMULATED` sets of items, whose labels are drawn at random, for
several ways in which items may be tied. A test at 5 % gives more than `MOST` false findings in
less than one of a thousand such series; the seeds are fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elicit import association
from elicit.association import Ties, adjusted_p_values, associations, shuffled
from elicit.cli.tasks import open_task, task_file
from elicit.gold import load_gold
from elicit.scorer import IntArray
from elicit.surface import Feature, features_of

SIMULATED = 150
MOST = 17
"""Quantile of 0.999 of the findings that 150 sets give at 5 % (binomial)."""
PERMUTATIONS = 199

ALONE = (1,) * 96
FOURS = (4,) * 24
LARGE = (16,) * 6
UNEQUAL = tuple(1 + 5 * group % 7 for group in range(24))


@dataclass(frozen=True)
class Items:
    """Items of groups, and of parts of groups, numbered (n_items,) each."""

    group: IntArray
    part: IntArray
    labels: int
    """Number of labels."""
    rng: np.random.Generator

    @classmethod
    def of(cls, sizes: Sequence[int], labels: int, seed: int) -> Items:
        group = np.repeat(np.arange(len(sizes)), sizes)
        place = np.concatenate([np.arange(size) for size in sizes])
        part = np.unique(100 * group + place // 2, return_inverse=True)[1]
        return cls(group, part, labels, np.random.default_rng([seed, labels]))

    @property
    def names(self) -> tuple[str, ...]:
        return ("no", "maybe", "yes")[-self.labels :]


def independent(items: Items) -> IntArray:
    return items.rng.integers(items.labels, size=items.group.size)


def one_a_group(items: Items) -> IntArray:
    return items.rng.integers(items.labels, size=int(items.group.max()) + 1)[items.group]


def nearly_one_a_group(items: Items) -> IntArray:
    other = items.rng.random(items.group.size) < 0.1
    return np.where(other, independent(items), one_a_group(items))


def exactly_one(items: Items) -> IntArray:
    """One item of each group has the last label, the others any of the rest."""
    found = items.rng.integers(items.labels - 1, size=items.group.size)
    for number in np.unique(items.group):
        found[items.rng.choice(np.flatnonzero(items.group == number))] = items.labels - 1
    return found


def same_answer(items: Items) -> IntArray:
    """One part of each group, of items with the same answer, has the last label."""
    found = items.rng.integers(items.labels - 1, size=int(items.part.max()) + 1)
    for number in np.unique(items.group):
        found[items.rng.choice(np.unique(items.part[items.group == number]))] = items.labels - 1
    return found[items.part]


Labelled = Callable[[Items], IntArray]


def nothing(items: Items, labelled: Labelled) -> tuple[list[Feature], IntArray, Ties]:
    """Features of groups, of parts and of items, and labels that go with none of them."""
    rng, alone = items.rng, np.arange(items.group.size)
    features = []
    for of in (items.group, items.part, alone):
        units = int(of.max()) + 1
        words = [rng.random(units) < rng.uniform(0.2, 0.8) for _ in range(5)]
        features += [
            Feature(f"word {n}", word.astype(float)[of]) for n, word in enumerate(words)
        ]
        features.append(Feature("length", rng.random(units)[of]))
        kinds = rng.integers(3, size=units)[of]
        features.append(Feature("kind", kinds.astype(float), ("a", "b", "c")))
    colours = [rng.permutation(size) for size in np.bincount(items.group)]
    column = np.concatenate(colours).clip(0, 3).astype(float)
    features.append(Feature("colour", column, ("a", "b", "c", "d")))
    kept = [feature for feature in features if np.ptp(feature.values) > 0]
    alike = items.part if labelled is same_answer else alone
    return kept, labelled(items), Ties(items.group, alike)


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize(
    ("sizes", "labelled"),
    [
        (ALONE, independent),
        (FOURS, independent),
        (FOURS, one_a_group),
        (FOURS, nearly_one_a_group),
        (FOURS, exactly_one),
        (FOURS, same_answer),
        (LARGE, one_a_group),
        (UNEQUAL, one_a_group),
        (UNEQUAL, exactly_one),
    ],
)
def test_labels_that_go_with_nothing_raise_no_alarm_in_nineteen_of_twenty_sets(
    monkeypatch: pytest.MonkeyPatch, sizes: Sequence[int], labelled: Labelled, labels: int
) -> None:
    monkeypatch.setattr(association, "PERMUTATIONS", PERMUTATIONS)
    alarms = 0
    for seed in range(SIMULATED):
        items = Items.of(sizes, labels, seed)
        features, given, ties = nothing(items, labelled)
        alarms += bool(associations(features, given, items.names, ties, items.rng))
    assert alarms <= MOST


@pytest.mark.parametrize("groups", range(2, 7))
def test_of_too_few_groups_with_one_label_each_nothing_is_said(groups: int) -> None:
    group = np.repeat(np.arange(groups), 20)
    labels = group % 2
    feature = Feature("word", labels.astype(float))
    ties = Ties(group, np.arange(group.size))
    rng = np.random.default_rng(0)
    assert adjusted_p_values([feature], labels, ties, rng)[0] > 0.05
    seven, rows = Ties(np.arange(7), np.arange(7)), np.arange(7) % 2
    enough = Feature("word", rows.astype(float))
    assert adjusted_p_values([enough], rows, seven, rng)[0] < 0.05
    assert adjusted_p_values([feature], labels, Ties.none(labels.size), rng)[0] < 0.05


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize(
    ("sizes", "labelled"),
    [
        (FOURS, one_a_group),
        (UNEQUAL, one_a_group),
        (FOURS, exactly_one),
        (UNEQUAL, exactly_one),
        (FOURS, same_answer),
    ],
)
def test_a_planted_feature_is_found_in_groups_of_any_kind(
    sizes: Sequence[int], labelled: Labelled, labels: int
) -> None:
    items = Items.of(sizes, labels, 1)
    features, given, ties = nothing(items, labelled)
    planted = Feature("planted", (given == labels - 1).astype(float))
    top = associations([*features, planted], given, items.names, ties, items.rng)[0]
    assert (top.feature, top.accuracy, top.large) == ("planted", 1.0, True)
    assert top.tells == "yes with it"


def test_a_feature_that_tells_the_one_of_each_group_is_found_wherever_that_stands() -> None:
    group, first = np.arange(80) // 4, (np.arange(80) % 4 == 0).astype(np.int64)
    planted = Feature("planted", first.astype(float))
    ties, rng = Ties(group, np.arange(80)), np.random.default_rng(0)
    assert associations([planted], first, ("no", "yes"), ties, rng)[0].large


def test_the_marker_planted_in_the_embedded_task_is_found() -> None:
    task = open_task("spurious")
    texts = [segment.text for segment in task.render().questions]
    labels = load_gold(task_file("spurious"), [item.id for item in task.items])
    assert labels is not None
    assert labels.size == 100
    ties = Ties.none(labels.size)
    told = associations(
        features_of(task, texts), labels, task.labels, ties, np.random.default_rng(0)
    )
    assert any(a.feature == "the word 'today'" and a.large for a in told)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5), min_size=1, max_size=8))
def test_labels_of_groups_and_of_their_parts_are_drawn_together(
    groups: list[list[int]],
) -> None:
    sizes = [len(given) for given in groups]
    group = np.repeat(np.arange(len(sizes)), sizes)
    part = np.unique(100 * group + np.arange(group.size) // 2, return_inverse=True)[1]
    labels = np.concatenate([np.array(given) for given in groups])
    drawn = shuffled(labels, Ties(group, part), np.random.default_rng(0))()

    def within(of: IntArray, given: IntArray) -> list[list[int]]:
        return sorted(sorted(given[of == number].tolist()) for number in np.unique(of))

    if all(len(set(given)) == 1 for given in groups):
        first = np.unique(group, return_index=True)[1]
        assert (drawn == drawn[first][group]).all()
        assert sorted(drawn[first]) == sorted(labels[first])
    else:
        assert within(group, drawn) == within(group, labels)
        assert within(part, drawn) == within(part, labels)
