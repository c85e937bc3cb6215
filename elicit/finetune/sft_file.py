"""Training examples as each provider's JSON Lines, and a check of such a file row by row.

A prompt of a chat is a row of `messages`, one of plain text a row of `prompt` and
`completion`. Each row ends with the label and has no other answer in it, so the loss that
every provider takes, on answers, is one on labels only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from elicit.cache.errors import InputError
from elicit.finetune.examples import Example
from elicit.providers.chat import excerpt, messages, plain_text
from elicit.whole_file import write_whole

Layout = Literal["messages", "completion"]
"""A row's form: of a chat, or of text that the answer continues."""


@dataclass(frozen=True, slots=True)
class FileRules:
    """What a provider takes as a training file."""

    provider: str
    layouts: tuple[Layout, ...]
    """The forms of row that it takes; a file has one of them throughout."""
    fewest: int
    """Examples."""
    most: int | None
    """Examples; None where no number is documented."""
    most_bytes: int
    """Of the file, in one upload."""
    source: str
    """Where its documentation says so."""


RULES: Mapping[str, FileRules] = {
    "openai": FileRules(
        "openai",
        ("messages",),
        10,
        None,
        512 * 10**6,
        "https://developers.openai.com/docs/guides/distillation (examples); "
        "openai 3.57.0, resources/files.py (bytes)",
    ),
    "together": FileRules(
        "together",
        ("messages", "completion"),
        1,
        None,
        5 * 10**9,
        "https://docs.together.ai/docs/fine-tuning/data-preparation (rows); "
        "https://docs.together.ai/reference/post-files-multipart-initiate (bytes)",
    ),
    "fireworks": FileRules(
        "fireworks",
        ("messages",),
        3,
        3_000_000,
        150 * 10**6,
        "https://docs.fireworks.ai/fine-tuning/fine-tuning-models (examples); "
        "https://docs.fireworks.ai/api-reference/upload-dataset-files (bytes)",
    ),
}

_FIELDS: Mapping[Layout, frozenset[str]] = {
    "messages": frozenset({"messages"}),
    "completion": frozenset({"prompt", "completion"}),
}


def write_examples(path: Path, examples: Sequence[Example], rules: FileRules) -> None:
    """Write a provider's training file: the whole of it, or none.

    Equal examples give equal bytes. Every character beyond ASCII is escaped, so that no
    reader takes one for the end of a line.

    Raises:
        InputError: the provider takes no such prompts, or an example can't be written.
    """
    lines = [json.dumps(row_of(example, rules)) + "\n" for example in examples]
    write_whole(path, "".join(lines).encode("ascii"))


def check_rows(path: Path, rules: FileRules) -> int:
    """The number of examples in a file that the provider would take.

    Raises:
        InputError: it would not; the error names the line and the field.
    """
    try:
        size = path.stat().st_size
        if size > rules.most_bytes:
            raise InputError(
                f"{path} has {size:,} bytes; {rules.provider} takes at most "
                f"{rules.most_bytes:,} in one file: tune on fewer examples"
            )
        with path.open("rb") as file:
            layouts = [_checked(f"{path}, line {n}", raw) for n, raw in enumerate(file, 1)]
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    _count_is_right(path, len(layouts), rules)
    for number, layout in enumerate(layouts, 1):
        if layout not in rules.layouts:
            wanted = " or ".join(_named(each) for each in rules.layouts)
            raise InputError(
                f"{path}, line {number}: {rules.provider} takes rows of {wanted}, "
                f"this one is of {_named(layout)}"
            )
        if layout != layouts[0]:
            raise InputError(
                f"{path}, line {number} is of {_named(layout)}, line 1 of "
                f"{_named(layouts[0])}: {rules.provider} takes one form in a file"
            )
    return len(layouts)


def _count_is_right(path: Path, count: int, rules: FileRules) -> None:
    if count < rules.fewest:
        raise InputError(
            f"{path} has {count:,} examples; {rules.provider} takes {rules.fewest} at least: "
            "label more items"
        )
    if rules.most is not None and count > rules.most:
        raise InputError(
            f"{path} has {count:,} examples; {rules.provider} takes {rules.most:,} at most: "
            "label fewer items"
        )


def row_of(example: Example, rules: FileRules) -> dict[str, object]:
    """An example as a row of a provider's training file.

    Raises:
        InputError: the provider takes no such prompts, or the example can't be written.
    """
    where = f"example {example.id}"
    for text in (*(segment.text for segment in example.prompt), example.answer):
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            raise InputError(f"{where}: half a UTF-16 pair, which no provider reads: mend it")
    if not example.answer.strip():
        raise InputError(f"{where}: the answer is blank: give the label a text")
    chat = any(segment.role for segment in example.prompt)
    if any(segment.role == "assistant" for segment in example.prompt):
        raise InputError(
            f"{where} ({excerpt(example.prompt)}) has an answer in its prompt, which would be "
            "trained on as well: make it without demonstrations"
        )
    if not chat and "completion" not in rules.layouts:
        raise InputError(
            f"{rules.provider} tunes models that chat, and {where} is plain text: write the "
            'task\'s prompts in a form of a chat (Task.render("block") or "turns")'
        )
    if not chat:
        return {"prompt": plain_text(example.prompt), "completion": example.answer}
    said = [{"role": m.role, "content": m.text} for m in messages(example.prompt)]
    return {"messages": [*said, {"role": "assistant", "content": example.answer}]}


def _checked(where: str, raw: bytes) -> Layout:
    """A row's form, if it is one."""
    try:
        row = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        what = "blank" if not raw.strip() else "no JSON in UTF-8"
        raise InputError(f"{where} is {what}; write one JSON object a line") from error
    if not isinstance(row, dict):
        raise InputError(f"{where} is no JSON object")
    for layout, fields in _FIELDS.items():
        if row.keys() == fields:
            if layout == "messages":
                _check_messages(where, row["messages"])
            else:
                for name in sorted(fields):
                    _check_text(where, name, row[name])
            return layout
    given = ", ".join(map(repr, row)) or "nothing"
    raise InputError(f"{where} has {given}; it needs 'messages', or 'prompt' and 'completion'")


def _check_messages(where: str, rows: object) -> None:
    """That they are a system message or none, then user and assistant in turn to an answer."""
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{where}: 'messages' is no list of messages")
    roles = []
    for number, message in enumerate(rows, 1):
        place = f"{where}, message {number}"
        if not isinstance(message, dict) or message.keys() != {"role", "content"}:
            raise InputError(f"{place} must have 'role' and 'content', and nothing else")
        if message["role"] not in ("system", "user", "assistant"):
            raise InputError(
                f"{place}: role {message['role']!r:.40}; there are system, user and assistant"
            )
        _check_text(place, "content", message["content"])
        roles.append(message["role"])
    turns = roles[1:] if roles[0] == "system" else roles
    expected = ["user", "assistant"] * (len(turns) // 2)
    if not turns or turns != expected:
        raise InputError(
            f"{where}: the roles are {', '.join(roles)}; first may be a system message, then "
            "user and assistant take turns, and the last is the assistant's"
        )


def _check_text(where: str, name: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: {name!r} is no text, or blank")


def _named(layout: Layout) -> str:
    return "'messages'" if layout == "messages" else "'prompt' and 'completion'"
