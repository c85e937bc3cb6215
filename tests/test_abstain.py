"""Abstention: who is left out, and how many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from elicit.abstain import abstain
from elicit.cache.errors import InputError
from elicit.scorer import FloatArray, IntArray

labelled = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        arrays(float, n, elements=st.sampled_from([-2.0, 0.0, 0.5, 3.0, np.inf])),
        arrays(np.int64, n, elements=st.integers(-1, 2)),
    )
)
shares = st.floats(0, 0.99)


@given(labelled)
def test_a_share_of_zero_changes_nothing(found: tuple[FloatArray, IntArray]) -> None:
    odds, labels = found
    assert (abstain(odds, labels, 0) == labels).all()


@given(labelled, shares)
def test_the_surer_stay_and_their_labels_with_them(
    found: tuple[FloatArray, IntArray], share: float
) -> None:
    odds, labels = found
    left = abstain(odds, labels, share)
    kept = left != -1
    assert (left[kept] == labels[kept]).all()
    out = ~kept & (labels != -1)
    if out.any() and kept.any():
        assert odds[out].max() <= odds[kept].min()
    assert (~kept).sum() == max((labels == -1).sum(), int(share * labels.size + 1e-9))


@given(labelled, shares)
def test_abstaining_twice_is_abstaining_once(
    found: tuple[FloatArray, IntArray], share: float
) -> None:
    odds, labels = found
    once = abstain(odds, labels, share)
    assert (abstain(odds, once, share) == once).all()


@given(labelled, shares, shares)
def test_a_larger_share_leaves_out_the_same_items_and_more(
    found: tuple[FloatArray, IntArray], one: float, two: float
) -> None:
    odds, labels = found
    few, many = (abstain(odds, labels, share) for share in sorted((one, two)))
    assert (many[few == -1] == -1).all()


def test_of_equally_certain_items_the_first_are_left_out() -> None:
    labels = np.array([0, 1, 0, 1])
    assert abstain(np.ones(4), labels, 0.5).tolist() == [-1, -1, 0, 1]
    assert labels.tolist() == [0, 1, 0, 1]
    many = abstain(np.tile([1.0, 2.0], 200), np.zeros(400, np.int64), 0.25)
    assert np.flatnonzero(many == -1).tolist() == list(range(0, 200, 2))


def test_whole_items_are_counted_as_written_in_decimals() -> None:
    assert (abstain(np.arange(100.0), np.zeros(100, np.int64), 0.29) == -1).sum() == 29
    assert (abstain(np.arange(5.0), np.zeros(5, np.int64), 0.39) == -1).sum() == 1


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_leaves_nothing_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="from 0 to below 1"):
        abstain(np.zeros(2), np.zeros(2, np.int64), share)
