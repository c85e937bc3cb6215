"""From a backend's name to a provider that tunes models. Its packages are imported then."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from elicit.cache.errors import InputError
from elicit.finetune.hosted import HostedTuning
from elicit.finetune.sft_file import RULES, FileRules

if TYPE_CHECKING:
    from elicit.providers.submission import Patience

HOSTED = ("openai", "together", "fireworks")
"""Providers that tune models."""
ALIGN = "align"
"""Of the jobs that `elicit align` begins and goes on with."""


def open_tuning(
    name: str, patience: Patience | None = None, *, listed_after: float | None = None
) -> HostedTuning:
    """The provider of that name. Nothing is sent yet.

    Args:
        patience: how calls are tried again.
        listed_after: how long `created` waits for a job to be listed before it says that
            there is none, seconds; a minute where None. Whoever knows how long ago the job
            may have been made can take that off.

    Raises:
        InputError: there is none of that name, or its key is not set.
    """
    check_name(name)
    try:
        from elicit.finetune.made_once import LISTED_AFTER

        waits = LISTED_AFTER if listed_after is None else listed_after
        if name == "openai":
            from elicit.finetune.openai import open_openai

            return open_openai(patience, waits)
        if name == "together":
            from elicit.finetune.together import open_together

            return open_together(patience, waits)
        from elicit.finetune.fireworks import open_fireworks

        return open_fireworks(patience)
    except ImportError as error:
        raise InputError(
            f"tuning at {name} needs some packages ({error.name}): "
            "pip install 'elicit-lm[hosted]'"
        ) from error


def check_name(name: str, *others: str) -> None:
    """Raises:
    InputError: no provider of that name tunes models, and it is none of the others.
    """
    names = (*others, *HOSTED)
    known = ", ".join(names)
    if name == "anthropic":
        raise InputError(
            f"anthropic has no fine-tuning endpoint; tune at one of {', '.join(HOSTED)}, or on "
            "this machine"
        )
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"{name}: no such provider of fine-tuning{hint} (known: {known})")


def rules(name: str) -> FileRules:
    """What a provider takes as a training file.

    Raises:
        InputError: no provider of that name tunes models.
    """
    check_name(name)
    return RULES[name]
