"""The prompts that a run's final labels were read from, each piece kept once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from elicit.predictability import Labelling
from elicit.prompt import Writing
from elicit.report.facts import Context, Prompts
from elicit.run import seeds_of
from elicit.scorer import IntArray
from elicit.settings import RunSettings
from elicit.task import Task

MOST_SHOWN = 300_000
"""Item numbers in all sequences together, beyond which a page would be too large."""


def prompts_of(
    task: Task,
    settings: RunSettings,
    chain: int,
    labelling: Labelling,
    writing: Writing,
    limit: int | None,
) -> Prompts | None:
    """What `elicit.run.finish` asked for: every item given a chain's labelling.

    None where the sequences of demonstrations are too many to be kept.
    """
    n_items = len(task.items)
    _, drawn = seeds_of(settings, chain)
    measure = settings.predictability_of(n_items, limit, drawn)
    plan = measure.plan(labelling, np.arange(n_items))
    sequences = _Sequences([labelling.order])
    of_item: list[list[int]] = [[] for _ in range(n_items)]
    contexts = []
    for number, (ask, places) in enumerate(zip(plan.asks, plan.places, strict=True)):
        contexts.append(sequences.context(ask.context))
        for place in places.tolist():
            of_item[place].append(number)
        if sequences.shown > MOST_SHOWN:
            return None
    rendered = task.render(writing)
    return Prompts(
        writing=writing,
        opening="".join(segment.text for segment in rendered.opening),
        verbalizers=_shown_verbalizers(task, writing),
        separator=task.template.separator,
        labels=tuple(labelling.labels.tolist()),
        sequences=tuple(tuple(sequence.tolist()) for sequence in sequences.found),
        contexts=tuple(contexts),
        of_item=tuple(tuple(numbers) for numbers in of_item),
    )


def _shown_verbalizers(task: Task, writing: Writing) -> tuple[str, ...]:
    words = task.template.verbalizers
    return tuple(word.strip() for word in words) if writing == "turns" else words


class _Sequences:
    """Contexts told as the beginning of a sequence that is known, less one item: leave-one-out
    takes N of them out of one, and prequential grows one."""

    def __init__(self, known: Sequence[IntArray]) -> None:
        self.found = list(known)

    @property
    def shown(self) -> int:
        return sum(sequence.size for sequence in self.found)

    def context(self, items: IntArray) -> Context:
        for number, sequence in enumerate(self.found):
            known = told_by(items, sequence)
            if known is not None:
                upto, without = known
                return Context(number, upto, without)
        self.found.append(items)
        return Context(len(self.found) - 1, items.size, None)


def told_by(items: IntArray, sequence: IntArray) -> tuple[int, int | None] | None:
    """How many of the sequence, and which of them not; None where that is not `items`."""
    if items.size <= sequence.size and np.array_equal(items, sequence[: items.size]):
        return items.size, None
    if items.size >= sequence.size:
        return None
    differs = int(np.argmax(items != sequence[: items.size]))
    if np.array_equal(items[differs:], sequence[differs + 1 : items.size + 1]):
        return items.size + 1, int(sequence[differs])
    return None
