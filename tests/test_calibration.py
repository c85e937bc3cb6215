"""Calibration and risk-coverage: small cases by hand, references, and laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from elicit.calibration import (
    BINS,
    MOST_POINTS,
    area_under_risk_coverage,
    brier,
    calibration_curve,
    calibration_error,
    log_score,
    odds_against_rest,
    risk_coverage,
    surest,
    wilson,
)
from elicit.scorer import FloatArray

answers = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        arrays(float, n, elements=st.floats(-50, 50).map(lambda x: round(x, 1))),
        arrays(float, n, elements=st.sampled_from([0.0, 1.0])),
    )
)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(trial: tuple[int, int]) -> None:
    right, n = trial
    exact = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((exact.low, exact.high), abs=1e-12)


@given(answers)
def test_bins_hold_every_item_once_and_rise(found: tuple[FloatArray, FloatArray]) -> None:
    certainty, correct = found
    curve = calibration_curve(certainty, correct)
    assert sum(p.n for p in curve) == certainty.size
    assert sum(p.n * p.y for p in curve) == pytest.approx(correct.sum())
    assert [p.x for p in curve] == sorted(p.x for p in curve)
    assert len(curve) <= min(BINS, np.unique(certainty).size)
    assert all(0 <= p.low <= p.y <= p.high <= 1 for p in curve)
    assert 0 <= calibration_error(curve) <= 1


@given(st.integers(1, 200))
def test_bins_of_distinct_confidences_are_equally_filled(n: int) -> None:
    sizes = [p.n for p in calibration_curve(np.arange(n) / 100, np.ones(n))]
    assert len(sizes) == min(n, BINS)
    assert max(sizes) - min(sizes) <= 1


def test_equal_confidences_make_one_bin_whatever_their_order() -> None:
    sure = np.full(100, np.log(0.75 / 0.25))
    (point,) = calibration_curve(sure, np.repeat([1.0, 0.0], [75, 25]))
    assert (point.x, point.y, point.n) == pytest.approx((0.75, 0.75, 100))


def test_calibration_error_by_hand() -> None:
    certainty = np.log([0.9 / 0.1, 0.6 / 0.4])
    curve = calibration_curve(certainty, np.array([1.0, 0.0]))
    assert calibration_error(curve) == pytest.approx((0.1 + 0.6) / 2)


@given(answers)
def test_the_curve_is_the_error_of_those_at_least_as_sure(
    found: tuple[FloatArray, FloatArray],
) -> None:
    certainty, correct = found
    curve = risk_coverage(certainty, correct, certainty.size)
    levels = np.unique(certainty)[::-1]
    assert len(curve) == levels.size
    for point, level in zip(curve, levels, strict=True):
        among = certainty >= level
        assert point.n == among.sum()
        assert point.x == pytest.approx(among.mean())
        assert point.y == pytest.approx(1 - correct[among].mean())
    area = np.mean([1 - correct[certainty >= c].mean() for c in certainty])
    assert area_under_risk_coverage(certainty, correct) == pytest.approx(area)


@given(st.integers(1, 400))
def test_points_are_thinned_and_both_ends_stay(n: int) -> None:
    rng = np.random.default_rng(n)
    certainty, correct = rng.permutation(n).astype(float), (rng.random(n) < 0.7).astype(float)
    curve = risk_coverage(certainty, correct, 2 * n)
    assert len(curve) == min(n, MOST_POINTS)
    assert (curve[0].n, curve[-1].n) == (1, n)
    assert curve[-1].x == 0.5
    assert curve[-1].y == pytest.approx(1 - correct.mean())


def test_an_order_that_knows_what_is_wrong_has_the_smallest_area() -> None:
    correct = np.array([1.0, 1.0, 0.0, 0.0])
    best = area_under_risk_coverage(np.array([4.0, 3.0, 2.0, 1.0]), correct)
    worst = area_under_risk_coverage(np.array([1.0, 2.0, 3.0, 4.0]), correct)
    none = area_under_risk_coverage(np.ones(4), correct)
    assert best == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert worst == pytest.approx((1 + 1 + 2 / 3 + 1 / 2) / 4)
    assert none == 0.5


@given(answers, st.data())
def test_the_surest_are_as_many_as_asked_and_no_surer_one_is_left(
    found: tuple[FloatArray, FloatArray], data: st.DataObject
) -> None:
    certainty, _ = found
    count = data.draw(st.integers(1, certainty.size))
    weights = surest(certainty, count)
    assert weights.sum() == pytest.approx(count)
    assert ((weights >= 0) & (weights <= 1)).all()
    border = certainty[weights > 0].min()
    assert (weights[certainty > border] == 1).all()
    assert np.unique(weights[certainty == border]).size == 1


def test_odds_against_the_rest() -> None:
    odds = odds_against_rest(np.log([[0.5, 0.3, 0.2]]))
    np.testing.assert_allclose(odds, np.log([[0.5 / 0.5, 0.3 / 0.7, 0.2 / 0.8]]))
    assert odds_against_rest(np.array([[0.0, -np.inf]])).tolist() == [[np.inf, -np.inf]]


def test_scores_of_probabilities_by_hand() -> None:
    rows, gold = np.log([[0.8, 0.2], [0.5, 0.5]]), np.array([0, 1])
    assert brier(rows, gold) == pytest.approx((0.04 + 0.04 + 0.25 + 0.25) / 2)
    assert log_score(rows, gold) == pytest.approx((np.log(0.8) + np.log(0.5)) / 2)


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_no_other_probabilities_score_better_than_the_true_ones(p: float, q: float) -> None:
    def expected(told: float) -> tuple[float, float]:
        rows = np.log([[1 - told, told]])
        one, two = np.array([1]), np.array([0])
        return (
            p * log_score(rows, one) + (1 - p) * log_score(rows, two),
            -p * brier(rows, one) - (1 - p) * brier(rows, two),
        )

    for best, other in zip(expected(p), expected(q), strict=True):
        assert best >= other - 1e-12
