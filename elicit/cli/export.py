"""`elicit export`: a run's labels as a table, as training data, or for another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from elicit.cache.errors import InputError
from elicit.cache.runs import RunStore
from elicit.cli.options import AsJson, Cache, RunName
from elicit.cli.output import print_facts, print_json
from elicit.cli.tasks import open_task
from elicit.export import Export, Format, export
from elicit.export_folder import FolderExport, FolderFormat, export_folder
from elicit.labelling import open_store, task_path_of
from elicit.outcome import result_of
from elicit.whole_file import save


def export_run(
    name: RunName,
    form: Annotated[
        Literal[Format, FolderFormat],
        typer.Option(
            "--format",
            help="A table (jsonl, csv, parquet); training data: sft (prompt and "
            "completion), chat (messages), dpo (prompt, chosen and rejected); or a folder: "
            "dataset (Hugging Face), inspect and lm-eval (a test of other models by the "
            "labels).",
        ),
    ] = "jsonl",
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write here; parquet and folders need it.")
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
    """Write a run's labels for other programs: all of them or nothing."""
    if out_file is None and form == "parquet":
        raise InputError("parquet is no text to print: name a file (--out)")
    if out_file is None and as_json:
        raise InputError("--json tells of a file that was written: name it (--out)")
    with open_store(cache) as store:
        run = RunStore(store).get(name)
    result_of(run)
    task = open_task(task_path_of(run), int(run.settings["items"]))
    made: Export | FolderExport
    # As `==`, since mypy does not learn from a failed `in` what else it can be.
    if form == "dataset" or form == "inspect" or form == "lm-eval":  # noqa: PLR1714
        if out_file is None:
            raise InputError(f"{form} is a folder: name it (--out)")
        made = export_folder(run, task, form, out_file, min_log_odds=min_log_odds, chat=chat)
    else:
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
