"""Labels that nobody found, permuted, random or all alike, scored as found ones are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from elicit.constraints import UNLABELLED
from elicit.outcome import Chain
from elicit.predictability import Labelling
from elicit.providers.usage import Meter
from elicit.repair import repair
from elicit.run import pool_of
from elicit.salience import Comparison
from elicit.scorer import IntArray, Scorer
from elicit.search.problem import Problem, together
from elicit.settings import RunSettings
from elicit.task import Task

COMPARED_ITEMS = 256
"""Items, drawn by seed, whose labels are compared with permuted and random ones."""


def compared(
    task: Task, meter: Meter, settings: RunSettings, best: Chain, count: int
) -> list[Comparison]:
    """The reported labelling, then permuted, random and constant ones, all over the same items.
    Random ones satisfy the constraints, permuted ones have the shares."""
    rules = task.rules()
    scorer = Scorer(task.render(settings.writing_for(meter.capabilities.form)), meter)
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(1,)))
    objective = settings.objective_for(scorer, rules, rng)
    pool = pool_of(replace(settings, pool=COMPARED_ITEMS), rules)
    items = pool[best.labels[pool] != UNLABELLED]
    own = best.labels[items]
    shape = (rules.n_items, rules.n_labels)
    kinds = {
        "found": [own],
        "permuted": [reordered(own, rng) for _ in range(count)],
        "random": [repair(rng.random(shape), rules)[items] for _ in range(count)],
    }
    for number, name in enumerate(task.labels):
        kinds[f"all {name}"] = [np.full(items.size, number, np.int64)]
    labellings = []
    for given in (labels for group in kinds.values() for labels in group):
        everything = np.full(rules.n_items, UNLABELLED, np.int64)
        everything[items] = given
        labellings.append(Labelling(everything, dealt(items, given, settings.folds, rng)))
    (scored,) = together(scorer, [Problem.of(scorer, objective).values(labellings)])
    values = iter(scored)
    found = []
    for kind, group in kinds.items():
        own_values = [next(values) for _ in group]
        mean = float(np.mean([value.objective for value in own_values]))
        found.append(Comparison(kind, mean, tuple(v.predictability for v in own_values)))
    return found


def reordered(labels: IntArray, rng: np.random.Generator) -> IntArray:
    """Labels permuted, and not into themselves, which few items are often. Those of one label
    only can't be."""
    drawn: IntArray = rng.permutation(labels)
    while (drawn == labels).all() and np.ptp(labels) > 0:
        drawn = rng.permutation(labels)
    return drawn


def dealt(items: IntArray, labels: IntArray, folds: int, rng: np.random.Generator) -> IntArray:
    """Items in an order drawn at random under which every fold gets its share of each label.

    Else it is luck whether the few items with a rare label see another one at all.
    """
    drawn = rng.permutation(items.size)
    sorted_ones = drawn[np.argsort(labels[drawn], kind="stable")]
    whole = items.size // folds * folds
    hands = rng.permutation(sorted_ones[:whole].reshape(-1, folds))
    order = np.concatenate([rng.permuted(hands, axis=1).ravel(), sorted_ones[whole:]])
    dealt: IntArray = items[order]
    return dealt
