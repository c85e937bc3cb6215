"""Settings behind a model's name: `model.gguf?threads=4`, `openai:MODEL?samples=16`."""

from __future__ import annotations

import difflib
from typing import Any, TypeVar, get_args, get_type_hints

from elicit.cache.errors import InputError

Settings = TypeVar("Settings")


def parse_settings(kind: type[Settings], text: str) -> Settings:
    """The settings, a dataclass of whole numbers, numbers, truths and choices, that a text
    `NAME=VALUE&NAME=VALUE` gives.

    Raises:
        InputError: names the setting that is unknown or unusable.
    """
    kinds = get_type_hints(kind)
    values: dict[str, Any] = {}
    for part in text.split("&") if text else ():
        name, _, value = part.partition("=")
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"model setting {name!r}{hint} (known: {', '.join(kinds)})")
        values[name] = _parsed(name, value, kinds[name])
    return kind(**values)


def _parsed(name: str, value: str, kind: Any) -> object:
    if kind is int and value.isdecimal():
        return int(value)
    if kind is float:
        try:
            return float(value)
        except ValueError as error:
            raise InputError(
                f"model setting {name}: must be a number, not {value!r}"
            ) from error
    choices = {"true": True, "false": False} if kind is bool else {c: c for c in get_args(kind)}
    if value in choices:
        return choices[value]
    wanted = "a whole number" if kind is int else " or ".join(choices)
    raise InputError(f"model setting {name}: must be {wanted}, not {value!r}")
