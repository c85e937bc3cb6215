"""Which surface features alone predict a labelling, and how well.

Whether a feature goes with the labels at all is tested for all features together; how well
it predicts them is measured on items that the prediction was not learnt from. With many
items a feature of no weight is significant, with many features some predict well by luck:
only one that passes both is worth a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from elicit.scorer import FloatArray, IntArray
from elicit.surface import Feature, folds_of

_Rule = Callable[[FloatArray, IntArray, FloatArray], IntArray]
"""Labels of unseen values, from values with their labels."""

PERMUTATIONS = 999
FOLDS = 5
MOST_ITEMS = 2_000
"""Items that are looked at; of more, so many drawn by seed."""
SIGNIFICANT = 0.05
LARGE = 0.5
"""Skill from which a feature predicts the labels too well: for two labels, a balanced accuracy
of 75 %, half way from chance to certainty."""


@dataclass(frozen=True, slots=True)
class Association:
    """A feature that goes with the labels."""

    feature: str
    p_value: float
    """Chance of so strong an association of any of the features, were there none."""
    accuracy: float
    """Balanced accuracy of the feature alone on held-out items, 0 to 1."""
    chance: float
    """Balanced accuracy of guessing, 0 to 1."""
    label: int | None
    """The label that it tells from all others; None where it predicts every label."""
    tells: str
    """Where that label is found, or which label each value goes with."""

    @property
    def skill(self) -> float:
        """Accuracy over chance: 0 for guessing, 1 for certainty."""
        return (self.accuracy - self.chance) / (1 - self.chance)

    @property
    def large(self) -> bool:
        """Whether the labels may be of this feature alone."""
        return self.p_value <= SIGNIFICANT and self.skill >= LARGE


def associations(
    features: Sequence[Feature],
    labels: IntArray,
    label_names: Sequence[str],
    groups: IntArray,
    rng: np.random.Generator,
) -> list[Association]:
    """The features that go with `labels`, (n_items,), beyond chance, the most telling first.

    `groups`, (n_items,), numbers from 0, says which items are not independent: they are held
    out together.
    """
    chosen = np.sort(rng.permutation(labels.size)[:MOST_ITEMS])
    labels, groups = labels[chosen], groups[chosen]
    features = [Feature(f.name, f.values[chosen], f.names) for f in features]
    features = [f for f in features if np.ptp(f.values) > 0]
    if np.ptp(labels) == 0 or not features:
        return []
    fold = folds_of(np.unique(groups, return_inverse=True)[1], FOLDS, rng)
    p_values = adjusted_p_values(features, labels, rng)
    found = [
        _measured(feature, float(p), labels, label_names, fold)
        for feature, p in zip(features, p_values, strict=True)
        if p <= SIGNIFICANT
    ]
    # Stable: of equally telling features the first given comes first.
    return sorted(found, key=lambda a: -a.skill)


def adjusted_p_values(
    features: Sequence[Feature], labels: IntArray, rng: np.random.Generator
) -> FloatArray:
    """For each feature, (n_features,), the chance that any would go so well with the labels if
    none did.

    The statistic of a number is the share of the variance of its ranks that is between the
    labels (Kruskal and Wallis, 1952; for two labels it rises with the distance of the AUROC
    from 1/2), of a categorical feature χ²/n. Its mean and deviation under permuted labels are
    taken off, and the largest over all features is what a feature is compared with (single-
    step maxT: Westfall and Young, "Resampling-Based Multiple Testing", 1993).
    """
    columns = [_columns(feature) for feature in features]
    starts = np.cumsum([0, *(c.shape[1] for c in columns[:-1])])
    matrix = np.concatenate(columns, axis=1)

    def statistics(given: IntArray) -> FloatArray:
        one_hot = (given[:, None] == np.arange(int(labels.max()) + 1)).astype(float)
        counts = np.maximum(one_hot.sum(axis=0), 1)
        sums = (one_hot / np.sqrt(counts * given.size)).T @ matrix
        summed: FloatArray = np.add.reduceat((sums**2).sum(axis=0), starts)
        return summed

    drawn = np.array([statistics(rng.permutation(labels)) for _ in range(PERMUTATIONS)])
    mean, deviation = drawn.mean(axis=0), np.maximum(drawn.std(axis=0), 1e-12)
    largest = ((drawn - mean) / deviation).max(axis=1)
    seen = (statistics(labels) - mean) / deviation
    # A tie in exact terms must not be decided by the last bit.
    beaten = (largest[:, None] >= seen - 1e-9).sum(axis=0)
    adjusted: FloatArray = (1 + beaten) / (1 + PERMUTATIONS)
    return adjusted


def _columns(feature: Feature) -> FloatArray:
    """Columns, (n_items, k), of mean 0 whose squared sums over labels give the statistic."""
    if not feature.names:
        ranks = rankdata(feature.values)
        column: FloatArray = ((ranks - ranks.mean()) / ranks.std())[:, None]
        return column
    one_hot = (feature.values[:, None] == np.unique(feature.values)).astype(float)
    share = one_hot.mean(axis=0)
    centred: FloatArray = (one_hot - share) / np.sqrt(share)
    return centred


def _measured(
    feature: Feature,
    p_value: float,
    labels: IntArray,
    label_names: Sequence[str],
    fold: IntArray,
) -> Association:
    n_labels = len(label_names)
    if feature.names:
        predicted = _held_out(feature.values, labels, fold, _by_value)
        accuracy = balanced_accuracy(predicted, labels)
        chance = 1 / np.unique(labels).size
        tells = _goes_with(feature, labels, label_names)
        return Association(feature.name, p_value, accuracy, chance, None, tells)
    # Of two labels, to tell one is to tell the other.
    candidates = [1] if n_labels == 2 else np.unique(labels).tolist()
    scored = []
    for label in candidates:
        own = (labels == label).astype(np.int64)
        predicted = _held_out(feature.values, own, fold, _by_cut)
        scored.append((balanced_accuracy(predicted, own), label))
    accuracy, label = max(scored)
    cut, above = best_cut(feature.values, (labels == label).astype(np.int64))
    name = label_names[label]
    if set(np.unique(feature.values)) == {0.0, 1.0}:
        tells = f"{name} with it" if above else f"{name} without it"
    else:
        tells = f"{name} {'above' if above else 'below'} {cut:g}"
    return Association(feature.name, p_value, accuracy, 0.5, label, tells)


def balanced_accuracy(predicted: IntArray, labels: IntArray) -> float:
    """Mean over the labels there are of the share of their items that are predicted right."""
    return float(np.mean([(predicted[labels == k] == k).mean() for k in np.unique(labels)]))


def best_cut(values: FloatArray, positive: IntArray) -> tuple[float, bool]:
    """The cut that tells positive items, (n,) of 0 and 1, from the rest with the highest
    balanced accuracy, and whether they are above it. Where nothing can be cut, the value."""
    levels, index = np.unique(values, return_inverse=True)
    if levels.size < 2:
        return float(levels[0]), True
    ones = np.bincount(index, positive).cumsum()[:-1]
    zeros = np.bincount(index, 1 - positive).cumsum()[:-1]
    below = ones / max(1, positive.sum()) - zeros / max(1, (1 - positive).sum())
    at = int(np.abs(below).argmax())
    return float((levels[at] + levels[at + 1]) / 2), bool(below[at] < 0)


def _by_cut(values: FloatArray, labels: IntArray, unseen: FloatArray) -> IntArray:
    cut, above = best_cut(values, labels)
    predicted: IntArray = ((unseen > cut) == above).astype(np.int64)
    return predicted


def _by_value(values: FloatArray, labels: IntArray, unseen: FloatArray) -> IntArray:
    """The label under which a value is likeliest; all labels count alike."""
    table = np.full((int(max(values.max(), unseen.max())) + 1, int(labels.max()) + 1), 0.5)
    np.add.at(table, (values.astype(np.int64), labels), 1)
    chosen: IntArray = (table / table.sum(axis=0)).argmax(axis=1)[unseen.astype(np.int64)]
    return chosen


def _held_out(values: FloatArray, labels: IntArray, fold: IntArray, rule: _Rule) -> IntArray:
    """Labels of all items, each predicted from the other folds."""
    predicted = np.zeros_like(labels)
    for number in np.unique(fold):
        inside = fold == number
        if (~inside).any():
            predicted[inside] = rule(values[~inside], labels[~inside], values[inside])
    return predicted


def _goes_with(feature: Feature, labels: IntArray, label_names: Sequence[str]) -> str:
    chosen = _by_value(feature.values, labels, np.unique(feature.values))
    values = [feature.names[int(v)] or "(empty)" for v in np.unique(feature.values)]
    parts = []
    for label in np.unique(chosen).tolist():
        under = [v for v, k in zip(values, chosen.tolist(), strict=True) if k == label]
        more = f" and {len(under) - 4} more" if len(under) > 4 else ""
        parts.append(f"{label_names[label]} with {', '.join(under[:4])}{more}")
    return "; ".join(parts)
