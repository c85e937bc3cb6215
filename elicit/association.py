"""Which surface features alone predict a labelling, and how well.

Whether a feature goes with the labels at all is tested for all features together; how well
it predicts them is measured on items that the prediction was not learnt from. With many
items a feature of no weight is significant, with many features some predict well by luck:
only one that passes both is worth a warning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

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
class Ties:
    """Which items are not independent. Both are numbers from 0, (n_items,)."""

    groups: IntArray
    """Equal for items that are tied in any way."""
    alike: IntArray
    """Equal for items of a group that can't but have the same label."""

    @classmethod
    def none(cls, n_items: int) -> Ties:
        """Every item stands alone."""
        return cls(np.arange(n_items), np.arange(n_items))

    def of(self, items: IntArray) -> Ties:
        """Among some of the items only."""
        return Ties(self.groups[items], self.alike[items])


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
    shown: bool = True
    """Whether the model sees the feature."""

    @property
    def skill(self) -> float:
        """Accuracy over chance: 0 for guessing, 1 for certainty."""
        return (self.accuracy - self.chance) / (1 - self.chance)

    @property
    def large(self) -> bool:
        """Whether it predicts the labels so well that they may be of it alone."""
        return self.p_value <= SIGNIFICANT and self.skill >= LARGE


def associations(
    features: Sequence[Feature],
    labels: IntArray,
    label_names: Sequence[str],
    ties: Ties,
    rng: np.random.Generator,
) -> list[Association]:
    """The features that go with `labels`, (n_items,), beyond chance, the most telling first.

    Items of one group are held out together; see `shuffled` for how the groups are tested.
    """
    chosen = np.sort(rng.permutation(labels.size)[:MOST_ITEMS])
    labels, ties = labels[chosen], ties.of(chosen)
    features = [replace(f, values=f.values[chosen]) for f in features]
    features = [f for f in features if np.ptp(f.values) > 0]
    if np.ptp(labels) == 0 or not features:
        return []
    fold = folds_of(np.unique(ties.groups, return_inverse=True)[1], FOLDS, rng)
    p_values = adjusted_p_values(features, labels, ties, rng)
    found = [
        _measured(feature, float(p), labels, label_names, fold)
        for feature, p in zip(features, p_values, strict=True)
        if p <= SIGNIFICANT
    ]
    # Stable: of equally telling features the first given comes first.
    return sorted(found, key=lambda a: -a.skill)


def adjusted_p_values(
    features: Sequence[Feature], labels: IntArray, ties: Ties, rng: np.random.Generator
) -> FloatArray:
    """For each feature, (n_features,), the chance that any would go so well with the labels if
    none did; 1 where there are too few groups to tell.

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

    draw = shuffled(labels, ties, rng)
    # The labels as they are count as one draw: else the few that can be drawn look too alike.
    drawn = np.array([statistics(labels), *(statistics(draw()) for _ in range(PERMUTATIONS))])
    deviation = drawn.std(axis=0)
    # What no permutation changes says nothing, whatever its last bits.
    deviation[deviation < 1e-9] = np.inf
    standard = (drawn - drawn.mean(axis=0)) / deviation
    # A tie in exact terms must not be decided by the last bit.
    beaten = (standard.max(axis=1)[:, None] >= standard[0] - 1e-6).sum(axis=0)
    adjusted: FloatArray = beaten / (1 + PERMUTATIONS)
    return adjusted


def shuffled(labels: IntArray, ties: Ties, rng: np.random.Generator) -> Callable[[], IntArray]:
    """Draws of the labels, (n_items,), as likely as they are if they go with no feature.

    Where every group has one label only, the labels of the groups are permuted: so many groups
    are so many cases, however many items they have. Else labels are permuted among the groups
    that are built alike, among the parts of a group that have the same size, and within the
    parts, each draw of such being as likely as the others. The law for either is exchange-
    ability: of groups, of parts within a group, of items within a part (block permutations:
    Winkler et al., "Multi-level block permutation", NeuroImage 2015).
    """
    first, group = np.unique(ties.groups, return_index=True, return_inverse=True)[1:]
    if (labels[first][group] == labels).all():
        return lambda: rng.permutation(labels[first])[group]
    part = np.unique(np.stack([group, ties.alike]), axis=1, return_inverse=True)[1].ravel()
    size = np.bincount(part)[part]
    build = _builds(group, size)[group]
    places = np.lexsort((part, size, group, build))

    def draw() -> IntArray:
        of_item, of_part = rng.random(labels.size), rng.random(int(part.max()) + 1)
        of_group = rng.random(first.size)
        order = np.lexsort((of_item, of_part[part], size, of_group[group], build))
        drawn = np.empty_like(labels)
        drawn[places] = labels[order]
        return drawn

    return draw


def _builds(group: IntArray, size: IntArray) -> IntArray:
    """For each group, (n_groups,), a number that groups with parts of the same sizes share."""
    sizes: dict[int, list[int]] = {}
    for number, own in zip(group.tolist(), size.tolist(), strict=True):
        sizes.setdefault(number, []).append(own)
    builds: dict[tuple[int, ...], int] = {}
    numbers = [
        builds.setdefault(tuple(sorted(sizes[number])), len(builds)) for number in sorted(sizes)
    ]
    return np.array(numbers, np.int64)


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
        predicted = _held_out(feature.values, labels, fold, by_value)
        accuracy = balanced_accuracy(predicted, labels)
        chance = 1 / np.unique(labels).size
        tells = _goes_with(feature, labels, label_names)
        return Association(feature.name, p_value, accuracy, chance, None, tells, feature.shown)
    # Of two labels, to tell one is to tell the other.
    candidates = [1] if n_labels == 2 else np.unique(labels).tolist()
    scored = []
    for label in candidates:
        own = (labels == label).astype(np.int64)
        predicted = _held_out(feature.values, own, fold, _by_cut)
        scored.append((balanced_accuracy(predicted, own), label))
    accuracy, label = max(scored)
    where = _side(feature, *best_cut(feature.values, (labels == label).astype(np.int64)))
    tells = f"{label_names[label]} {where}"
    return Association(feature.name, p_value, accuracy, 0.5, label, tells, feature.shown)


def _side(feature: Feature, cut: float, above: bool) -> str:
    if not feature.levels:
        if set(np.unique(feature.values)) == {0.0, 1.0}:
            return "with it" if above else "without it"
        return f"{'above' if above else 'below'} {cut:g}"
    last = feature.levels[math.floor(cut)] if above else feature.levels[math.ceil(cut)]
    # A float can't hold every whole number.
    told = f"{last:g}" if isinstance(last, float) else f"{Decimal(last):.9g}"
    return f"{'above' if above else 'below'} {told}"


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


def by_value(values: FloatArray, labels: IntArray, unseen: FloatArray) -> IntArray:
    """The label under which a value is likeliest; all labels that there are count alike."""
    present, column = np.unique(labels, return_inverse=True)
    table = np.full((int(max(values.max(), unseen.max())) + 1, present.size), 0.5)
    np.add.at(table, (values.astype(np.int64), column), 1)
    likeliest = (table / table.sum(axis=0)).argmax(axis=1)[unseen.astype(np.int64)]
    chosen: IntArray = present[likeliest]
    return chosen


def _held_out(values: FloatArray, labels: IntArray, fold: IntArray, rule: _Rule) -> IntArray:
    """Labels of all items, each predicted from the other folds."""
    predicted = np.full_like(labels, labels.min())
    for number in np.unique(fold):
        inside = fold == number
        if (~inside).any():
            predicted[inside] = rule(values[~inside], labels[~inside], values[inside])
    return predicted


def _goes_with(feature: Feature, labels: IntArray, label_names: Sequence[str]) -> str:
    chosen = by_value(feature.values, labels, np.unique(feature.values))
    values = [feature.names[int(v)] or "(empty)" for v in np.unique(feature.values)]
    parts = []
    for label in np.unique(chosen).tolist():
        under = [v for v, k in zip(values, chosen.tolist(), strict=True) if k == label]
        more = f" and {len(under) - 4} more" if len(under) > 4 else ""
        parts.append(f"{label_names[label]} with {', '.join(under[:4])}{more}")
    return "; ".join(parts)
