"""The settings of a tuning job, as each provider can be told them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from elicit.cache.errors import InputError
from elicit.finetune.hosted import Submission

Kind = Literal["count", "rate", "seed"]
"""A whole number from 1 up, a number above 0, a whole number from 0 up."""

_WANTED: Mapping[Kind, str] = {
    "count": "a whole number from 1 up",
    "rate": "a number above 0",
    "seed": "a whole number from 0 up",
}


@dataclass(frozen=True, slots=True)
class Known:
    """A setting that a provider has."""

    field: str
    """Its name in the provider's request."""
    kind: Kind


def told(
    submission: Submission,
    provider: str,
    known: Mapping[str, Known],
    instead: Mapping[str, str] | None = None,
) -> dict[str, int | float]:
    """The settings under the provider's own names.

    Args:
        known: by elicit's names.
        instead: of settings that it does not have, what to do.

    Raises:
        InputError: a setting that the provider does not have, or a value that can't be one.
    """
    made: dict[str, int | float] = {}
    for name, value in submission.settings.items():
        setting = known.get(name)
        if setting is None:
            hint = (instead or {}).get(name)
            near = difflib.get_close_matches(name, known, n=1)
            if hint is None:
                hint = f"did you mean {near[0]}?" if near else "leave it out"
            raise InputError(
                f"{provider} has no setting {name} ({hint}); known: {', '.join(known)}"
            )
        made[setting.field] = _number(f"{provider}: {name}", value, setting.kind)
    return made


def _number(what: str, value: float | int | str, kind: Kind) -> int | float:
    if not isinstance(value, bool | str):
        least = 0 if kind == "seed" else 1
        whole = isinstance(value, int) and value >= least
        if whole or (kind == "rate" and 0 < value < math.inf):
            return value
    raise InputError(f"{what} is {value!r}; it must be {_WANTED[kind]}")
