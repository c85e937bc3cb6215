"""What an alignment came to, measured by gold labels and right answers where there are some.

The one module of an alignment that is given them; it trains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from elicit.align.align_settings import AlignSettings
from elicit.align.answers import Answer
from elicit.align.comparisons import (
    ELICITED,
    GOLDEN,
    Preference,
    comparisons_of,
    only_prompts,
    preferences_of,
)
from elicit.align.head_to_head import (
    Given,
    Habits,
    Judge,
    Match,
    habits,
    judged,
    knows,
    play,
    right_share,
    same,
)
from elicit.align.pipeline import Alignment, answers_of
from elicit.align.policy import CURVE, SAMPLES
from elicit.align.reward import RewardModel, reward_model
from elicit.align.stages import Done, read_written
from elicit.align.work import Aligned
from elicit.evaluate import cluster_interval
from elicit.evaluation import Estimate
from elicit.scorer import IntArray
from elicit.task import Task

START = "start"


@dataclass(frozen=True, slots=True)
class PolicyMeasure:
    """A policy on the held-out prompts."""

    right: Estimate | None
    """Share of its sampled answers that are right; None where no right answer is known."""
    right_likeliest: Estimate | None
    """The same of its likeliest answers."""
    own_reward: float | None
    """Mean reward of its answers by the model that it was optimised against; None of the
    start."""
    start_reward: float | None
    """The same of the starting policy's answers."""
    habits: Habits


@dataclass(frozen=True, slots=True)
class SupervisorMeasure:
    """One supervisor's labels, and what came of them."""

    labels: Estimate | None
    """Share of its labels of the first comparisons that are gold's."""
    first_reward: Estimate | None
    """Share of the held-out comparisons that the first reward model takes as gold does."""
    reward: Estimate | None
    """The same of the final one."""
    reward_on_answers: Estimate | None
    """Share of the pairs of the starting policy's held-out answers, one right and one wrong,
    in which the final one prefers the right one."""
    policy: PolicyMeasure
    curve: tuple[Mapping[str, float], ...]
    """A point a step, as `policy.CURVE` has it; with `right`, the share of that step's answers
    that were right, where that is known."""


@dataclass(frozen=True, slots=True)
class Report:
    """An alignment, measured."""

    start: PolicyMeasure
    by: Mapping[str, SupervisorMeasure]
    matches: Mapping[str, Mapping[str, Match]]
    """`elicited against human` → judge (`known`, `golden reward`) → how it went."""
    seconds: Mapping[str, float]
    """Stage → seconds of the process that ended it."""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def report(
    done: Alignment,
    task: Task,
    settings: AlignSettings,
    others: Mapping[str, IntArray],
    gold: IntArray | None = None,
    known: Mapping[str, str] | None = None,
) -> Report:
    """Measure what `align` did.

    Args:
        others: As `align` was given them.
        gold: (n_items,) gold labels of the task's items, -1 = none.
        known: Prompt → its right answer.
    """
    right = knows(known) if known and set(done.held_out) <= set(known) else None
    held = () if gold is None else _held_out(done, task, gold)
    given = {name: answers_of(a.answers) for name, a in done.by.items()}
    beginning = answers_of(done.start_answers)
    pairs = _pairs(beginning[0], known) if known and right else ()
    labels = {ELICITED: done.elicited, **others}

    # One reward model is in memory at a time.
    def opened(stage: Done) -> AbstractContextManager[RewardModel]:
        return reward_model(done.base.form, stage.folder, settings.wording, settings.threads)

    def measured(name: str, aligned: Aligned) -> SupervisorMeasure:
        with opened(aligned.first_reward) as model:
            first = right_share(held, model.rewards) if held else None
        with opened(aligned.reward) as model:
            return SupervisorMeasure(
                _agreement(done, task, labels[name], gold),
                first,
                right_share(held, model.rewards) if held else None,
                right_share(pairs, model.rewards) if pairs else None,
                _policy(given[name], right, model.rewards, beginning[0]),
                _curve(aligned, known),
            )

    by = {name: measured(name, aligned) for name, aligned in done.by.items()}
    sampled: dict[str, Given] = {name: found[0] for name, found in given.items()}
    sampled[START] = beginning[0]
    judges: dict[str, Judge] = {} if right is None else {"known": right}
    with ExitStack() as stack:
        if GOLDEN in done.by:
            golden = stack.enter_context(opened(done.by[GOLDEN].reward))
            judges["golden reward"] = golden.rewards
        matches = {
            f"{a} against {b}": {
                name: play(sampled[a], sampled[b], judge) for name, judge in judges.items()
            }
            for a, b in combinations(sampled, 2)
        }
    return Report(_policy(beginning, right), by, matches, _seconds(done))


def _held_out(done: Alignment, task: Task, gold: IntArray) -> tuple[Preference, ...]:
    compared = {c.prompt for c in comparisons_of(task)}
    out = [prompt for prompt in done.held_out if prompt in compared]
    if not out:
        return ()
    part, kept = only_prompts(task, out)
    return preferences_of(part, gold[kept])


def _pairs(start: Given, known: Mapping[str, str]) -> tuple[Preference, ...]:
    """Right and wrong answers of the starting policy to the same prompt, each pair once."""
    return tuple(
        Preference(prompt, known[prompt], answer)
        for prompt, answers in start.items()
        if any(same(known[prompt], a.text) for a in answers)
        for answer in sorted({a.text for a in answers if a.text})
        if not same(known[prompt], answer)
    )


def _agreement(
    done: Alignment, task: Task, labels: IntArray, gold: IntArray | None
) -> Estimate | None:
    if gold is None:
        return None
    prompts = [c.prompt for c in comparisons_of(task)]
    wanted = set(done.train)
    kept = [i for i, p in enumerate(prompts) if p in wanted and gold[i] >= 0 and labels[i] >= 0]
    if not kept:
        return None
    return cluster_interval(
        (labels[kept] == gold[kept]).astype(float), [prompts[i] for i in kept]
    )


def _policy(
    given: tuple[Given, Given],
    right: Judge | None,
    reward: Judge | None = None,
    start: Mapping[str, Sequence[Answer]] | None = None,
) -> PolicyMeasure:
    sampled, likeliest = given
    return PolicyMeasure(
        None if right is None else judged(sampled, right),
        None if right is None else judged(likeliest, right),
        None if reward is None else judged(sampled, reward).value,
        None if reward is None or start is None else judged(start, reward).value,
        habits(sampled),
    )


def _curve(
    aligned: Aligned, known: Mapping[str, str] | None
) -> tuple[Mapping[str, float], ...]:
    folder = aligned.policy.folder
    points: list[dict[str, Any]] = read_written(folder / CURVE)
    if known is None:
        return tuple(points)
    found: dict[int, list[bool]] = {}
    for row in read_written(folder / SAMPLES):
        if row["prompt"] in known:
            is_right = same(known[row["prompt"]], row["answer"])
            found.setdefault(row["step"], []).append(is_right)
    return tuple(
        {**point, "right": float(np.mean(found[point["step"]]))}
        if point["step"] in found
        else point
        for point in points
    )


def _seconds(done: Alignment) -> dict[str, float]:
    stages = [done.start_answers]
    for a in done.by.values():
        stages += [a.first_reward, a.reward, a.policy, a.answers]
    return {stage.record.stage: stage.record.seconds for stage in stages}
