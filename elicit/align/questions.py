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

PROMPT, KNOWN, SAID, KIND = "question", "known", "said", "kind"
"""The columns of a file of questions; all but the first may be missing."""


@dataclass(frozen=True)
class Questions:
    """Prompts, each once, in a fixed order."""

    prompts: tuple[str, ...]
    said: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Prompt → answers that the starting policy is tuned to give, right or wrong."""
    known: Mapping[str, str] = field(default_factory=dict)
    """Prompt → its right answer."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Prompt → what kind it is of: as large a share of each kind is held out."""


def read_questions(path: Path) -> Questions:
    """Read a file with a column `question` and, where there are some, the others.

    Raises:
        InputError: a row has no question, or one that stands twice; an answer is no text.
    """
    said: dict[str, tuple[str, ...]] = {}
    known: dict[str, str] = {}
    kinds: dict[str, str] = {}
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
        for column, found in ((KNOWN, known), (KIND, kinds)):
            value = row.fields.get(column)
            if value is not None:
                found[prompt] = str(value)
    return Questions(tuple(prompts), {p: a for p, a in said.items() if a}, known, kinds)


def split(
    questions: Questions, compared: Sequence[str], share: float, seed: int
) -> tuple[list[str], list[str]]:
    """Prompts to train on and prompts held out: as large a share of those compared as of the
    others, and of each kind."""
    rng = np.random.default_rng([seed, 1])
    known = set(compared)
    every = list(dict.fromkeys([*compared, *questions.prompts]))
    parts: dict[tuple[bool, str], list[str]] = {}
    for prompt in every:
        parts.setdefault((prompt in known, questions.kinds.get(prompt, "")), []).append(prompt)
    out: set[str] = set()
    for part in parts.values():
        drawn = rng.permutation(len(part))[: round(share * len(part))].tolist()
        out |= {part[i] for i in drawn}
    return [p for p in every if p not in out], [p for p in every if p in out]
