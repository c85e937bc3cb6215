"""The command line: parses, calls the library, prints. Results go to stdout."""

from __future__ import annotations

import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from elicit.cache.errors import ElicitError, InputError
from elicit.cache.runs import RunStore
from elicit.cli import cache as cache_commands
from elicit.cli.align import align
from elicit.cli.baselines import baselines
from elicit.cli.batches import batches
from elicit.cli.diagnose import diagnose
from elicit.cli.doctor import doctor
from elicit.cli.estimate import estimate
from elicit.cli.evaluate import evaluate_run
from elicit.cli.export import export_run
from elicit.cli.finetune import finetune
from elicit.cli.iterate import iterate
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
    Seed,
    Set,
    TaskName,
    limits_of,
)
from elicit.cli.output import notes, out, print_facts, print_json, told_usage
from elicit.cli.progress import shown_progress
from elicit.cli.tasks import embedded_tasks, open_task
from elicit.cli.values import resolved
from elicit.demo import demonstrate
from elicit.labelling import Result, label, open_store, resume
from elicit.outcome import outcome_of
from elicit.providers.usage import Limits
from elicit.settings import Resolved

app = typer.Typer(
    help="Label data with a language model and no labels at all.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(cache_commands.app, name="cache")


@app.command()
def demo(
    seeds: Annotated[int, typer.Option(min=1, help="Independent searches.")] = 5,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """The embedded model labels an embedded task; compares it with its baselines."""
    with shown_progress(notes, "demo") as progress:
        result = demonstrate(
            embedded_tasks()["claims"], seeds=seeds, cache=cache, on_progress=progress.progress
        )
    if as_json:
        print_json(result.as_dict())
        return
    table = Table(title=f"claims: {result.items} items, {result.seeds} seeds")
    table.add_column("labels from")
    table.add_column("accuracy (95 % interval over seeds)", justify="right")
    for name, accuracy in result.accuracy.items():
        table.add_row(name, accuracy.percent() if result.seeds > 1 else f"{accuracy.value:.1%}")
    out.print(table)
    out.print(
        f"{result.usage.forwarded_tokens:,} tokens forwarded "
        f"({result.usage.prompt_tokens:,} without sharing), "
        f"{result.usage.cached:,} scores from the cache"
    )


@app.command()
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


@app.command(name="resume")
def resume_run(
    name: Annotated[str, typer.Argument(help="A run's name; `elicit runs` lists them.")],
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


app.command(name="eval")(evaluate_run)
app.command()(estimate)
app.command()(baselines)
app.command()(diagnose)
app.command()(doctor)
app.command()(batches)
app.command()(finetune)
app.command()(iterate)
app.command()(align)
app.command(name="export")(export_run)


@app.command()
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


@app.command()
def tasks(
    check: Annotated[str | None, typer.Argument(help="A task file to check.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the embedded tasks, or check a task file and show its first prompt."""
    names = [check] if check else list(embedded_tasks())
    described = []
    for name in names:
        task = open_task(name)
        rules = task.rules()
        described.append(
            {
                "name": name,
                "items": len(task.items),
                "labels": list(task.labels),
                "pairs": len(rules.pairs),
                "example": task.render().questions[0].text,
            }
        )
    if as_json:
        print_json(described)
        return
    for d in described:
        out.print(
            f"{d['name']}: {d['items']} items, {d['pairs']} constrained pairs", markup=False
        )
        out.print(f"  {d['example']}", markup=False)


def _report(result: Result, folder: Path | None, as_json: bool) -> None:
    summary = result.summary()
    if folder is not None:
        summary["saved"] = str(result.save(folder / f"{result.run.name}.jsonl"))
    if as_json:
        print_json(summary | {"rows": list(result.rows())})
        return
    print_facts(summary | {"usage": told_usage(result.usage)})


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


def _terminated(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; exit codes are those of the README."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        app(standalone_mode=True)
    except ElicitError as error:
        notes.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(error.exit_code)
