"""Text as TOML: strings and comments that mean what was put into them, whatever that was."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

from elicit.prompt import TaskError

WIDTH = 92
"""Columns a comment is folded to."""

_SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"'}
_CONTROL_OR_QUOTE = re.compile(r'[\x00-\x1f\x7f"]')
_CONTROL_IN_LINE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


def toml_text(value: str) -> str:
    """A text as a TOML string on one line.

    Raises:
        TaskError: it holds half of a surrogate pair, which no file in UTF-8 can hold.
    """
    text = _sound(value).replace("\\", "\\\\")
    return f'"{_CONTROL_OR_QUOTE.sub(_escaped, text)}"'


def toml_block(value: str) -> str:
    """A text as a TOML string over as many lines as it has. Raises as `toml_text` does."""
    if "\n" not in value:
        return toml_text(value)
    text = _sound(value).replace("\\", "\\\\")
    text = _CONTROL_IN_LINE.sub(_escaped, text)
    # Three quotes in a row, or one before the closing three, would end the string.
    text = re.sub(r'"(?="|\Z)', r'\\"', text)
    return f'"""\n{text}"""'


def toml_texts(values: Iterable[str]) -> str:
    """A TOML list of texts."""
    return f"[{', '.join(map(toml_text, values))}]"


def comment(text: str) -> str:
    """A paragraph as the lines of a TOML comment."""
    return "\n".join(
        textwrap.wrap(
            plain(text),
            WIDTH,
            initial_indent="# ",
            subsequent_indent="# ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def plain(text: str) -> str:
    """Text that neither a terminal nor a comment takes for anything else: what can't be
    printed is escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shown(text: str, most: int = 60) -> str:
    """A name or value within a sentence, in quotes, shortened where it is long."""
    cut = text if len(text) <= most else f"{text[: most - 1]}…"
    return f"`{plain(cut)}`"


def _sound(value: str) -> str:
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise TaskError(
            f"{value!a} holds half a character (a lone surrogate) and can't be written "
            "in a task file: rename it in the data"
        )
    return value


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    return _SHORT.get(character, f"\\u{ord(character):04x}")
