"""`elicit run` and `elicit resume`: label a task, and go on with what was interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from elicit.cache.errors import InputError
from elicit.cli.options import (
    Abstain,
    AsJson,
    Batch,
    Cache,
    Chains,
    Limit,
    MaxCost,
    MaxRequests,
    MaxTokens,
    Method,
    Model,
    Prior,
    RunName,
    Seed,
    Set,
    TaskName,
    limits_of,
)
from elicit.cli.output import notes, print_facts, print_json, told_usage
from elicit.cli.progress import shown_progress
from elicit.cli.tasks import open_task
from elicit.cli.values import resolved
from elicit.labelling import Result, label, resume
from elicit.providers.usage import Limits
from elicit.settings import Resolved


def run(
    task: TaskName,
    model: Model = "tiny",
    method: Method = None,
    name: Annotated[str | None, typer.Option(help="What to call the run.")] = None,
    out_folder: Annotated[Path | None, typer.Option("--out", help="Write labels here.")] = None,
    seed: Seed = None,
    chains: Chains = None,
    prior: Prior = None,
    abstain: Abstain = None,
    limit: Limit = None,
    settings: Set = None,
    max_cost: MaxCost = None,
    max_requests: MaxRequests = None,
    max_tokens: MaxTokens = None,
    show_settings: Annotated[
        bool, typer.Option("--show-settings", help="Print settings and their origin, and stop.")
    ] = False,
    cache: Cache = None,
    batch: Batch = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Open no store: nothing is read or kept.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Label a task. What is interrupted goes on with `elicit resume`."""
    loaded = open_task(task, limit)
    chosen = resolved(
        task,
        loaded,
        settings,
        method=method,
        seed=seed,
        chains=chains,
        prior=prior,
        abstain=abstain,
    )
    if show_settings:
        _show(chosen, as_json)
        return
    limits = limits_of(max_cost, max_requests, max_tokens)
    if no_cache and limits != Limits():
        raise InputError("a budget needs the store to go on from: drop --no-cache")
    with shown_progress(notes, loaded.name) as progress:
        result = label(
            loaded,
            model,
            name=name,
            cache=False if no_cache else cache,
            limits=limits,
            settings=chosen.settings,
            on_progress=progress.progress,
            on_usage=progress.usage,
            batch=batch,
        )
    _report(result, out_folder, as_json)


def resume_run(
    name: RunName,
    out_folder: Annotated[Path | None, typer.Option("--out", help="Write labels here.")] = None,
    max_cost: MaxCost = None,
    max_requests: MaxRequests = None,
    max_tokens: MaxTokens = None,
    force: Annotated[
        bool, typer.Option("--force", help="Take it over from a machine that is gone.")
    ] = False,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Go on with an interrupted run, as if it had never stopped."""
    with shown_progress(notes, name) as progress:
        result = resume(
            name,
            open_task,
            cache=cache,
            limits=limits_of(max_cost, max_requests, max_tokens),
            on_progress=progress.progress,
            on_usage=progress.usage,
            force=force,
        )
    notes.print(f"{result.usage.cached:,} scores came from the cache")
    _report(result, out_folder, as_json)


def _report(result: Result, folder: Path | None, as_json: bool) -> None:
    summary = result.summary()
    if folder is not None:
        summary["saved"] = str(result.save(folder / f"{result.run.name}.jsonl"))
    if as_json:
        print_json(summary | {"rows": list(result.rows())})
        return
    del summary["warnings"]
    print_facts(summary | _in_words(summary, result) | {"usage": told_usage(result.usage)})
    for finding in result.findings:
        if finding.kind == "warning":
            notes.print(f"warning {finding.code}: {finding.seen}", markup=False)
            notes.print(f"  {finding.next}", markup=False)
    notes.print(f"see them: elicit report {result.run.name}", markup=False, soft_wrap=True)


def _in_words(summary: Mapping[str, object], result: Result) -> dict[str, object]:
    """What is easier read in words."""
    names = [row["label"] for row in result.rows()]
    digits = {"objective": 3, "agreement": 3, "mean_coverage": 4, "bounded_share": 3}
    known = {name: value for name in digits if isinstance(value := summary[name], float)}
    return {
        "labels": ", ".join(f"{name} {names.count(name)}" for name in result.task.labels),
        **{name: f"{value:.{digits[name]}f}" for name, value in known.items()},
    }


def _show(resolved: Resolved, as_json: bool) -> None:
    """Every setting with where its value came from."""
    settings = resolved.settings
    values = {k: v for k, v in settings.as_dict().items() if not isinstance(v, dict)}
    values |= asdict(settings.search)
    shown = {k: {"value": v, "origin": resolved.origins[k]} for k, v in values.items()}
    if as_json:
        print_json(shown)
        return
    for key, entry in shown.items():
        typer.echo(f"{key} = {entry['value']}   ({entry['origin']})")
