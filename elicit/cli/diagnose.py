"""`elicit diagnose`: will elicitation work here? No gold labels are needed."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from elicit.cli.options import (
    AsJson,
    Cache,
    Limit,
    MaxCost,
    MaxRequests,
    MaxTokens,
    Method,
    Model,
    Prior,
    Seed,
    Set,
    TaskName,
    limits_of,
)
from elicit.cli.output import notes, out, print_facts, print_json, told_usage
from elicit.cli.progress import shown_progress
from elicit.cli.tasks import open_task
from elicit.cli.values import resolved
from elicit.diagnose import Diagnosis
from elicit.diagnose import diagnose as diagnosed
from elicit.salience import Evidence
from elicit.settings import Resolved
from elicit.verdict import told_verdict

SHOWN_FEATURES = 5


def diagnose(
    task: TaskName,
    model: Model = "tiny",
    chains: Annotated[
        int, typer.Option(min=2, help="Searches; as many again where these do not settle it.")
    ] = 4,
    comparisons: Annotated[
        int, typer.Option(min=2, help="Permuted, and random, labellings to compare with.")
    ] = 10,
    method: Method = "bootstrap",
    seed: Seed = None,
    prior: Prior = None,
    limit: Limit = None,
    settings: Set = None,
    max_cost: MaxCost = None,
    max_requests: MaxRequests = None,
    max_tokens: MaxTokens = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Will this work here? Searches from random labels, with no gold. Repeated, it is free."""
    loaded = open_task(task, limit)
    given = resolved(task, loaded, settings, method=method, seed=seed, prior=prior)
    chosen = given.settings
    _tell_start(given)
    with shown_progress(notes, loaded.name) as progress:
        found = diagnosed(
            loaded,
            model,
            settings=chosen,
            chains=chains,
            comparisons=comparisons,
            cache=cache,
            limits=limits_of(max_cost, max_requests, max_tokens),
            on_progress=progress.progress,
            on_usage=progress.usage,
        )
    if as_json:
        print_json(found.as_dict())
        return
    _print(found)


def _tell_start(given: Resolved) -> None:
    """Note a start that was asked for and is not used."""
    chosen, origin = given.settings, given.origins["start"]
    start = chosen.bootstrap.start
    if origin != "default" and chosen.method == "bootstrap" and start != "random":
        notes.print(
            f"note: start = {start} ({origin}) is for `elicit run`: a diagnosis starts at "
            "random, as searches from the same labels agree whatever they find",
            markup=False,
            soft_wrap=True,
        )


def _print(found: Diagnosis) -> None:
    e = found.evidence
    head = f"{found.task}, {found.items} items: {told_verdict(e)}"
    out.print(head, style="bold", markup=False, soft_wrap=True)
    for finding in found.findings:
        out.print()
        out.print(f"{finding.kind} {finding.code}: {finding.seen}", markup=False)
        out.print(f"  {finding.next}", markup=False)
    out.print()
    print_facts(facts(e))
    out.print()
    out.print(_comparisons(e))
    for name, items in zip(e.label_names, found.surest, strict=True):
        out.print(f"surest {name}:", markup=False)
        for item in items:
            text = " ".join(item.text.split())
            out.print(f"  {item.log_odds:6.2f}  {text[:200]}", markup=False, highlight=False)
    if e.surface:
        out.print(_features(e))
    out.print(told_usage(found.usage), markup=False)


def facts(e: Evidence) -> dict[str, object]:
    """What is printed of the evidence, a line each."""
    told = e.reported.information
    shares = zip(e.label_names, e.reported.shares, strict=True)
    return {
        "labels": ", ".join(f"{name} {share:.0%}" for name, share in shares),
        "predicted": f"{told.relative:.0%} of the labels' entropy, {abs(told.total):.1f} nats "
        f"{'worse' if told.total < 0 else 'better'} than by their shares",
        "found again": f"by {e.again} of {len(e.others)} other chains",
        "agreement": f"{e.agreement:.0%} by names, {e.agreement_up_to_names:.0%} as splits, "
        f"{e.adjusted_rand:.2f} adjusted for chance",
        "coverage": None if e.mean_coverage is None else f"{e.mean_coverage:.3f}",
    }


def _comparisons(e: Evidence) -> Table:
    away = "" if e.deviations is None else f" ({e.deviations:+.1f} deviations over permuted)"
    table = Table(title=f"objective of the labels found{away}")
    for column in ("labels", "U, mean", "P, highest"):
        table.add_column(column, justify="left" if column == "labels" else "right")
    table.add_row("found", f"{e.objective:.2f}", f"{e.predictability:.3f}")
    for other in e.comparisons:
        table.add_row(other.kind, f"{other.objective:.2f}", f"{max(other.predictability):.3f}")
    return table


def _features(e: Evidence) -> Table:
    table = Table(title="surface features that go with the labels")
    for column in ("feature", "balanced accuracy", "labels"):
        table.add_column(column)
    for a in e.surface[:SHOWN_FEATURES]:
        name = a.feature if a.shown else f"{a.feature} (not seen by the model)"
        table.add_row(name, f"{a.accuracy:.0%} (chance {a.chance:.0%})", a.tells)
    return table
