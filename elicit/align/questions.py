"""The prompts that a policy answers, what a corpus says to them, and known right answers.

What is known is there to measure by: no stage that trains is given it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from elicit.cache.errors import InputError
from elicit.data import Row, read_rows

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
    """Read a file with a column `question` and, where there are some, the others. What is
    empty, or missing, says nothing.

    Raises:
        InputError: a row has no question, or one that stands twice (white space around it
            tells none from another); a value is of another kind; names the row.
    """
    said: dict[str, tuple[str, ...]] = {}
    known: dict[str, str] = {}
    kinds: dict[str, str] = {}
    prompts: list[str] = []
    for row in read_rows(path.name, path.parent):
        value = row.fields.get(PROMPT)
        prompt = value.strip() if isinstance(value, str) else ""
        if not prompt or prompt in said:
            raise InputError(
                f"{row.where}: {PROMPT} must be a text that stands once, not {value!r}"
            )
        prompts.append(prompt)
        said[prompt] = _texts(row)
        for column, found in ((KNOWN, known), (KIND, kinds)):
            if text := _text(row, column):
                found[prompt] = text
    return Questions(tuple(prompts), {p: a for p, a in said.items() if a}, known, kinds)


def _texts(row: Row) -> tuple[str, ...]:
    answers = row.fields.get(SAID) or []
    if not isinstance(answers, list) or not all(isinstance(a, str) for a in answers):
        raise InputError(f"{row.where}: {SAID} must be a list of texts, not {answers!r}")
    return tuple(answers)


def _text(row: Row, column: str) -> str:
    """A text, or a number as it is written; empty where there is none."""
    value = row.fields.get(column)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    # A column of whole numbers with a gap in it is read as floats.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError(f"{row.where}: {column} must be a text or a number, not {value!r}")
    return str(value).strip()


@dataclass(frozen=True)
class Split:
    """Which prompts are trained on, and which are held out."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]
    compared: frozenset[str]
    """Those of both that the first comparisons are on."""


def split_checked(
    questions: Questions, compared: Sequence[str], share: float, seed: int
) -> Split:
    """As `split`, where every stage has something to work on.

    Raises:
        InputError: two prompts differ in white space alone; or there are too few of them.
    """
    seen: dict[str, str] = {}
    for prompt in dict.fromkeys([*compared, *questions.prompts]):
        twin = seen.setdefault(" ".join(prompt.split()), prompt)
        if twin != prompt:
            raise InputError(
                f"{twin!r} and {prompt!r} differ in white space alone, and one may be held out "
                "while the other is trained on; write them alike"
            )
    train, held_out = split(questions, compared, share, seed)
    asked = set(compared)
    if set(questions.prompts) <= asked:
        raise InputError(
            "too few prompts: the questions hold none beside those of the comparisons, and a "
            "reward model labels more; add some"
        )
    if not held_out:
        raise InputError(
            f"too few prompts: setting held_out, {share:g}, of those that are compared and of "
            "the others, kind by kind, comes to none; give a larger share, or more prompts"
        )
    for left, what in ((asked, "of the comparisons"), (set(train) - asked, "beside them")):
        if not left & set(train):
            raise InputError(
                f"too few prompts: setting held_out, {share:g}, leaves none {what} to train "
                "on; give a smaller share, or more prompts"
            )
    return Split(tuple(train), tuple(held_out), frozenset(asked))


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
