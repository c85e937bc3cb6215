"""Evaluation: figures worked out by hand, and intervals that cover what they claim to."""

from __future__ import annotations

import numpy as np
import pytest

from elicit.cache.errors import InputError
from elicit.evaluate import cluster_interval, evaluate, over_seeds


def test_figures_of_a_small_case() -> None:
    labels = np.array([1, 1, 0, 0, -1])
    gold = np.array([1, 0, 0, -1, 1])
    odds = np.array([2.0, 0.5, 1.0, 3.0, 0.0])
    found = evaluate(labels, odds, gold, ["a", "b", "c", "d", "e"])
    assert found.accuracy.value == pytest.approx(2 / 3)
    assert found.accuracy.n == 3
    assert found.answered == pytest.approx(3 / 4)
    assert found.majority == pytest.approx(1 / 2)
    assert found.auroc == pytest.approx(1.0)


def test_auroc_is_none_where_it_has_no_meaning() -> None:
    one = np.array([1, 1])
    assert evaluate(one, np.zeros(2), one, ["a", "b"]).auroc is None
    assert evaluate(one, None, np.array([0, 1]), ["a", "b"]).auroc is None


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(InputError, match="no item has both"):
        evaluate(np.array([-1]), None, np.array([1]), ["a"])


def test_perfect_calibration_has_no_error() -> None:
    rng = np.random.default_rng(0)
    odds = rng.uniform(0, 4, 20_000)
    right = rng.random(20_000) < 1 / (1 + np.exp(-odds))
    gold = np.where(right, 1, 0)
    found = evaluate(np.ones(20_000, np.int64), odds, gold, list(range(20_000)))
    assert found.calibration_error is not None
    assert found.calibration_error < 0.02


def test_items_of_one_group_do_not_count_as_many() -> None:
    correct = np.repeat(np.array([1.0, 0.0] * 10), 10)
    alone = cluster_interval(correct, list(range(200)))
    grouped = cluster_interval(correct, [i // 10 for i in range(200)])
    assert alone.value == grouped.value == 0.5
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_no_variation_is_not_certainty() -> None:
    found = cluster_interval(np.ones(40), [i // 4 for i in range(40)])
    assert found.value == 1
    assert 0.6 < found.low < 0.8


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(200):
        correct = (rng.random(100) < 0.8).astype(float)
        found = cluster_interval(correct, list(range(100)), seed=seed)
        hits += found.low <= 0.8 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_seeds_have_a_t_interval_and_one_seed_has_none() -> None:
    found = over_seeds([0.4, 0.5, 0.6])
    assert found.value == pytest.approx(0.5)
    assert found.low == pytest.approx(0.5 - 4.303 * 0.1 / np.sqrt(3), abs=1e-3)
    assert (over_seeds([0.7]).low, over_seeds([0.7]).high) == (0.0, 1.0)
