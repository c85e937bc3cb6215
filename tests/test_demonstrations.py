"""Which items a baseline shows, and which it asks about."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from elicit.scorer import Ask, IntArray
from elicit.search.baselines import few_shot_ask, many_shot_asks

labellings = st.lists(st.integers(-1, 3), min_size=2, max_size=40).map(np.array)
seeds = st.integers(0, 2**32)
limits = st.none() | st.integers(1, 30)


def many(labels: IntArray, seed: int, limit: int | None = None) -> tuple[Ask, Ask]:
    return many_shot_asks(labels, np.random.default_rng(seed), limit)


@given(labellings, seeds, limits)
def test_many_shot_asks_about_each_item_once_and_never_shows_it_to_itself(
    labels: IntArray, seed: int, limit: int | None
) -> None:
    asks = many(labels, seed, limit)
    asked = np.concatenate([ask.items for ask in asks])
    assert sorted(asked.tolist()) == list(range(labels.size))
    for ask in asks:
        assert not np.isin(ask.items, ask.context).any()
        assert abs(ask.items.size - labels.size / 2) <= 0.5


@given(labellings, seeds, limits)
def test_what_is_shown_has_the_label_given_and_is_no_more_than_allowed(
    labels: IntArray, seed: int, limit: int | None
) -> None:
    first, second = many(labels, seed, limit)
    for ask, other in ((first, second), (second, first)):
        assert (ask.labels == labels[ask.context]).all()
        assert (ask.labels != -1).all()
        there = int((labels[other.items] != -1).sum())
        assert ask.context.size == (there if limit is None else min(limit, there))
        assert np.unique(ask.context).size == ask.context.size


@given(labellings, seeds, st.integers(1, 30))
def test_fewer_demonstrations_are_the_first_of_more(
    labels: IntArray, seed: int, limit: int
) -> None:
    for few, more in zip(many(labels, seed, limit), many(labels, seed), strict=True):
        assert (more.context[: few.context.size] == few.context).all()


@given(labellings, seeds)
def test_only_items_that_can_be_measured_are_asked_about(labels: IntArray, seed: int) -> None:
    measured = np.flatnonzero(labels > 0)
    asks = many_shot_asks(labels, np.random.default_rng(seed), None, measured)
    asked = np.concatenate([ask.items for ask in asks])
    assert sorted(asked.tolist()) == measured.tolist()


@given(labellings, seeds, st.integers(1, 30))
def test_few_shot_asks_about_all_that_it_does_not_show(
    labels: IntArray, seed: int, shots: int
) -> None:
    known = np.flatnonzero(labels != -1)
    ask = few_shot_ask(known, labels, shots, np.random.default_rng(seed))
    assert sorted([*ask.context.tolist(), *ask.items.tolist()]) == known.tolist()
    assert ask.context.size == min(shots, known.size)
    everything = np.arange(labels.size)
    wider = few_shot_ask(known, labels, shots, np.random.default_rng(seed), everything)
    assert (wider.context == ask.context).all()
    assert set(wider.items.tolist()) == set(everything.tolist()) - set(ask.context.tolist())
