"""Surface features of a task's items that go with labels. No model is asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from elicit.association import Association, Ties, associations
from elicit.scorer import IntArray
from elicit.surface import features_of
from elicit.task import Task


def surface_of(
    task: Task, texts: Sequence[str], labels: IntArray, seed: int
) -> tuple[Association, ...]:
    """Surface features of the items, `texts` as prompts show them, that go with the labels."""
    drawn = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2,)))
    features = features_of(task, texts)
    return tuple(associations(features, labels, task.labels, tied(task), drawn))


def tied(task: Task) -> Ties:
    """Items of one group, or tied by a constraint, and those that must have the same label."""
    rules = task.rules()
    groups = [
        ("group", item.group) if item.group is not None else ("part", str(part))
        for item, part in zip(task.items, rules.parts().tolist(), strict=True)
    ]
    index = {key: number for number, key in enumerate(dict.fromkeys(groups))}
    differ = ~np.eye(rules.n_labels, dtype=bool)
    equal = ~rules.allowed[:, differ].any(axis=1)
    shape = (rules.n_items, rules.n_items)
    graph = csr_array((np.ones(equal.sum()), tuple(rules.pairs[equal].T)), shape=shape)
    _, alike = connected_components(graph, directed=False)
    return Ties(np.array([index[key] for key in groups], np.int64), alike.astype(np.int64))
