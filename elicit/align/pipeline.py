"""The whole of an alignment, stage by stage (DESIGN §9; arXiv 2506.10139, section 5).

A search labels a first set of comparisons; a reward model learns from them and labels more,
made of the starting policy's own answers; the final reward model learns from both; a policy is
optimised against it. Beside the search's labels others can be put, human or golden ones, and
everything but the first labels is then equal; or, as the paper has it, who gave these labels
gives the second ones as well, in place of a reward model. Right answers and gold labels reach
the report alone, but for what is trained from gold labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elicit.align.align_settings import AlignSettings
from elicit.align.comparisons import (
    ELICITED,
    Labeller,
    comparisons_of,
    only_prompts,
    preferences_of,
)
from elicit.align.questions import Questions, Split, split_checked
from elicit.align.sampling import Answer
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
    stages: tuple[Done, ...]
    """All of them, in the order that they came in."""


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
    second: Mapping[str, Labeller] | None = None,
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
        second: Name in `others` → who labels the comparisons of the starting policy's answers,
            all of those on prompts to train on, in place of that name's first reward model.
            The search's second labels are always its own first reward model's.

    Raises:
        InputError: no comparisons, too few prompts, labels of another length, or second labels
            for the search or for a name without first ones.
        ElicitError: a score could not be had.
    """
    if ELICITED in others or any(len(o) != len(task.items) for o in others.values()):
        raise InputError(f"labels beside the search's: each item one, none named {ELICITED!r}")
    second = second or {}
    if not set(second) <= set(others):
        raise InputError(
            f"second labels for {', '.join(sorted(set(second) - set(others)))}: only who gives "
            f"first labels can give second ones; {ELICITED!r} has its own first reward model's"
        )
    prompts = split_of(task, questions, settings)
    stages = Stages(folder, on_event)
    work = Work(stages, base, settings, prompts.train, prompts.held_out)
    part, kept = only_prompts(task, prompts.train)
    labels = {ELICITED: work.labelled(part, model, cache)}
    labels |= {name: given[kept] for name, given in others.items()}
    elicited = np.full(len(task.items), -1, np.int64)
    elicited[kept] = labels[ELICITED]
    said = {p: questions.said[p] for p in prompts.train if p in questions.said}
    beginning = work.started(said)
    start = base if beginning is None else started(beginning.folder)
    after = [] if beginning is None else [beginning]
    more = work.more(start, after, prompts.compared)
    start_answers = work.answered("start", start, after, None)
    by = {
        name: work.aligned(name, preferences_of(part, given), start, more, second.get(name))
        for name, given in labels.items()
    }
    return Alignment(
        base,
        start,
        prompts.train,
        prompts.held_out,
        start_answers,
        elicited,
        by,
        tuple(stages.all),
    )


def split_of(task: Task, questions: Questions, settings: AlignSettings) -> Split:
    """Which prompts of an alignment are trained on, and which are held out.

    Raises:
        InputError: no comparisons, or too few prompts.
    """
    compared = [c.prompt for c in comparisons_of(task)]
    return split_checked(questions, compared, settings.held_out, settings.seed)


def answers_of(done: Done) -> tuple[dict[str, list[Answer]], dict[str, list[Answer]]]:
    """Prompt → sampled answers, and prompt → the likeliest one, of a stage of answers."""
    rows = read_written(done.folder / ANSWERS)
    sampled = {row["prompt"]: [Answer(**a) for a in row["sampled"]] for row in rows}
    return sampled, {row["prompt"]: [Answer(**row["likeliest"])] for row in rows}
