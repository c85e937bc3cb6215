"""Laws of the mixture over chains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elicit.agreement import permuted, renamed
from elicit.mixture import mixture
from elicit.scorer import FloatArray, IntArray

N_ITEMS, N_LABELS = 30, 3


@dataclass(frozen=True)
class Chains:
    log_probs: list[FloatArray]
    labels: list[IntArray]
    weights: list[float]


def chains_of(seed: int, number: int) -> Chains:
    """Chains that err on some of 30 items, so that one naming of each fits the first best."""
    rng = np.random.default_rng(seed)
    truth = np.arange(N_ITEMS) % N_LABELS
    log_probs, labels = [], []
    for _ in range(number):
        raw = rng.normal(size=(N_ITEMS, N_LABELS)) + 4 * np.eye(N_LABELS)[truth]
        rows = raw - np.logaddexp.reduce(raw, axis=1, keepdims=True)
        log_probs.append(rows)
        labels.append(rows.argmax(axis=1))
    return Chains(log_probs, labels, rng.uniform(0.1, 1, number).tolist())


chains = st.builds(chains_of, st.integers(0, 10_000), st.integers(1, 5))
names = st.permutations(range(N_LABELS)).map(lambda p: np.array(p, np.int64))


def close(one: FloatArray, two: FloatArray) -> None:
    np.testing.assert_allclose(one, two, atol=1e-12)


@given(chains)
def test_one_chain_is_itself(found: Chains) -> None:
    assert (mixture(found.log_probs[:1], found.labels[:1]) == found.log_probs[0]).all()


@given(chains)
def test_rows_stay_normalised(found: Chains) -> None:
    rows = mixture(found.log_probs, found.labels, found.weights)
    close(np.logaddexp.reduce(rows, axis=1), np.zeros(N_ITEMS))


@given(chains, st.data())
def test_the_names_of_other_chains_change_nothing(found: Chains, data: st.DataObject) -> None:
    log_probs, labels = list(found.log_probs), list(found.labels)
    for k in range(1, len(labels)):
        new = data.draw(names)
        log_probs[k], labels[k] = permuted(log_probs[k], new), renamed(labels[k], new)
    expected = mixture(found.log_probs, found.labels, found.weights)
    close(mixture(log_probs, labels, found.weights), expected)


@given(chains, names)
def test_the_names_of_the_first_are_those_of_the_mixture(found: Chains, new: IntArray) -> None:
    log_probs = [permuted(found.log_probs[0], new), *found.log_probs[1:]]
    labels = [renamed(found.labels[0], new), *found.labels[1:]]
    close(mixture(log_probs, labels), permuted(mixture(found.log_probs, found.labels), new))


@given(chains, st.data())
def test_the_order_of_other_chains_changes_nothing(found: Chains, data: st.DataObject) -> None:
    order = [0, *data.draw(st.permutations(range(1, len(found.labels))))]
    shuffled = mixture(
        [found.log_probs[k] for k in order],
        [found.labels[k] for k in order],
        [found.weights[k] for k in order],
    )
    close(shuffled, mixture(found.log_probs, found.labels, found.weights))


@given(chains, st.floats(0.01, 100))
def test_only_the_proportions_of_weights_count(found: Chains, factor: float) -> None:
    scaled = [factor * weight for weight in found.weights]
    expected = mixture(found.log_probs, found.labels, found.weights)
    close(mixture(found.log_probs, found.labels, scaled), expected)


def test_a_chain_of_no_weight_is_not_there() -> None:
    found = chains_of(0, 3)
    without = mixture(found.log_probs[:2], found.labels[:2])
    close(mixture(found.log_probs, found.labels, [1, 1, 0]), without)


def test_probabilities_are_averaged_not_their_logs() -> None:
    rows = [np.log([[0.9, 0.1]]), np.log([[0.5, 0.5]])]
    labels = [np.array([0]), np.array([0])]
    assert np.exp(mixture(rows, labels))[0, 0] == pytest.approx(0.7)
    assert np.exp(mixture(rows, labels, [3, 1]))[0, 0] == pytest.approx(0.8)


def test_impossible_labels_stay_impossible() -> None:
    row = np.array([[0.0, -np.inf]])
    assert mixture([row, row], [np.array([0])] * 2).tolist() == [[0.0, -np.inf]]


@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, -1.0]])
def test_weights_that_make_no_mean_are_refused(weights: list[float]) -> None:
    found = chains_of(0, 2)
    with pytest.raises(ValueError, match="weights"):
        mixture(found.log_probs, found.labels, weights)
    with pytest.raises(ValueError, match="a chain at least"):
        mixture([], [])
