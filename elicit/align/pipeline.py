"""The whole of an alignment, stage by stage (DESIGN §9; arXiv 2506.10139, section 5).

A search labels a first set of comparisons; a reward model learns from them and labels more,
made of the starting policy's own answers; the final reward model learns from both; a policy is
optimised against it. Beside the search's labels others can be put, human or golden ones, and
everything but the first labels is then equal. Right answers and gold labels reach the report
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elicit.align.align_settings import AlignSettings
from elicit.align.answers import Answer
from elicit.align.comparisons import (
    ELICITED,
    comparisons_of,
    only_prompts,
    preferences_of,
)
from elicit.align.questions import Questions, split
from elicit.align.stages import Done, StageEvent, Stages, read_written
from elicit.align.start import Model, started
from elicit.align.work import ANSWERS, Aligned, Work
from elicit.cache.errors import InputError
from elicit.labelling import CachePath
from elicit.scorer import IntArray
from elicit.task import Task


@dataclass(frozen=True)
class Alignment:
    """All stages of an alignment, done."""

    base: Model
    start: Model
    train: tuple[str, ...]
    held_out: tuple[str, ...]
    start_answers: Done
    elicited: IntArray
    """(n_items,): the search's labels of the comparisons to train on; elsewhere -1."""
    by: Mapping[str, Aligned]
    """Supervisor → what came of it, the search's own first."""


def align(
    folder: Path,
    base: Model,
    task: Task,
    questions: Questions,
    others: Mapping[str, IntArray],
    settings: AlignSettings,
    *,
    model: str,
    cache: CachePath = None,
    on_event: Callable[[StageEvent], None] = lambda _: None,
) -> Alignment:
    """Align a model by its own labels, and by others beside them.

    Args:
        folder: Where the stages are. What is there of an equal call is not made again, and a
            stage that was cut off goes on; so the result is the same wherever a process ended.
        base: The model that is tuned, rewarded and aligned.
        task: Comparisons; see `elicit.align.comparisons`.
        others: Name → (n_items,) labels of the task's items, -1 = none.
        model: The one that labels, as every command names it.

    Raises:
        InputError: no comparisons, no prompts beyond them, or labels of another length.
        ElicitError: a score could not be had.
    """
    if ELICITED in others or any(len(o) != len(task.items) for o in others.values()):
        raise InputError(f"labels beside the search's: each item one, none named {ELICITED!r}")
    asked = [c.prompt for c in comparisons_of(task)]
    train, held_out = split(questions, asked, settings.held_out, settings.seed)
    if not set(train) - set(asked) or not held_out:
        raise InputError(
            "too few prompts: some beside those of the comparisons are needed to train on, "
            "and one to hold out"
        )
    work = Work(Stages(folder, on_event), base, settings, tuple(train), tuple(held_out))
    part, kept = only_prompts(task, train)
    labels = {ELICITED: work.labelled(part, model, cache)}
    labels |= {name: given[kept] for name, given in others.items()}
    elicited = np.full(len(task.items), -1, np.int64)
    elicited[kept] = labels[ELICITED]
    beginning = work.started({p: questions.said[p] for p in train if p in questions.said})
    start = base if beginning is None else started(beginning.folder)
    after = [] if beginning is None else [beginning]
    more = work.more(start, after, set(asked))
    return Alignment(
        base,
        start,
        work.train,
        work.held_out,
        work.answers("start", start, after, None),
        elicited,
        {
            name: work.aligned(name, preferences_of(part, given), start, more)
            for name, given in labels.items()
        },
    )


def answers_of(done: Done) -> tuple[dict[str, list[Answer]], dict[str, list[Answer]]]:
    """Prompt → sampled answers, and prompt → the likeliest one, of a stage of answers."""
    rows = read_written(done.folder / ANSWERS)
    sampled = {row["prompt"]: [Answer(**a) for a in row["sampled"]] for row in rows}
    return sampled, {row["prompt"]: [Answer(**row["likeliest"])] for row in rows}
