"""What a model is tuned on: each item's prompt as it is scored, and its label as answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from elicit import whole_file
from elicit.cache.errors import InputError
from elicit.cache.keys import json_digest
from elicit.constraints import UNLABELLED
from elicit.prompt import RenderedTask
from elicit.providers.base import Prompt, Segment, as_role
from elicit.scorer import IntArray


@dataclass(frozen=True, slots=True)
class Example:
    """One supervised example: what the model is shown, and what it should say next.

    `prompt` is the prompt that scores the item without demonstrations, `answer` the label's
    verbalizer as scoring reads it.
    """

    id: str
    prompt: Prompt
    answer: str


def examples_of(
    rendered: RenderedTask, ids: Sequence[str], labels: IntArray
) -> tuple[Example, ...]:
    """An example for each item that has a label; `labels`, (n_items,), -1 = none.

    Raises:
        InputError: no item has a label.
    """
    found = tuple(
        Example(identifier, (*rendered.opening, question), rendered.verbalizers[label])
        for identifier, question, label in zip(
            ids, rendered.questions, labels.tolist(), strict=True
        )
        if label != UNLABELLED
    )
    if not found:
        raise InputError("no item has a label: there is nothing to tune a model on")
    return found


def save(path: Path, examples: Sequence[Example]) -> None:
    """Write examples as JSON Lines, all of them or no file.

    Raises:
        InputError: the file can't be written there.
    """
    rows = ({"id": e.id, "prompt": _pairs(e), "answer": e.answer} for e in examples)
    # Characters beyond ASCII are escaped, a lone surrogate of the data among them.
    whole_file.save(path, "".join(f"{json.dumps(row)}\n" for row in rows).encode("ascii"))


def load(path: Path) -> tuple[Example, ...]:
    """Read what `save` wrote.

    Raises:
        InputError: it is gone or is not what was written.
    """
    try:
        rows = [json.loads(line) for line in path.read_text("ascii").splitlines()]
        return tuple(
            Example(
                row["id"],
                tuple(Segment.of(text, as_role(role)) for role, text in row["prompt"]),
                row["answer"],
            )
            for row in rows
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: the examples of a job are gone or damaged ({error}); begin a new job: "
            "--again"
        ) from error


def digest_of(examples: Sequence[Example]) -> str:
    """64 hexadecimal digits that name what is tuned on, order included."""
    rows = [[_pairs(e), e.answer] for e in examples]
    return json_digest(rows)


def _pairs(example: Example) -> list[list[str]]:
    return [[segment.role, segment.text] for segment in example.prompt]
