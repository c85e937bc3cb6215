"""Keys: where they come from, and how they are kept out of every text.

A key lives in a `Secret`, which shows nothing of itself, and is put into a request only
inside the transport (`transport.py`). What a server sends back may hold it again; `redact`
takes it out, however it was written.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Collection
from functools import lru_cache
from html import escape
from typing import NoReturn

from elicit.providers.base import ModelError

MARK = "[key]"
"""What stands in a text where a key stood."""

_BASE64_FROM = 8
"""Shorter keys have too few base64 characters of their own to be told from other text."""


class Secret:
    """A key that no repr, format, log, pickle or copy shows. `reveal()` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself. Never bind it to a name: tracebacks may show local variables."""
        return self._value

    def __repr__(self) -> str:
        return MARK

    def __format__(self, spec: str) -> str:
        return format(MARK, spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is never pickled or copied; read it from the environment again")


def secret_from_environment(variable: str, *, required: bool = True) -> Secret | None:
    """The key that an environment variable holds; None where it may be absent and is.

    Raises:
        ModelError: the key is absent though required, or can't be one: blank, with white
            space in it, or with characters that no HTTP header takes.
    """
    # The value is never a local variable here: an error's traceback could show it.
    fault = _fault(variable)
    if fault is None:
        return Secret(os.environ[variable])
    if fault == "is not set" and not required:
        return None
    raise ModelError(f"{variable} {fault}; set it to your key: export {variable}=...")


def _fault(variable: str) -> str | None:
    value = os.environ.get(variable)
    if value is None:
        return "is not set"
    if not value.strip():
        return "is blank"
    if any(character.isspace() for character in value):
        return "has white space in it (a line break or blank copied along?)"
    if not (value.isascii() and value.isprintable()):
        return "has characters that no key has (a typographic quote or dash copied along?)"
    return None


def redact(text: str, secrets: Collection[str]) -> str:
    """The text with `[key]` wherever a secret stood: plain, percent-encoded, escaped as in
    JSON or HTML (also in part), or base64-encoded, alone or within something longer.

    A secret that was cut short is not recognised, nor one of no characters.
    """
    known = tuple(sorted({s for s in secrets if s}, key=len, reverse=True))
    return _pattern(known).sub(MARK, text) if known else text


@lru_cache(maxsize=32)
def _pattern(secrets: tuple[str, ...]) -> re.Pattern[str]:
    forms = ["".join(map(_character, secret)) for secret in secrets]
    forms += [form for secret in secrets for form in _base64_forms(secret)]
    return re.compile("|".join(forms))


def _character(character: str) -> str:
    """A pattern of every way in which a text may write one character.

    An escape may itself be escaped, up to three times. A bound is needed: without it a reply
    of nothing but backslashes would be searched in quadratic time.
    """
    utf16 = character.encode("utf-16-be")
    units = "".join(rf"\\{{1,8}}u{utf16[i : i + 2].hex()}" for i in range(0, len(utf16), 2))
    percent = "".join(f"%{byte:02x}" for byte in character.encode())
    # An escape goes before the bare character, which would leave the escape's mark behind.
    ways = [f"(?i:{percent}|{units}|&\\#x{ord(character):x};)", f"&\\#{ord(character)};"]
    if escape(character) != character:
        ways.append(re.escape(escape(character)))
    if character == "\\":
        ways.append(r"\\{1,8}")
    elif character.isascii() and not character.isalnum():
        ways.append(r"\\{0,8}" + re.escape(character))
    else:
        ways.append(re.escape(character))
    return f"(?:{'|'.join(ways)})"


def _base64_forms(secret: str) -> list[str]:
    """The characters that a secret alone decides, at each offset from a multiple of three."""
    raw = secret.encode()
    if len(raw) < _BASE64_FROM:
        return []
    forms = []
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + raw).decode()
        core = encoded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]
        either = "".join({"+": r"[+\-]", "/": "[/_]"}.get(c, c) for c in core)
        # One more character holds the secret's last bits beside what follows it.
        forms.append(f"{either}[A-Za-z0-9+/_-]?={{0,2}}")
    return forms
