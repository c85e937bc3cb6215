"""Options that several commands share, so that each is spelt and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elicit.cache.errors import InputError
from elicit.cli.completion import (
    complete_methods,
    complete_runs,
    complete_settings,
    complete_tasks,
)
from elicit.providers.usage import Limits

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Batch = Annotated[
    bool,
    typer.Option(
        "--batch",
        help="Ask a hosted model through its provider's batch endpoint: half the price, up to "
        "a day. An interrupted run is resumed and reads what was submitted.",
    ),
]
Cache = Annotated[
    Path | None, typer.Option("--cache", help="The store's file.", envvar="ELICIT_CACHE")
]
Chains = Annotated[int | None, typer.Option("--chains", help="Independent searches.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first items.")]
MaxCost = Annotated[
    float | None,
    typer.Option("--max-cost", min=0, help="Stop before so many US dollars are spent."),
]
MaxRequests = Annotated[
    int | None,
    typer.Option("--max-requests", min=0, help="Stop before so many requests are sent."),
]
MaxTokens = Annotated[
    int | None,
    typer.Option("--max-tokens-spent", min=0, help="Stop before so many tokens are spent."),
]
Abstain = Annotated[
    float | None,
    typer.Option("--abstain", help="Leave this share of the items, the least certain, out."),
]
Prior = Annotated[
    str | None,
    typer.Option("--prior", help="Expected shares of the labels, as False=0.9,True=0.1."),
]
Method = Annotated[
    str | None,
    typer.Option("--method", help="icm or bootstrap.", autocompletion=complete_methods),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="llama-cpp:FILE.gguf, llama-cpp:hf:ORG/REPO/FILE.gguf, openai:MODEL, "
        "anthropic:MODEL, compatible:URL#MODEL, together:, fireworks:, openrouter:, groq:, "
        "vllm:, ollama:, lm-studio: or llama-server:MODEL, or tiny; each may end in settings, "
        "?threads=4&n_ctx=8192.",
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Decides every draw.")]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A run's name; `elicit runs` lists them.",
        autocompletion=complete_runs,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Any other setting, NAME=VALUE.", autocompletion=complete_settings
    ),
]
TaskName = Annotated[
    str,
    typer.Argument(
        metavar="TASK",
        help="A task file, or an embedded task's name.",
        autocompletion=complete_tasks,
    ),
]


def limits_of(cost: float | None, requests: int | None, tokens: int | None) -> Limits:
    """The bounds on what this call of elicit may spend."""
    return Limits(cost_usd=cost, calls=requests, tokens=tokens)


def assignments(texts: list[str] | None) -> dict[str, object]:
    """`NAME=VALUE` of every `--set`.

    Raises:
        InputError: one has no `=`.
    """
    values: dict[str, object] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text}: write NAME=VALUE")
        values[name.strip()] = value.strip()
    return values
