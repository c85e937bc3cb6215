"""Comparisons of two answers: from a task's items to what is preferred over what.

A task of comparisons says by its asymmetric constraint what it compares: `by` names the field
of the prompt, `left` and `right` those of the answers, and its label means that the left one
is better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from elicit.cache.errors import InputError
from elicit.constraints import UNLABELLED, Constraint
from elicit.scorer import FloatArray, IntArray
from elicit.task import Task

ELICITED, HUMAN, GOLDEN = "elicited", "human", "golden"
"""Who labelled: the search, people, or whoever knows. The first is never given from outside."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers to one prompt. Which is better is not known."""

    prompt: str
    first: str
    second: str

    @property
    def is_equal(self) -> bool:
        """Whether both answers are the same: then neither is better."""
        return self.first.strip() == self.second.strip()

    def swapped(self) -> Comparison:
        """The same the other way round."""
        return Comparison(self.prompt, self.second, self.first)


Labeller = Callable[[Sequence[Comparison]], Sequence[bool | None]]
"""(n) comparisons → n: whether the first answer is the better one; None = no preference. Equal
comparisons are labelled alike, whenever it is asked."""


@dataclass(frozen=True, slots=True)
class Preference:
    """Of two answers to a prompt the better one."""

    prompt: str
    preferred: str
    rejected: str


def comparisons_of(task: Task) -> tuple[Comparison, ...]:
    """What each item of a task compares. White space around a prompt is left out.

    Raises:
        InputError: the task doesn't say what it compares, or an item has no value there.
    """
    told = _told(task)
    names = [_field(task, told, name) for name in ("by", "left", "right")]
    made = []
    for item in task.items:
        for name in names:
            if item.fields[name] is None:
                raise InputError(
                    f"task {task.name}, item {item.id}: {name} is null; give it a value, or "
                    "leave the item out"
                )
        prompt, first, second = (str(item.fields[name]) for name in names)
        made.append(Comparison(prompt.strip(), first, second))
    return tuple(made)


def preferences_of(task: Task, labels: IntArray) -> tuple[Preference, ...]:
    """What the labels of a task's items, (n_items,), prefer, each pair of answers once.

    A pair that was labelled both ways round and not the same way is left out, as is one
    without a label, and one of equal answers.
    """
    better = task.labels.index(_told(task).label)
    votes: dict[Comparison, int] = {}
    for comparison, label in zip(comparisons_of(task), labels.tolist(), strict=True):
        if label == UNLABELLED or comparison.is_equal:
            continue
        vote = 1 if label == better else -1
        if comparison.swapped() in votes:
            votes[comparison.swapped()] -= vote
        else:
            votes[comparison] = votes.get(comparison, 0) + vote
    return tuple(
        Preference(c.prompt, c.first, c.second)
        if vote > 0
        else Preference(c.prompt, c.second, c.first)
        for c, vote in votes.items()
        if vote
    )


def only_prompts(task: Task, prompts: Sequence[str]) -> tuple[Task, IntArray]:
    """The task with its comparisons on these prompts only, and which items they are.

    Raises:
        InputError: none is.
    """
    wanted = set(prompts)
    kept = [i for i, c in enumerate(comparisons_of(task)) if c.prompt in wanted]
    if not kept:
        raise InputError(f"task {task.name}: none of its comparisons is on these prompts")
    return task.some(kept), np.array(kept, np.int64)


def offered(
    answers: Mapping[str, Sequence[str]], most: int, rng: np.random.Generator
) -> tuple[Comparison, ...]:
    """At most `most` comparisons for each prompt, of answers that differ, drawn by `rng`."""
    made: list[Comparison] = []
    for prompt, given in answers.items():
        # An answer of no words can't be told from none.
        pairs = list(combinations(sorted({answer for answer in given if answer}), 2))
        for number in rng.permutation(len(pairs))[:most].tolist():
            comparison = Comparison(prompt, *pairs[number])
            made.append(comparison if rng.random() < 0.5 else comparison.swapped())
    return tuple(made)


def by_reward(
    comparisons: Sequence[Comparison], first: FloatArray, second: FloatArray, share: float
) -> tuple[Preference, ...]:
    """What a reward model prefers, for the share of the comparisons that it is surest of.

    Args:
        first: (n,), the rewards of the first answers; `second` those of the second.
    """
    surest = np.argsort(-np.abs(first - second), kind="stable")
    kept = sorted(surest[: round(share * len(comparisons))].tolist())
    return tuple(
        Preference(c.prompt, c.first, c.second)
        if first[i] > second[i]
        else Preference(c.prompt, c.second, c.first)
        for i, c in ((i, comparisons[i]) for i in kept)
        if first[i] != second[i]
    )


def by_labeller(
    comparisons: Sequence[Comparison], labeller: Labeller
) -> tuple[Preference, ...]:
    """What a labeller prefers, for the comparisons in which it prefers one.

    Raises:
        InputError: it gives more labels or fewer than there are comparisons.
    """
    better = labeller(comparisons)
    if len(better) != len(comparisons):
        raise InputError(
            f"a labeller gave {len(better)} labels to {len(comparisons)} comparisons; it must "
            "give each one, None where it prefers neither answer"
        )
    return tuple(
        Preference(c.prompt, c.first, c.second)
        if label
        else Preference(c.prompt, c.second, c.first)
        for c, label in zip(comparisons, better, strict=True)
        if label is not None
    )


def _told(task: Task) -> Constraint:
    for constraint in task.constraints:
        if isinstance(constraint, Constraint) and constraint.kind == "asymmetric":
            if constraint.by is None or len(task.labels) != 2:
                break
            return constraint
    raise InputError(
        f"task {task.name}: is no task of comparisons: it needs two labels and a "
        '[[constraint]] kind = "asymmetric" with label = the one that says that the first '
        "answer is better, by = the prompt's field, left and right = the answers' fields"
    )


def _field(task: Task, told: Constraint, option: str) -> str:
    name = getattr(told, option)
    if not isinstance(name, str) or any(name not in item.fields for item in task.items):
        raise InputError(
            f"task {task.name}: [[constraint]] asymmetric: {option} must name a field that "
            f"every item has, not {name!r}"
        )
    return name
