"""Settings of an alignment by name, as a user gives them: `held_out=0.2`, `policy.steps=40`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from elicit.align.align_settings import (
    AlignSettings,
    PolicySettings,
    RewardSettings,
    Wording,
)
from elicit.cache.errors import InputError
from elicit.finetune.lora_settings import LoraSettings
from elicit.settings import RunSettings

SEARCH = "search"
"""The part that is a run's settings, which are resolved where every run's are."""
_START = "start"
_PARTS: Mapping[str, type] = {
    "wording": Wording,
    _START: LoraSettings,
    "reward": RewardSettings,
    "policy": PolicySettings,
}
_OWN = tuple(f.name for f in fields(AlignSettings) if f.name not in (*_PARTS, SEARCH))


def by_part(given: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Part → name → value; those of no part are under the empty name.

    Raises:
        InputError: there is no such part, or a part has a seed of its own.
    """
    found: dict[str, dict[str, str]] = {"": {}, SEARCH: {}, **{part: {} for part in _PARTS}}
    for key, value in given.items():
        part, dot, name = key.rpartition(".")
        if part not in found or bool(dot) != bool(part) or (not part and name not in _OWN):
            raise _unknown(key, (*_OWN, *(f"{p}.*" for p in (*_PARTS, SEARCH))))
        if name == "seed" and part:
            raise InputError(f"setting {key}: there is one seed for everything; give --seed")
        found[part][name] = value
    return found


def made_of(parts: Mapping[str, Mapping[str, str]], search: RunSettings) -> AlignSettings:
    """The defaults, but for what is given.

    Args:
        parts: As `by_part` has them; those of the search, and the seed, count in `search`.

    Raises:
        InputError: names a setting that is not there, or can't be so.
    """
    default = AlignSettings()
    made: dict[str, Any] = {
        part: _built(part, kind, getattr(default, part), parts[part])
        for part, kind in _PARTS.items()
    }
    made |= _read("", AlignSettings, {k: v for k, v in parts[""].items() if k != "seed"})
    return AlignSettings(seed=search.seed, search=search, **made)


def _built(part: str, kind: type, default: Any, given: Mapping[str, str]) -> Any:
    """A part with what is given, built once: what must fit together is given together."""
    known = {f.name: getattr(default, f.name) for f in fields(kind)}
    for name in given:
        if name not in known:
            raise _unknown(f"{part}.{name}", tuple(f"{part}.{n}" for n in known if n != "seed"))
    read = _read(f"{part}.", kind, given)
    try:
        return kind(**known | read)
    except InputError as error:
        if part != _START:
            raise
        # Its own words tell of a job of tuning.
        raise InputError(f"{part}.*: {error}") from error


def _read(part: str, kind: type, given: Mapping[str, str]) -> dict[str, object]:
    types = {f.name: f.type for f in fields(kind)}
    return {name: _value(f"{part}{name}", types[name], text) for name, text in given.items()}


def _value(key: str, kind: object, text: str) -> object:
    if kind not in ("int", "float"):
        return text
    try:
        return int(text) if kind == "int" else float(text)
    except ValueError as error:
        wanted = "a whole number" if kind == "int" else "a number"
        raise InputError(f"setting {key}: is {text!r}; it must be {wanted}") from error


def _unknown(key: str, known: tuple[str, ...]) -> InputError:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return InputError(f"align has no setting {key}{hint} (there are {', '.join(known)})")
