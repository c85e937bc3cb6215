"""The prompts that a policy answers, what a corpus says to them, and known right answers.

What is known is there to measure by: no stage that trains is given it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from elicit.cache.errors import InputError
from elicit.data import read_rows

PROMPT, KNOWN, SAID = "question", "known", "said"
"""The columns of a file of questions; the last two may be missing."""


@dataclass(frozen=True)
class Questions:
    """Prompts, each once, in a fixed order."""

    prompts: tuple[str, ...]
    said: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Prompt → answers that the starting policy is tuned to give, right or wrong."""
    known: Mapping[str, str] = field(default_factory=dict)
    """Prompt → its right answer."""


def read_questions(path: Path) -> Questions:
    """Read a file with a column `question` and, where there are some, `known` and `said`.

    Raises:
        InputError: a row has no question, or one that stands twice; an answer is no text.
    """
    said: dict[str, tuple[str, ...]] = {}
    known: dict[str, str] = {}
    prompts: list[str] = []
    for row in read_rows(path.name, path.parent):
        prompt = row.fields.get(PROMPT)
        if not isinstance(prompt, str) or not prompt or prompt in said:
            raise InputError(
                f"{row.where}: {PROMPT} must be a text that stands once, not {prompt!r}"
            )
        prompts.append(prompt)
        answers = row.fields.get(SAID) or []
        if not isinstance(answers, list) or not all(isinstance(a, str) for a in answers):
            raise InputError(f"{row.where}: {SAID} must be a list of texts, not {answers!r}")
        said[prompt] = tuple(answers)
        answer = row.fields.get(KNOWN)
        if answer is not None:
            known[prompt] = str(answer)
    return Questions(tuple(prompts), {p: a for p, a in said.items() if a}, known)


def split(
    prompts: Sequence[str], compared: Sequence[str], share: float, seed: int
) -> tuple[list[str], list[str]]:
    """Prompts to train on and prompts held out; of those compared as large a share is held
    out as of the others."""
    rng = np.random.default_rng([seed, 1])
    known = dict.fromkeys(compared)
    out: set[str] = set()
    for part in (list(known), [p for p in prompts if p not in known]):
        drawn = rng.permutation(len(part))[: round(share * len(part))].tolist()
        out |= {part[i] for i in drawn}
    every = list(dict.fromkeys([*known, *prompts]))
    return [p for p in every if p not in out], [p for p in every if p in out]
