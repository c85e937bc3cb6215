"""Where the command line writes: results to stdout, notes and progress to stderr."""

from __future__ import annotations

import json
from collections.abc import Mapping

import typer
from rich.console import Console

# Data may hold ":x:" and brackets; they are text, not marks.
out = Console(emoji=False)
notes = Console(stderr=True, emoji=False)


def print_json(value: object) -> None:
    """JSON on stdout, never wrapped."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def print_facts(facts: Mapping[str, object]) -> None:
    """A line for each fact that is known."""
    width = max(map(len, facts), default=0)
    for key, value in facts.items():
        if value is not None:
            out.print(f"{key:{width}} {value}", markup=False, soft_wrap=True)
