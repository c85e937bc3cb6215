"""Joins the settings of a run from where a user gives them."""

from __future__ import annotations

import os

from elicit.cli.options import assignments
from elicit.settings import Resolved, resolve, setting_types
from elicit.task import Task


def resolved(name: str, task: Task, assigned: list[str] | None, **flags: object) -> Resolved:
    """`--set` over flags, those over the task file, that over the environment, that over
    defaults.

    Raises:
        InputError: a setting is unknown or its value unusable; names the origin.
    """
    # Flags are settings of the run, never of one method, so which of them is the stronger
    # decides nothing.
    given = [(_option(flag), {flag: v}) for flag, v in flags.items() if v is not None]
    assigned_values = ("--set", assignments(assigned))
    return resolve(assigned_values, *given, (name, task.settings), ("ELICIT_*", _environment()))


def _option(flag: str) -> str:
    return f"--{flag.replace('_', '-')}"


def _environment() -> dict[str, object]:
    """`ELICIT_SEED` and the like; names of other use are left alone."""
    names = {f"ELICIT_{name.upper()}": name for name in setting_types()}
    return {names[key]: value for key, value in os.environ.items() if key in names}
