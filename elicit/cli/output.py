"""Where the command line writes: results to stdout, notes and progress to stderr."""

from __future__ import annotations

import json
from collections.abc import Mapping

import typer
from rich.console import Console

from elicit.providers.base import Usage

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


def told_usage(usage: Usage) -> str:
    """What was used, in words; what was not is left out."""
    counts = {
        "prompts answered": usage.requests,
        "from the cache": usage.cached,
        "requests sent": usage.calls,
        "tokens forwarded": usage.forwarded_tokens,
        "tokens from the server's prompt cache": usage.cache_read_tokens,
        "tokens without sharing": 0 if usage.calls else usage.prompt_tokens,
    }
    parts = [f"{count:,} {what}" for what, count in counts.items() if count]
    if usage.cost_usd is not None:
        more = f" and {usage.unpriced_calls:,} unpriced" if usage.unpriced_calls else ""
        parts.append(f"${usage.cost_usd:.6f}{more}")
    elif usage.unpriced_calls:
        parts.append("price unknown")
    return ", ".join(parts) or "nothing"
