"""`elicit batches`: what was handed to a provider's batch endpoint, and calling it off."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from elicit.cache.batches import Batches
from elicit.cache.findings import Findings
from elicit.cache.store import ScoreStore
from elicit.cli.options import AsJson, Cache
from elicit.cli.output import out, print_json
from elicit.labelling import open_store
from elicit.providers.registry import open_model


def batches(
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Only this model's; its whole name.")
    ] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Have the running ones end; see the states.")
    ] = False,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """List submitted batches, or end those that run. What a batch answered is
    billed; resume its run to read it, also after it was ended."""
    with open_store(cache) as store:
        found = Batches(store).records(model)
        names = sorted({b.model for b in found if b.is_open and b.batch})
        ending = (
            [batch for name in names for batch in _cancelled(name, store)] if cancel else []
        )
    rows = [
        asdict(b)
        | {
            "state": "cancelling" if b.batch in ending else b.state,
            "hours": round((time.time() - b.created) / 3600, 2),
        }
        for b in found
    ]
    if as_json:
        print_json(rows)
        return
    columns = ("batch", "model", "state", "requests", "unread", "hours")
    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    out.print(table)


def _cancelled(model: str, store: ScoreStore) -> list[str]:
    from elicit.providers.batching import cancel

    submitted = [b.batch for b in Batches(store).records(model) if b.is_open and b.batch]
    with closing(open_model(model, Findings(store))) as provider:
        return cancel(provider, submitted)
