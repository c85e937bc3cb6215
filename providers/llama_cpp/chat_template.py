"""A chat as the one text that a model was trained on, by the template in its file.

Templates are Jinja, from whoever made the file, and run in its sandbox. They are given what
the loaders of Hugging Face and llama-cpp-python give them, but for two things that would
change a score from one day to the next or put another answer before the label: today is
always the same day, and a model that may think first is told not to.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, TemplateSyntaxError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from elicit.providers.base import ModelError

TODAY = dt.datetime(2024, 7, 26)
"""The day that Llama's own templates fall back to where they can't ask for one."""

Said = tuple[str, str]
"""Who says it, and what."""


class ChatTemplate:
    """The template of a model's file. `where` names the file in errors.

    Raises:
        ModelError: it is no Jinja template.
    """

    def __init__(self, source: str, bos: str, eos: str, where: str) -> None:
        self.source = source
        self._where = where
        self._given: Mapping[str, object] = {
            "bos_token": bos,
            "eos_token": eos,
            "add_generation_prompt": True,
            "tools": None,
            "documents": None,
            "enable_thinking": False,
            "raise_exception": _refuse,
            "strftime_now": TODAY.strftime,
        }
        try:
            self._compiled: Template = _environment().from_string(source)
        except TemplateSyntaxError as error:
            raise ModelError(
                f"{where}: its chat template can't be read, line {error.lineno}: "
                f"{error.message}; {_INSTEAD}"
            ) from error

    def identity(self) -> dict[str, str | int | float | bool | None]:
        """What of the template can change a score."""
        return {
            "chat_template": hashlib.sha256(self.source.encode()).hexdigest(),
            "chat_today": TODAY.date().isoformat(),
            "chat_thinking": False,
        }

    def render(self, chat: Sequence[Said]) -> str:
        """The text of a chat, up to where the assistant answers.

        Raises:
            ModelError: the template refuses the chat, or leaves out its instruction or its
                last message.
        """
        try:
            text = self._rendered(chat)
        except _FAULTS as error:
            why = " ".join(str(error).split()) or type(error).__name__
            raise self._refused(chat, why) from error
        for role, said in (*chat[:1], chat[-1]):
            if said.strip() not in text:
                mend = _MERGE if role == "system" else _INSTEAD
                raise ModelError(
                    f"{self._where}: its chat template leaves out or rewrites the {role} "
                    f"message; {mend}"
                )
        return text

    def _rendered(self, chat: Sequence[Said]) -> str:
        said = [{"role": role, "content": text} for role, text in chat]
        return self._compiled.render(messages=said, **self._given)

    def _refused(self, chat: Sequence[Said], why: str) -> ModelError:
        mend = _MERGE if self._takes_merged(chat) else _INSTEAD
        return ModelError(f"{self._where}: its chat template refuses the chat: {why}; {mend}")

    def _takes_merged(self, chat: Sequence[Said]) -> bool:
        merged = with_instruction_in_user(chat)
        if merged == list(chat):
            return False
        try:
            self._rendered(merged)
        except _FAULTS:
            return False
        return True


def with_instruction_in_user(chat: Sequence[Said]) -> list[Said]:
    """The chat with its system message as the beginning of the first user message."""
    if len(chat) > 1 and chat[0][0] == "system" and chat[1][0] == "user":
        return [("user", f"{chat[0][1]}\n\n{chat[1][1]}"), *chat[2:]]
    return list(chat)


_FAULTS = (
    TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    MemoryError,
    RecursionError,
)
"""What a template can do wrong; the sandbox keeps it from worse."""
_INSTEAD = "ask the model in plain text, without chat=on"
_MERGE = "add system=user to the model's name, which puts the instruction in the user's message"


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _environment() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    made.filters["tojson"] = _tojson
    # Neither is of a chat, and both give something else each time.
    del made.filters["random"], made.globals["lipsum"]
    return made


class _Generation(Extension):
    """`{% generation %}` marks what a model is trained to say; here it marks nothing."""

    tags = {"generation"}  # noqa: RUF012  # as jinja2 declares it

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    """Jinja's own escapes what HTML would read otherwise."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)
