"""`elicit estimate`: calls, tokens, money and time of a run, before anything is paid."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Annotated

import typer
from rich.table import Table

from elicit.cache.findings import Findings
from elicit.cli.options import (
    AsJson,
    Batch,
    Cache,
    Chains,
    Limit,
    Method,
    Model,
    Prior,
    Seed,
    Set,
    TaskName,
)
from elicit.cli.output import out, print_json
from elicit.cli.tasks import open_task
from elicit.cli.values import resolved
from elicit.estimate import Cost, Estimate, Speed, facts_of
from elicit.estimate import estimate as estimated
from elicit.labelling import check_batch, open_store
from elicit.providers.billing import FIRST_GUESS
from elicit.providers.registry import at_once, in_batches, open_model, tokens_per_character


def estimate(
    task: TaskName,
    model: Model = "tiny",
    method: Method = None,
    seed: Seed = None,
    chains: Chains = None,
    prior: Prior = None,
    limit: Limit = None,
    settings: Set = None,
    batch: Batch = False,
    latency: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds a request takes, as doctor tells: for the time."),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(min=0, help="Tokens a second that a local model forwards: the same."),
    ] = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Count what a run will take, and send nothing: it is rehearsed against made-up models.
    What the store holds of the task (after `elicit baselines`, say) makes the count truer."""
    loaded = open_task(task, limit)
    flags = {"method": method, "seed": seed, "chains": chains, "prior": prior}
    chosen = resolved(task, loaded, settings, **flags).settings
    check_batch(chosen.method, batch=batch)
    with open_store(cache) as store:
        findings = Findings(store)
        with closing(open_model(model, findings, ask=False)) as provider:
            if batch:
                in_batches(provider, store)
            ratio = tokens_per_character(model, findings)
            facts = facts_of(
                provider,
                batch=batch,
                concurrency=at_once(provider),
                tokens_per_character=ratio or FIRST_GUESS,
                speed=Speed(seconds_per_call=latency, tokens_per_second=speed),
            )
            found = estimated(loaded, chosen, facts, store=store)
    if as_json:
        print_json(found.as_dict())
        return
    table = _table(found)
    if table.row_count:
        out.print(table)
    else:
        out.print("nothing: the store has all that the run will ask for")
    for assumption in found.assumptions:
        out.print(f"- {assumption}", markup=False, highlight=False)
    out.print(_NEARER, markup=False, highlight=False)
    if provider.identity.endpoint and ratio is None:
        supposed = "was never asked: how it will be is supposed (`elicit doctor` finds out)"
        out.print(f"- {model} {supposed}", markup=False, highlight=False)


_NEARER = (
    "- begin the run, stop it by --max-requests and estimate again with its seed and settings: "
    "what it then tells of the rest is far nearer, and nothing is paid twice"
)


def _table(found: Estimate) -> Table:
    table = Table("", "low", "middle", "high", title=f"{found.rehearsals} rehearsals")
    costs = (found.low, found.mid, found.high)
    for name, told in _ROWS.items():
        cells = [told(cost) for cost in costs]
        if any(cells):
            table.add_row(name, *cells)
    return table


def _count(value: float) -> str:
    return f"{value:,.0f}" if value else ""


_ROWS: dict[str, Callable[[Cost], str]] = {
    "prompts": lambda c: _count(c.usage.requests),
    "requests sent": lambda c: _count(c.usage.calls),
    "tokens forwarded": lambda c: _count(c.usage.forwarded_tokens),
    "read from a prompt cache": lambda c: _count(c.usage.cache_read_tokens),
    "of all prompts": lambda c: _count(c.usage.prompt_tokens),
    "US dollars": lambda c: "" if c.usage.cost_usd is None else f"{c.usage.cost_usd:.4f}",
    "seconds": lambda c: "" if c.seconds is None else _count(c.seconds),
}
"""Name of a row → what it says of one rehearsal."""
