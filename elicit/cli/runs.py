"""`elicit runs`: the runs of a store."""

from __future__ import annotations

from dataclasses import asdict

from rich.table import Table

from elicit.cache.runs import RunStore
from elicit.cli.options import AsJson, Cache
from elicit.cli.output import out, print_json
from elicit.labelling import open_store
from elicit.outcome import outcome_of


def runs(cache: Cache = None, as_json: AsJson = False) -> None:
    """List runs: their state, what they took, what they found."""
    with open_store(cache) as store:
        found = RunStore(store).list()
    if as_json:
        print_json([{k: v for k, v in asdict(r).items() if k != "result"} for r in found])
        return
    table = Table("run", "state", "method", "model", "seed", "tokens", "dollars", "objective")
    for r in found:
        objective = f"{outcome_of(r).best.objective:.2f}" if r.result else ""
        tokens = f"{int(r.usage.get('forwarded_tokens', 0)):,}"
        dollars = f"{r.usage['cost_usd']:.4f}" if "cost_usd" in r.usage else ""
        table.add_row(
            r.name, r.status, r.method, r.model, str(r.seed), tokens, dollars, objective
        )
    out.print(table)
