"""Two policies asked the same, and whose answer is better.

A judge gives each answer a number; the larger wins, equal ones tie. A win rate counts ties as
half. Answers to one prompt are not independent: intervals are over prompts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from elicit.align.comparisons import Preference
from elicit.align.sampling import Answer
from elicit.evaluate import cluster_interval
from elicit.evaluation import Estimate
from elicit.scorer import FloatArray

Judge = Callable[[Sequence[str], Sequence[str]], FloatArray]
"""(prompts, answers) → (n,): the better the answer, the larger."""
Given = Mapping[str, Sequence[Answer]]
"""Prompt → a policy's answers."""


@dataclass(frozen=True, slots=True)
class Match:
    """How one policy fared against another. Shares of all games, 0 to 1."""

    wins: float
    ties: float
    losses: float
    win_rate: Estimate
    """Ties count half."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How a policy writes: where a reward is gamed, it shows here first."""

    tokens: float
    """Mean of an answer, its stop left out."""
    words: float
    ended: float
    """Share of the answers that ended by themselves."""
    empty: float
    """Share of the answers without a word."""
    repeated: float
    """Share of the words that stand in the same answer before."""
    commonest: float
    """Share of the answers that are the commonest one."""


def knows(known: Mapping[str, str]) -> Judge:
    """A judge that knows the right answers: 1 where it is given, whatever its case, else 0."""

    def judge(prompts: Sequence[str], answers: Sequence[str]) -> FloatArray:
        pairs = zip(prompts, answers, strict=True)
        return np.array([float(same(known[p], answer)) for p, answer in pairs])

    return judge


def same(right: str, answer: str) -> bool:
    """Whether an answer is the right one."""
    return right.strip().casefold() == answer.strip().casefold()


def play(ours: Given, theirs: Given, judge: Judge) -> Match:
    """Put each answer of ours beside theirs of the same number to the same prompt."""
    games = [
        (prompt, a.text, b.text)
        for prompt in ours
        for a, b in zip(ours[prompt], theirs[prompt], strict=True)
    ]
    prompts = [prompt for prompt, _, _ in games]
    # Asked at once: a reward model's last bits depend on what it reads together.
    both = judge([*prompts, *prompts], [g[1] for g in games] + [g[2] for g in games])
    mine, other = both[: len(games)], both[len(games) :]
    won, tied = mine > other, mine == other
    return Match(
        float(won.mean()),
        float(tied.mean()),
        float((mine < other).mean()),
        cluster_interval(won + tied / 2, prompts),
    )


def judged(given: Given, judge: Judge) -> Estimate:
    """The mean of what a judge gives a policy's answers, with its interval over prompts."""
    prompts = [prompt for prompt, answers in given.items() for _ in answers]
    texts = [answer.text for answers in given.values() for answer in answers]
    return cluster_interval(judge(prompts, texts), prompts)


def right_share(preferences: Sequence[Preference], judge: Judge) -> Estimate:
    """The share of comparisons that a judge takes as they are given; ties count half."""
    prompts = [p.prompt for p in preferences]
    gap = judge(prompts, [p.preferred for p in preferences]) - judge(
        prompts, [p.rejected for p in preferences]
    )
    return cluster_interval((gap > 0) + (gap == 0) / 2, prompts)


def habits(given: Given) -> Habits:
    """How a policy's answers are written."""
    answers = [answer for some in given.values() for answer in some]
    words = [answer.text.split() for answer in answers]
    again = sum(len(some) - len(set(some)) for some in words)
    _, most = Counter(answer.text for answer in answers).most_common(1)[0]
    return Habits(
        tokens=float(np.mean([answer.tokens for answer in answers])),
        words=float(np.mean([len(some) for some in words])),
        ended=float(np.mean([answer.ended for answer in answers])),
        empty=float(np.mean([not some for some in words])),
        repeated=again / max(1, sum(len(some) for some in words)),
        commonest=most / len(answers),
    )
