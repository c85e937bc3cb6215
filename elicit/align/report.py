"""What an alignment came to, measured by gold labels and right answers where there are some.

The one module of an alignment that is given them; it trains nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from elicit.align.align_settings import AlignSettings
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
KNOWN, GOLDEN_REWARD = "known", "golden reward"
JUDGES = {
    KNOWN: "the right answers that are known",
    GOLDEN_REWARD: "the reward model trained from gold labels; the golden policy was optimised "
    "against it, which is in that policy's favour",
}


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
    """`elicited against human` → judge → how it went."""
    judges: Mapping[str, str]
    """Judge → what it goes by."""
    held_out: int
    """Prompts that policies are measured on."""
    known: int
    """Of these the ones whose right answer is known: what is right is measured on them."""
    equal_answers: int
    """Items of the task that compare an answer with itself, which nothing is learnt from."""
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
    known = known or {}
    told = {prompt: known[prompt] for prompt in done.held_out if prompt in known}
    held = () if gold is None else _held_out(done, task, gold)
    given = {name: answers_of(a.answers) for name, a in done.by.items()}
    given[START] = answers_of(done.start_answers)
    pairs = _pairs(given[START][0], told)
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
                _policy(given[name], told, model.rewards, given[START][0]),
                _curve(aligned, known),
            )

    by = {name: measured(name, aligned) for name, aligned in done.by.items()}
    sampled = {name: found[0] for name, found in given.items()}
    with ExitStack() as stack:
        judges: dict[str, Judge] = {KNOWN: knows(told)} if told else {}
        if GOLDEN in done.by:
            judges[GOLDEN_REWARD] = stack.enter_context(opened(done.by[GOLDEN].reward)).rewards
        matches: dict[str, dict[str, Match]] = {
            f"{a} against {b}": {} for a, b in combinations(sampled, 2)
        }
        for name, judge in judges.items():
            over = told if name == KNOWN else done.held_out
            played = {policy: _only(answers, over) for policy, answers in sampled.items()}
            for a, b in combinations(played, 2):
                matches[f"{a} against {b}"][name] = play(played[a], played[b], judge)
    return Report(
        _policy(given[START], told),
        by,
        matches,
        {name: JUDGES[name] for name in judges},
        len(done.held_out),
        len(told),
        sum(c.is_equal for c in comparisons_of(task)),
        {stage.record.stage: stage.record.seconds for stage in done.stages},
    )


def _held_out(done: Alignment, task: Task, gold: IntArray) -> tuple[Preference, ...]:
    compared = {c.prompt for c in comparisons_of(task)}
    out = [prompt for prompt in done.held_out if prompt in compared]
    if not out:
        return ()
    part, kept = only_prompts(task, out)
    return preferences_of(part, gold[kept])


def _pairs(start: Given, known: Mapping[str, str]) -> tuple[Preference, ...]:
    """Right and wrong answers of the starting policy to the same prompt, each pair once."""
    # A right answer is read as it was written, not as the known one is spelt.
    right = {
        prompt: next((a.text for a in start[prompt] if same(answer, a.text)), None)
        for prompt, answer in known.items()
    }
    return tuple(
        Preference(prompt, written, answer)
        for prompt, written in right.items()
        if written is not None
        for answer in sorted({a.text for a in start[prompt] if a.text})
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
    told: Mapping[str, str],
    reward: Judge | None = None,
    start: Given | None = None,
) -> PolicyMeasure:
    sampled, likeliest = given
    known = knows(told)
    return PolicyMeasure(
        judged(_only(sampled, told), known) if told else None,
        judged(_only(likeliest, told), known) if told else None,
        None if reward is None else judged(sampled, reward).value,
        None if reward is None or start is None else judged(start, reward).value,
        habits(sampled),
    )


def _only(given: Given, prompts: Iterable[str]) -> Given:
    """The answers to these prompts."""
    return {prompt: given[prompt] for prompt in prompts}


def _curve(aligned: Aligned, known: Mapping[str, str]) -> tuple[Mapping[str, float], ...]:
    folder = aligned.policy.folder
    points: list[dict[str, Any]] = read_written(folder / CURVE)
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
