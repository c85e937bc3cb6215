"""From fields to text: templates, demonstrations, prompts.

A demonstration is the item's text, its label's verbalizer and the separator; a prompt is
demonstrations followed by the item's text. Each piece is rendered and digested once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, UndefinedError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from numpy.typing import NDArray

from elicit.cache.errors import InputError
from elicit.providers.base import Segment

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
    _compiled: object = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            compiled = _ENVIRONMENT.from_string(self.item)
        except TemplateSyntaxError as error:
            raise TaskError(
                f"{self.origin}: [prompt] item, line {error.lineno}: {error.message}"
            ) from error
        object.__setattr__(self, "_compiled", compiled)

    def names(self) -> frozenset[str]:
        """The fields the template asks for."""
        return frozenset(meta.find_undeclared_variables(_ENVIRONMENT.parse(self.item)))

    def render(self, fields: Mapping[str, object], where: str) -> str:
        """The text of an item. `where` names it in errors.

        Raises:
            TaskError: a field is missing or empty, or the template does what it may not.
        """
        for name in self.names():
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
        return self._compiled.generate(dict(fields))  # type: ignore[attr-defined, no-any-return]  # jinja2 has no public type for a compiled template's stream


_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True
)


@dataclass(frozen=True)
class RenderedTask:
    """Every piece of every prompt of a task, as segments."""

    labels: tuple[str, ...]
    verbalizers: tuple[str, ...]
    questions: tuple[Segment, ...]
    """One an item: its text, after which a label is expected."""
    shown: tuple[tuple[Segment, ...], ...]
    """[item][label] → the demonstration that shows the item with that label."""
    instruction: str | None = None

    def demonstrations(
        self, items: NDArray[np.int64], labels: NDArray[np.int64]
    ) -> tuple[Segment, ...]:
        """The demonstrations of these items with these labels, in this order."""
        pairs = zip(items.tolist(), labels.tolist(), strict=True)
        return tuple(self.shown[item][label] for item, label in pairs)


def render(
    template: Template,
    labels: Sequence[str],
    rows: Sequence[tuple[str, Mapping[str, object]]],
    instruction: str | None = None,
) -> RenderedTask:
    """Render `(where, fields)` of every item; see `Template.render` for what it raises."""
    texts = [template.render(fields, where) for where, fields in rows]
    return RenderedTask(
        labels=tuple(labels),
        verbalizers=template.verbalizers,
        questions=tuple(Segment.of(text) for text in texts),
        shown=tuple(
            tuple(
                Segment.of(text + verbalizer + template.separator)
                for verbalizer in template.verbalizers
            )
            for text in texts
        ),
        instruction=instruction,
    )
