"""Which items a seed gives: whole groups of an embedded task, drawn and put in a new order.

The task's file says how they are asked and what must hold, gold and human labels come beside
them. So a spread over seeds is one over items, their order and the search together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from elicit.constraints import UNLABELLED
from elicit.gold import load_gold, load_human
from elicit.organism import tasks_path
from elicit.organism.embedded_tasks import GROUP, claims
from elicit.organism.world import FAMILIES, make_world
from elicit.scorer import IntArray
from elicit.task import Item, Task
from elicit.task_file import load_task

MANY = "many claims"
"""As `claims`, on all facts: first the 216 items on held-out facts, then 1,320 on facts that
training labelled. A seed draws the claims and the order of the facts of each kind."""


@dataclass(frozen=True)
class Items:
    """A task of some items, and their labels from outside."""

    task: Task
    gold: IntArray
    """(n_items,), an index into the task's labels an item."""
    human: IntArray | None = None
    """The same, as people gave them; None where the task has none."""

    def accuracy(self, labels: IntArray) -> float:
        """Share of the items with the gold label; one without a label is not right."""
        return float((labels == self.gold).mean())

    def split(self, share: float) -> tuple[Items, Items]:
        """The first items, a share of them at least, and the rest; no part is cut."""
        parts = self.task.rules().parts()
        first = int(np.ceil(share * parts.size))
        while parts[first] == parts[first - 1]:
            first += 1
        return self._of(slice(None, first)), self._of(slice(first, None))

    def _of(self, which: slice) -> Items:
        human = None if self.human is None else self.human[which]
        return Items(_task(self.task, self.task.items[which]), self.gold[which], human)

    def without_constraints(self) -> Items:
        return Items(
            _task(self.task, self.task.items, constrained=False), self.gold, self.human
        )


@dataclass(frozen=True)
class _Whole:
    task: Task
    gold: IntArray
    human: IntArray | None
    parts: IntArray
    """(n_items,): the number of the part an item is connected with by a group or a rule."""


def draw(name: str, count: int, seed: int) -> Items:
    """About `count` items of a task: whole parts in a random order, items of a part together
    as the data has them, until there are so many.

    Raises:
        ValueError: the task has fewer.
    """
    whole = _many(seed) if name == MANY else _whole(name)
    size = len(whole.task.items)
    if count > size:
        raise ValueError(f"{name} has {size} items, {count} are asked for")
    rng = np.random.default_rng([seed, 17])
    chosen: list[int] = []
    parts = rng.permutation(int(whole.parts.max()) + 1)
    if name == MANY:
        parts = np.arange(parts.size)
    for part in parts.tolist():
        if len(chosen) >= count:
            break
        chosen += np.flatnonzero(whole.parts == part).tolist()
    items = [whole.task.items[i] for i in chosen]
    human = None if whole.human is None else whole.human[chosen]
    return Items(_task(whole.task, items), whole.gold[chosen], human)


def truths(task: Task) -> IntArray:
    """(n_items,): 1 or 0 for a claim that is true or false, whatever the task asks of it;
    `UNLABELLED` for one on a creature of which nothing is known."""
    world = make_world()
    found = []
    for item in task.items:
        name, verb, value, *_ = str(item.fields["claim"]).split()
        if name not in world.known:
            found.append(UNLABELLED)
            continue
        said = FAMILIES[verb].index(value)
        held = world.values[list(FAMILIES).index(verb), world.known.index(name)]
        found.append(int(said == held))
    return np.array(found, np.int64)


@cache
def _whole(name: str) -> _Whole:
    path = tasks_path() / f"{name}.toml"
    task = load_task(path)
    ids = [item.id for item in task.items]
    gold = load_gold(path, ids)
    if gold is None:
        raise AssertionError(f"the embedded task {name} has gold labels")
    return _Whole(task, gold, load_human(path, ids), task.rules().parts())


def _many(seed: int) -> _Whole:
    """Claims drawn by seed on all facts in an order drawn by it, held-out facts first."""
    world = make_world()
    rows: list[dict[str, object]] = []
    for facts in (world.held, world.open):
        rows += claims(replace(world, held=facts), np.random.default_rng([seed, len(rows)]))
    like = load_task(tasks_path() / "claims.toml")
    task = Task(
        labels=like.labels,
        items=[{"subject": row["subject"], "claim": row["claim"]} for row in rows],
        template=like.template,
        name=MANY,
        constraints=like.constraints,
        instruction=like.instruction,
        group="subject",
    )
    gold = np.array([int(bool(row["label"])) for row in rows])
    return _Whole(task, gold, None, np.arange(gold.size) // GROUP)


def _task(like: Task, items: Sequence[Item], *, constrained: bool = True) -> Task:
    return Task(
        labels=like.labels,
        items=items,
        template=like.template,
        name=like.name,
        constraints=like.constraints if constrained else (),
        instruction=like.instruction,
    )
