"""Evaluation: figures worked out by hand, and intervals that cover what they claim to."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from elicit import evaluate as module
from elicit.cache.errors import InputError
from elicit.evaluate import cluster_interval, evaluate, over_seeds
from elicit.evaluation import Evaluation
from elicit.scorer import FloatArray, IntArray

N_LABELS = 3


def normalised(raw: FloatArray) -> FloatArray:
    rows: FloatArray = raw - np.logaddexp.reduce(raw, axis=1, keepdims=True)
    return rows


def case(seed: int, n: int, n_labels: int = N_LABELS) -> tuple[IntArray, FloatArray, IntArray]:
    """Labels, log-probabilities and gold of n items, some without gold. Some labels are
    abstained from, and some not the likeliest, as constraints may want it."""
    rng = np.random.default_rng(seed)
    gold = rng.integers(-1, n_labels, n)
    log_probs = normalised(rng.normal(size=(n, n_labels)) + np.eye(n_labels)[gold])
    likeliest, drawn = log_probs.argmax(axis=1), rng.integers(-1, n_labels, n)
    labels = np.where(rng.random(n) < 0.4, drawn, likeliest)
    labels[0], gold[0] = 0, max(gold[0], 0)
    return labels, log_probs, gold


cases = st.builds(case, st.integers(0, 10_000), st.integers(1, 60))


def evaluated(labels: IntArray, log_probs: FloatArray, gold: IntArray) -> Evaluation:
    return evaluate(labels, None, gold, list(range(labels.size)), log_probs)


def assert_same(one: Evaluation, two: Evaluation) -> None:
    """But for the bootstrap's draws, which go by the order of groups."""

    def flat(value: object) -> list[object]:
        if isinstance(value, dict):
            value = [x for k, x in value.items() if k not in {"low", "high", "labels"}]
        return [y for x in value for y in flat(x)] if isinstance(value, list) else [value]

    first, second = (flat(json.loads(json.dumps(e.as_dict()))) for e in (one, two))
    assert first == pytest.approx(second)


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


def test_groups_that_are_all_equally_right_are_not_certainty() -> None:
    found = cluster_interval(np.array([1.0, 0.0, 0.0] * 10), [i // 3 for i in range(30)])
    assert found.value == pytest.approx(1 / 3)
    assert 0.1 < found.low < 0.2
    assert 0.5 < found.high < 0.7


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


def test_seeds_that_all_gave_the_same_are_told_so_and_not_as_an_interval() -> None:
    assert over_seeds([0.25] * 5).percent() == "25.0 % (all 5 alike)"
    assert over_seeds([0.25] * 4 + [0.5]).percent() == "30.0 % (16.1 to 43.9)"


def test_balanced_accuracy_and_each_label_of_an_imbalanced_case() -> None:
    gold = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, -1])
    labels = np.array([0, 0, 0, 0, 0, 1, 1, -1, 0, 2])
    found = evaluate(labels, None, gold, list(range(10)), n_labels=4)
    assert found.accuracy.value == pytest.approx(6 / 8)
    assert found.balanced_accuracy == pytest.approx((5 / 6 + 1 + 0) / 3)
    assert found.majority == pytest.approx(6 / 9)
    assert found.answered == pytest.approx(8 / 9)
    first, second, third, fourth = found.labels
    assert (first.precision, first.recall) == pytest.approx((5 / 6, 5 / 6))
    assert (second.precision, second.recall) == pytest.approx((1 / 2, 1))
    assert (third.precision, third.recall) == (None, 0)
    assert (fourth.precision, fourth.recall) == (None, None)
    assert first.gold_share == pytest.approx(6 / 9)
    assert first.given_share == pytest.approx(6 / 8)
    assert fourth.gold_share == fourth.given_share == 0


@given(cases)
def test_shares_and_recalls_put_together_give_the_whole(
    found: tuple[IntArray, FloatArray, IntArray],
) -> None:
    result = evaluated(*found)
    assert sum(m.gold_share for m in result.labels) == pytest.approx(1)
    assert sum(m.given_share for m in result.labels) == pytest.approx(1)
    right = sum(m.given_share * (m.precision or 0) for m in result.labels)
    assert right == pytest.approx(result.accuracy.value)
    last = result.risk_coverage[-1]
    assert (last.x, 1 - last.y) == pytest.approx((result.answered, result.accuracy.value))
    assert sum(p.n for p in result.calibration) == result.accuracy.n


@given(cases, st.permutations(range(N_LABELS)))
def test_names_of_labels_do_not_matter(
    found: tuple[IntArray, FloatArray, IntArray], names: list[int]
) -> None:
    labels, log_probs, gold = found
    new = np.array([*names, -1])
    swapped = np.empty_like(log_probs)
    swapped[:, names] = log_probs
    assert_same(evaluated(new[labels], swapped, new[gold]), evaluated(*found))


@given(cases, st.randoms(use_true_random=False))
def test_the_order_of_items_does_not_matter_even_among_equally_sure_ones(
    found: tuple[IntArray, FloatArray, IntArray], random: Random
) -> None:
    labels, log_probs, gold = found
    coarse = normalised(log_probs.round())
    order = random.sample(range(labels.size), labels.size)
    assert_same(
        evaluated(labels[order], coarse[order], gold[order]), evaluated(labels, coarse, gold)
    )


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_two_labels_measure_the_same_from_log_odds_and_from_log_probs(
    seed: int, n: int
) -> None:
    labels, log_probs, gold = case(seed, n, 2)
    odds = (log_probs[:, 1] - log_probs[:, 0]) * np.where(labels == 1, 1, -1)
    told = evaluate(labels, odds, gold, list(range(n)))
    full = evaluated(labels, log_probs, gold)
    assert_same(replace(full, brier=None, log_score=None), told)


def test_more_than_two_labels_need_log_probs_for_auroc_and_calibration() -> None:
    labels, log_probs, gold = case(0, 50)
    odds = np.linspace(0, 3, 50)
    without = evaluate(labels, odds, gold, list(range(50)))
    assert without.auroc is without.calibration_error is without.brier is None
    assert without.calibration == ()
    assert without.aurc is not None
    two_seen = evaluate(np.zeros(2, np.int64), odds[:2], np.array([0, 1]), [0, 1], n_labels=3)
    assert two_seen.auroc is None
    found = evaluated(labels, log_probs, gold)
    both = (labels >= 0) & (gold >= 0)
    areas = []
    for k in range(3):
        own, other = (log_probs[both & side, k] for side in (gold == k, gold != k))
        areas.append(stats.mannwhitneyu(own, other).statistic / own.size / other.size)
    assert found.auroc == pytest.approx(np.mean(areas))


def test_the_confidence_is_that_of_the_label_given_be_it_the_likeliest_or_not() -> None:
    rows = np.log([[0.5, 0.3, 0.2]])
    (point,) = evaluated(np.array([2]), rows, np.array([0])).calibration
    assert (point.x, point.y) == pytest.approx((0.2, 0))


def test_very_sure_items_are_still_told_apart() -> None:
    raw = np.array([[0.0, 800.0], [0.0, 700.0], [0.0, 600.0], [0.0, 500.0]])
    found = evaluated(np.ones(4, np.int64), normalised(raw), np.array([1, 1, 0, 0]))
    assert found.auroc == 1
    assert [p.y for p in found.risk_coverage] == pytest.approx([0, 0, 1 / 3, 1 / 2])


def test_all_right() -> None:
    labels = np.array([0, 1, 0, 1])
    found = evaluate(labels, np.array([1.0, 2.0, 3.0, 4.0]), labels, list("abcd"))
    assert (found.accuracy.value, found.balanced_accuracy, found.aurc) == (1, 1, 0)
    assert 0.5 < found.accuracy.low < 0.6
    assert {e.value for e in found.at_coverage.values()} == {1.0}


def test_all_wrong() -> None:
    gold = np.array([0, 1, 0, 1])
    found = evaluate(1 - gold, np.ones(4), gold, list("abcd"))
    assert (found.accuracy.value, found.balanced_accuracy, found.aurc) == (0, 0, 1)
    assert found.accuracy.low == 0
    assert found.accuracy.high > 0.4


def test_one_item() -> None:
    found = evaluate(np.array([1]), np.array([2.0]), np.array([1]), ["a"])
    assert found.accuracy.value == found.balanced_accuracy == found.majority == 1
    assert found.auroc is None
    assert [e.n for e in found.at_coverage.values()] == [1, 1, 1]
    json.dumps(found.as_dict(), allow_nan=False)


def test_one_label_only_in_gold() -> None:
    labels, log_probs, _ = case(1, 30)
    found = evaluated(labels, log_probs, np.full(30, 2))
    assert found.majority == 1
    assert found.auroc is None
    assert found.balanced_accuracy == found.accuracy.value == found.labels[2].recall


def test_all_abstained_is_an_error_that_says_so() -> None:
    with pytest.raises(InputError, match="abstained"):
        evaluate(np.full(3, -1), np.ones(3), np.array([0, 1, 1]), list("abc"))


def test_coverage_is_of_the_items_with_gold_and_what_was_abstained_from_is_missing() -> None:
    gold = np.array([1] * 9 + [0] + [-1])
    labels = np.array([-1] + [1] * 9 + [1])
    found = evaluate(labels, np.arange(11.0), gold, list(range(11)))
    assert found.answered == 0.9
    assert {k: e.n for k, e in found.at_coverage.items()} == {"0.5": 5, "0.8": 8, "0.9": 9}
    values = [e.value for e in found.at_coverage.values()]
    assert values == pytest.approx([4 / 5, 7 / 8, 8 / 9])
    labels[1] = -1
    assert "0.9" not in evaluate(labels, np.arange(11.0), gold, list(range(11))).at_coverage


def test_accuracy_at_coverage_counts_equally_sure_items_in_part() -> None:
    gold = np.array([1, 0] * 20)
    found = evaluate(np.ones(40, np.int64), np.ones(40), gold, list(range(40)))
    assert {e.value for e in found.at_coverage.values()} == {0.5}
    assert [e.n for e in found.at_coverage.values()] == [20, 32, 36]


def test_a_gold_label_of_no_probability_is_a_log_score_json_has_no_word_for() -> None:
    rows = np.array([[0.0, -np.inf], [-np.inf, 0.0]])
    found = evaluated(np.array([0, 1]), rows, np.array([1, 1]))
    assert found.log_score == -np.inf
    assert found.brier == pytest.approx(1)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["log_score"] is None


def test_values_that_vary_in_one_group_only_have_no_interval() -> None:
    found = cluster_interval(np.array([1.0, 0.0, 1.0]), ["g", "g", "g"])
    assert (found.low, found.high) == (0, 1)


@given(arrays(float, st.integers(1, 30), elements=st.sampled_from([0.0, 1.0])))
def test_weights_of_one_are_no_weights(correct: FloatArray) -> None:
    groups = [k // 3 for k in range(correct.size)]
    plain = cluster_interval(correct, groups)
    assert cluster_interval(correct, groups, weights=np.ones(correct.size)) == plain
    assert plain.low <= plain.value <= plain.high


def test_draws_in_parts_are_the_draws_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    correct, groups = np.array([1.0, 0.0, 1.0, 1.0, 0.0]), list("abcde")
    whole = cluster_interval(correct, groups)
    monkeypatch.setattr(module, "DRAWN_AT_ONCE", 35)
    assert cluster_interval(correct, groups) == whole
