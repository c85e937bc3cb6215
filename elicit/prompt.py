"""From fields to text: templates, demonstrations, prompts.

A demonstration is the item's text, its label's verbalizer and the separator; a prompt is
demonstrations followed by the item's text. Each piece is rendered and digested once.

A chat model is asked the same in one of two forms. As a `block`, the demonstrations stand
before the item in one message, written as in plain text; as `turns`, each demonstration is
a question and the model's answer to it. Either way an instruction comes first that names
the labels, and the answer is a label without the space that a plain text may need before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jinja2 import (
    StrictUndefined,
    TemplateError,
    TemplateSyntaxError,
    UndefinedError,
    meta,
    nodes,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment
from numpy.typing import NDArray

from elicit.cache.errors import InputError
from elicit.providers.base import Role, Segment

Writing = Literal["text", "block", "turns"]
"""How prompts are written: as plain text, or in either form of a chat."""

MAX_RENDERED = 1_000_000
"""Characters one item may render to; a template that exceeds it is a mistake or an attack."""


class TaskError(InputError):
    """A task file, its data or its template is wrong."""


@dataclass(frozen=True)
class Template:
    """How an item and its label are written.

    `verbalizers` has one text a label, in the order of the task's labels.
    """

    item: str
    verbalizers: tuple[str, ...]
    separator: str = "\n\n"
    origin: str = "template"
    names: frozenset[str] = field(init=False, repr=False, compare=False)
    """The fields the template asks for."""
    _compiled: object = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            syntax = _ENVIRONMENT.parse(self.item)
            compiled = _ENVIRONMENT.from_string(syntax)
        except TemplateSyntaxError as error:
            raise TaskError(
                f"{self.origin}: [prompt] item, line {error.lineno}: {error.message}"
            ) from error
        names = _names(syntax)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "_compiled", compiled)

    def render(self, fields: Mapping[str, object], where: str) -> str:
        """The text of an item. `where` names it in errors.

        Raises:
            TaskError: a field is missing or empty, or the template does what it may not.
        """
        for name in self.names:
            if name in fields and fields[name] is None:
                raise TaskError(f"{where}: field {name!r} is null; a prompt would say 'None'")
        parts: list[str] = []
        length = 0
        try:
            for part in self._stream(fields):
                parts.append(part)
                length += len(part)
                if length > MAX_RENDERED:
                    raise TaskError(f"{where}: the prompt is over {MAX_RENDERED:,} characters")
        except UndefinedError as error:
            raise TaskError(
                f"{where}: [prompt] item: {error.message}; fields: {', '.join(sorted(fields))}"
            ) from error
        except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise TaskError(f"{where}: [prompt] item: {error}") from error
        except (OverflowError, MemoryError, RecursionError) as error:
            raise TaskError(f"{where}: [prompt] item asks for too much: {error}") from error
        text = "".join(parts)
        if not text.strip():
            raise TaskError(f"{where}: the prompt is empty")
        return text

    def _stream(self, fields: Mapping[str, object]) -> Sequence[str]:
        return self._compiled.generate({"fields": fields, **fields})  # type: ignore[attr-defined, no-any-return]  # jinja2 has no public type for a compiled template's stream


def _names(syntax: nodes.Template) -> frozenset[str]:
    """The fields a template asks for, by their names or as `fields["any name"]`."""
    names = meta.find_undeclared_variables(syntax)
    asked = [
        found.arg.value
        for found in syntax.find_all(nodes.Getitem)
        if isinstance(found.node, nodes.Name)
        and found.node.name == "fields"
        and isinstance(found.arg, nodes.Const)
        and isinstance(found.arg.value, str)
    ]
    uses = sum(name.name == "fields" for name in syntax.find_all(nodes.Name))
    # Any other use could show a field unseen by the checks that go by these names: it is
    # taken for a field of that name, which there is not.
    if asked and uses == len(asked):
        names.discard("fields")
    return frozenset(names | set(asked))


_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True
)


@dataclass(frozen=True)
class RenderedTask:
    """Every piece of every prompt of a task, as segments."""

    labels: tuple[str, ...]
    verbalizers: tuple[str, ...]
    """What the model says for each label."""
    opening: tuple[Segment, ...]
    """What every prompt begins with: the instruction of a chat."""
    questions: tuple[Segment, ...]
    """One an item: its text, after which a label is expected."""
    shown: tuple[tuple[tuple[Segment, ...], ...], ...]
    """[item][label] → the demonstration that shows the item with that label."""

    def context(
        self, items: NDArray[np.int64], labels: NDArray[np.int64]
    ) -> tuple[Segment, ...]:
        """All that stands before an item: the opening, then the demonstrations of these
        items with these labels, in this order."""
        pairs = zip(items.tolist(), labels.tolist(), strict=True)
        shown = (segment for item, label in pairs for segment in self.shown[item][label])
        return (*self.opening, *shown)


def render(
    template: Template,
    labels: Sequence[str],
    rows: Sequence[tuple[str, Mapping[str, object]]],
    instruction: str | None = None,
    writing: Writing = "text",
) -> RenderedTask:
    """Render `(where, fields)` of every item.

    Raises:
        TaskError: see `Template.render`; or two labels differ in nothing but the space
            around them, which a chat does not keep.
    """
    texts = [template.render(fields, where) for where, fields in rows]
    verbalizers = template.verbalizers
    opening: tuple[Segment, ...] = ()
    if writing != "text":
        verbalizers = tuple(text.strip() for text in verbalizers)
        if len(set(verbalizers)) < len(verbalizers):
            raise TaskError(
                f"{template.origin}: [prompt] verbalizers: two differ in spaces only, which a "
                "chat does not keep; choose others"
            )
        opening = (Segment.of(chat_instruction(instruction, verbalizers), "system"),)
    return RenderedTask(
        labels=tuple(labels),
        verbalizers=verbalizers,
        opening=opening,
        questions=tuple(_question(text, writing) for text in texts),
        shown=tuple(
            tuple(
                _shown(text, verbalizer, template.separator, writing)
                for verbalizer in template.verbalizers
            )
            for text in texts
        ),
    )


def chat_instruction(instruction: str | None, labels: Sequence[str]) -> str:
    """What a chat model is told first: the task's own instruction, and the labels to use."""
    task = (instruction or "").strip() or "Label each item as the examples before it are."
    ask = (
        "Answer with exactly one of these labels, as it is written here and with nothing else:"
    )
    return "\n".join([task, "", ask, *labels])


def _question(text: str, writing: Writing) -> Segment:
    return Segment.of(text) if writing == "text" else Segment.of(text.rstrip(), "user")


def _shown(text: str, verbalizer: str, separator: str, writing: Writing) -> tuple[Segment, ...]:
    if writing == "turns":
        question = _question(text, writing)
        return question, Segment.of(verbalizer.strip(), "assistant")
    role: Role = "user" if writing == "block" else ""
    return (Segment.of(text + verbalizer + separator, role),)
