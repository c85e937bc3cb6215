"""Agreement of labellings: by names, up to names, and less what chance gives."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from elicit.agreement import (
    adjusted_rand,
    agreement,
    agreement_up_to_names,
    best_permutation,
    mean_adjusted_rand,
    mean_agreement,
    mean_agreement_up_to_names,
    permuted,
    renamed,
)
from elicit.scorer import IntArray

N_LABELS = 4


def of(*labels: int) -> IntArray:
    return np.array(labels, np.int64)


def labelings(n: int, least: int = -1) -> st.SearchStrategy[IntArray]:
    return arrays(np.int64, n, elements=st.integers(least, N_LABELS - 1))


pairs = st.integers(1, 12).flatmap(lambda n: st.tuples(labelings(n), labelings(n)))
names = st.permutations(range(N_LABELS)).map(lambda p: of(*p))


@given(pairs)
def test_the_best_permutation_is_that_of_brute_force(pair: tuple[IntArray, IntArray]) -> None:
    a, b = pair
    both = (a != -1) & (b != -1)
    found = best_permutation(a, b, N_LABELS)
    assert sorted(found.tolist()) == list(range(N_LABELS))

    def worth(p: tuple[int, ...]) -> tuple[int, int]:
        kept = sum(k == name for k, name in enumerate(p))
        return int((of(*p)[a[both]] == b[both]).sum()), kept

    assert worth(tuple(found.tolist())) == max(map(worth, permutations(range(N_LABELS))))


@given(labelings(12), names)
def test_a_renamed_labelling_agrees_fully_up_to_names(labels: IntArray, new: IntArray) -> None:
    other = renamed(labels, new)
    if (labels != -1).any():
        assert agreement_up_to_names(labels, other, N_LABELS) == 1
        assert adjusted_rand(labels, other) == 1
    assert ((labels == -1) == (other == -1)).all()


@given(pairs)
def test_agreement_is_symmetric_and_never_more_than_up_to_names(
    pair: tuple[IntArray, IntArray],
) -> None:
    a, b = pair
    by_names, up_to = agreement(a, b), agreement_up_to_names(a, b, N_LABELS)
    assert by_names == agreement(b, a)
    assert adjusted_rand(a, b) == pytest.approx(adjusted_rand(b, a))
    if by_names is None or up_to is None:
        assert by_names is up_to is adjusted_rand(a, b) is None
    else:
        assert by_names <= up_to <= 1
        assert up_to == agreement_up_to_names(b, a, N_LABELS)
        assert up_to >= 1 / N_LABELS


@given(pairs, names, names)
def test_names_do_not_matter_to_the_adjusted_rand_index(
    pair: tuple[IntArray, IntArray], one: IntArray, two: IntArray
) -> None:
    a, b = pair
    found = adjusted_rand(a, b)
    assert adjusted_rand(renamed(a, one), renamed(b, two)) == found
    assert found is None or -1 <= found <= 1


def test_the_adjusted_rand_index_of_a_table_worked_by_hand() -> None:
    # Of 15 pairs 6 are together in a, 6 in b, 2 in both: 6 * 6 / 15 = 2.4 are expected there.
    a, b = of(0, 0, 0, 1, 1, 1), of(0, 0, 1, 1, 0, 1)
    assert adjusted_rand(a, b) == pytest.approx((2 - 2.4) / (6 - 2.4))


def test_unrelated_splits_agree_by_chance_alone() -> None:
    rng = np.random.default_rng(0)
    found = mean_adjusted_rand([(rng.random(200) < 0.9).astype(np.int64) for _ in range(40)])
    assert found == pytest.approx(0, abs=0.01)


def test_one_label_only_and_single_items_give_no_nan() -> None:
    one, split = np.zeros(6, np.int64), of(0, 1, 0, 1, 0, 1)
    assert (agreement(one, one), adjusted_rand(one, one)) == (1, 1)
    assert (agreement_up_to_names(one, split, 2), adjusted_rand(one, split)) == (0.5, 0)
    assert adjusted_rand(of(0), of(1)) == 1
    assert adjusted_rand(of(0, 1, 2), of(2, 0, 1)) == 1


def test_ties_keep_names() -> None:
    assert best_permutation(of(0, 1), of(1, 1), 2).tolist() == [0, 1]
    assert best_permutation(of(), of(), 3).tolist() == [0, 1, 2]
    assert best_permutation(of(1, 1, -1, 0), of(2, 2, 2, 0), 3).tolist() == [0, 2, 1]


def test_abstained_items_are_left_out_and_may_leave_nothing() -> None:
    assert agreement(of(0, -1, 1), of(0, 1, -1)) == 1
    assert agreement(of(0, -1), of(-1, 0)) is None
    assert agreement_up_to_names(of(0, -1), of(-1, 0), 2) is None


def test_means_are_over_the_pairs_that_share_an_item() -> None:
    a, b, c = of(0, 0, 1, 1), of(1, 1, 0, 0), of(0, 0, 0, 1)
    assert mean_agreement([a, b, c]) == pytest.approx((0 + 0.75 + 0.25) / 3)
    assert mean_agreement_up_to_names([a, b, c], 2) == pytest.approx((1 + 0.75 + 0.75) / 3)
    assert mean_agreement([a, a, of(-1, -1, -1, -1)]) == 1
    assert mean_agreement([a]) is mean_agreement_up_to_names([a], 2) is None
    assert mean_adjusted_rand([]) is None


def test_columns_follow_their_labels() -> None:
    rows, new = np.array([[0.1, 0.2, 0.3]]), of(2, 0, 1)
    for label in range(3):
        assert permuted(rows, new)[0, new[label]] == rows[0, label]
