"""`elicit export`: a run's labels as a table or as training data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elicit.cache.errors import InputError
from elicit.cache.runs import RunStore
from elicit.cli.options import AsJson, Cache
from elicit.cli.output import print_facts, print_json
from elicit.cli.tasks import open_task
from elicit.export import Format, export
from elicit.labelling import open_store, task_path_of
from elicit.outcome import result_of
from elicit.whole_file import save


def export_run(
    name: Annotated[str, typer.Argument(help="A finished run's name.")],
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="A table (jsonl, csv, parquet), or training data: sft (prompt and "
            "completion), chat (messages), dpo (prompt, chosen and rejected).",
        ),
    ] = "jsonl",
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write here; parquet needs it.")
    ] = None,
    min_log_odds: Annotated[
        float | None,
        typer.Option(
            "--min-log-odds", help="Leave out labels less certain than this, in nats."
        ),
    ] = None,
    chat: Annotated[
        bool,
        typer.Option("--chat", help="Write sft and dpo as messages, for a model that chats."),
    ] = False,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Write a run's labels for other programs: all of them or no file."""
    if out_file is None and form == "parquet":
        raise InputError("parquet is no text to print: name a file (--out)")
    if out_file is None and as_json:
        raise InputError("--json tells of a file that was written: name it (--out)")
    with open_store(cache) as store:
        run = RunStore(store).get(name)
    result_of(run)
    task = open_task(task_path_of(run), int(run.settings["items"]))
    made = export(run, task, form, min_log_odds=min_log_odds, chat=chat)
    if out_file is None:
        typer.echo(made.content, nl=False)
        return
    save(out_file, made.content)
    facts = {
        "run": run.name,
        "format": form,
        "rows": made.rows,
        "left_out": made.left_out,
        "path": str(out_file),
    }
    if as_json:
        print_json(facts)
    else:
        print_facts(facts)
