"""`elicit eval`: what a run's labels are worth against gold ones."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from elicit.cache.errors import InputError
from elicit.cache.runs import RunStore
from elicit.cli.options import AsJson, Cache, RunName
from elicit.cli.output import notes, out, print_facts, print_json
from elicit.cli.tasks import open_task, task_file, tell_reworded
from elicit.evaluation import Evaluation
from elicit.labelling import open_store, task_path_of
from elicit.outcome import outcome_of, result_of
from elicit.run_gold import against_gold

CURVE_COLUMNS = ("curve", "x", "y", "n", "low", "high")


def evaluate_run(
    name: RunName,
    gold: Annotated[str | None, typer.Option(help="A task file with a gold column.")] = None,
    curves: Annotated[
        Path | None,
        typer.Option(help="Write the calibration and risk-coverage curves here, as CSV."),
    ] = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Compare a run's labels with gold labels."""
    with open_store(cache) as store:
        found = RunStore(store).get(name)
    result_of(found)
    source = gold or task_path_of(found)
    task = open_task(source)
    tell_reworded(found, task, source)
    result = against_gold(found, task, task_file(source), source).evaluation
    inconsistency = outcome_of(found).answer.inconsistency
    if curves is not None:
        _write_curves(curves, result)
        notes.print(f"curves: {curves}", markup=False, soft_wrap=True)
    if as_json:
        print_json(
            result.as_dict()
            | {"label_names": list(task.labels), "inconsistency": inconsistency}
        )
        return
    print_facts(_facts(result) | {"inconsistency": inconsistency})
    out.print(_table(task.labels, result))


def _facts(result: Evaluation) -> dict[str, object]:
    accuracy = result.accuracy
    clusters = "" if accuracy.groups == accuracy.n else f" in {accuracy.groups} groups"
    facts: dict[str, object] = {
        "accuracy": f"{accuracy.percent()}, n = {accuracy.n}{clusters}",
        "balanced accuracy": f"{100 * result.balanced_accuracy:.1f} %",
        "majority": f"{100 * result.majority:.1f} %, always the commonest gold label",
    }
    if result.answered < 1:
        facts["answered"] = f"{100 * result.answered:.1f} % of {result.gold_items} with gold"
    facts |= {
        "AUROC": _number(result.auroc),
        "calibration error": _number(result.calibration_error),
        "Brier score": _number(result.brier),
        "log score": _number(result.log_score, " nats"),
        "AURC": _number(result.aurc),
    }
    for share, estimate in result.at_coverage.items():
        facts[f"surest {100 * float(share):.0f} %"] = estimate.percent()
    return facts


def _number(value: float | None, unit: str = "") -> str | None:
    return None if value is None else f"{value:.3f}{unit}"


def _table(names: Sequence[str], result: Evaluation) -> Table:
    table = Table("label")
    for column in ("share of gold", "share given", "precision", "recall"):
        table.add_column(column, justify="right")
    for measure in result.labels:
        values = (measure.gold_share, measure.given_share, measure.precision, measure.recall)
        cells = ("" if value is None else f"{100 * value:.1f} %" for value in values)
        table.add_row(escape(names[measure.label]), *cells)
    return table


def _write_curves(path: Path, result: Evaluation) -> None:
    """One row a point: `calibration` is confidence, accuracy; `risk_coverage` coverage, error.

    Raises:
        InputError: the file can't be written.
    """
    drawn = {"calibration": result.calibration, "risk_coverage": result.risk_coverage}
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(CURVE_COLUMNS)
            for curve, points in drawn.items():
                rows.writerows((curve, *astuple(point)) for point in points)
    except OSError as error:
        raise InputError(f"--curves {path}: can't be written ({error.strerror})") from error
