"""What the shell offers for a word that is being typed: runs, tasks, methods, settings.

Whatever hinders a look at the store offers nothing: a shell that is waiting for a key shows
no errors, and typing goes on without.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import get_args

import typer

from elicit.cache.location import store_path
from elicit.cache.run_names import runs_beginning

Offered = list[tuple[str, str]]
"""Words with a short explanation of each, which zsh and fish show."""


def complete_runs(ctx: typer.Context, incomplete: str) -> Offered:
    """Names of runs in the store, the latest first."""
    return runs_beginning(store_path(ctx.params.get("cache")), incomplete)


def complete_tasks(incomplete: str) -> Offered:
    """Embedded tasks and task files."""
    from elicit.cli.tasks import embedded_tasks

    names = [
        (name, "embedded task") for name in embedded_tasks() if name.startswith(incomplete)
    ]
    return [*names, *((path, "task file") for path in _files(incomplete, ".toml"))]


def complete_methods(incomplete: str) -> Offered:
    """Methods of search."""
    from elicit.settings import Method

    return [(name, "") for name in get_args(Method) if name.startswith(incomplete)]


def complete_settings(incomplete: str) -> Offered:
    """NAME=VALUE for `--set`: each value there is to choose from, or the default."""
    from elicit.search.bootstrap import BootstrapSettings
    from elicit.search.icm import ICMSettings
    from elicit.settings import RunSettings, setting_types

    defaults: dict[str, object] = {}
    for settings in (ICMSettings(), BootstrapSettings(), RunSettings()):
        defaults |= {f.name: getattr(settings, f.name) for f in fields(settings)}
    offered: Offered = []
    for name, kind in setting_types().items():
        default = defaults[name]
        choices = ("true", "false") if kind is bool else get_args(kind) or (default,)
        told = f"{str(default).lower() if kind is bool else default or 'none'} is the default"
        offered += [(f"{name}={choice}", told) for choice in choices]
    return [(word, told) for word, told in offered if word.startswith(incomplete)]


def _files(incomplete: str, suffix: str) -> list[str]:
    """Files with this suffix whose path begins so, in its folder alone."""
    folder, _, start = incomplete.rpartition("/")
    place = Path(f"{folder}/" if "/" in incomplete else ".")
    try:
        found = sorted(
            p.name for p in place.iterdir() if p.name.startswith(start) and p.suffix == suffix
        )
    except OSError:
        return []
    prefix = f"{folder}/" if "/" in incomplete else ""
    return [f"{prefix}{name}" for name in found if start or not name.startswith(".")]
