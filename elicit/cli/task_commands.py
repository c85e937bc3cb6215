"""`elicit tasks`: lists tasks, checks a task file, drafts one from data."""

from __future__ import annotations

import difflib
import os
import shlex
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from elicit.cache.errors import InputError
from elicit.cli.completion import complete_tasks
from elicit.cli.options import AsJson
from elicit.cli.output import notes, out, print_json
from elicit.cli.tasks import embedded_tasks, open_task
from elicit.drafting.draft import Draft, draft
from elicit.drafting.rows import rows_for_draft
from elicit.drafting.toml_text import plain
from elicit.prompt import TaskError
from elicit.task import Task
from elicit.task_file import load_task
from elicit.task_notes import task_notes
from elicit.whole_file import save

LONGEST_EXAMPLE = 1_500
"""Characters of a prompt that are printed; --json has all of it."""


class TaskGroup(TyperGroup):
    """Takes a first argument that is no command for a task to check."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = next((i for i, text in enumerate(args) if not text.startswith("-")), None)
        if first is not None:
            check = [] if self._is_command(args[first:]) else ["check"]
            # Options before the name are the command's own: the group has none but to list.
            args = [*check, *args[first:], *args[:first]]
        return super().parse_args(ctx, args)

    def _is_command(self, args: list[str]) -> bool:
        """Whether the first is a command, or a slip of the finger for one: no task is called
        so, and it is like one or has an argument of its own."""
        name, *rest = args
        if name in self.commands:
            return True
        is_task = name in embedded_tasks() or Path(name).suffix or Path(name).exists()
        like = difflib.get_close_matches(name, [*self.commands, *embedded_tasks()], n=1)
        more = any(not text.startswith("-") for text in rest)
        return not is_task and (more or bool(like and like[0] in self.commands))

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """The commands, and the tasks that may stand in their place."""
        (task,) = (p for p in self.commands["check"].params if p.name == "task")
        return [
            *super().shell_complete(ctx, incomplete),
            *task.shell_complete(ctx, incomplete),
        ]


tasks_app = typer.Typer(
    cls=TaskGroup,
    help="List the embedded tasks, check or draft a task file.",
    invoke_without_command=True,
    add_completion=False,
    subcommand_metavar="[TASK | new DATA]",
)


@tasks_app.callback()
def tasks(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the embedded tasks; `elicit tasks TASK` checks one and shows its first prompt;
    `elicit tasks new DATA` drafts a task file."""
    if ctx.invoked_subcommand is None:
        described = [_described(name, open_task(name)) for name in embedded_tasks()]
        if as_json:
            print_json(described)
            return
        for entry in described:
            _print_task(entry)


@tasks_app.command()
def check(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="A task file.", autocompletion=complete_tasks)
    ],
    as_json: AsJson = False,
) -> None:
    """Check a task file and show its first prompt. `elicit tasks TASK` is short for it."""
    loaded = open_task(task)
    found = task_notes(loaded)
    entry = _described(task, loaded)
    if as_json:
        print_json([entry | {"notes": found}])
        return
    _print_task(entry)
    _print_notes(found)


@tasks_app.command()
def new(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A .csv, .jsonl or .parquet file, or hf:ORG/NAME.",
        ),
    ],
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write here; NAME.toml is the default.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", help="The labels, as A,B: nothing is guessed.")
    ] = None,
    item: Annotated[
        str | None,
        typer.Option("--item", help="The prompt, with {{ NAME }} where a column's text is."),
    ] = None,
    gold: Annotated[
        str | None, typer.Option("--gold", help="The column of gold labels, for evaluation.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that is there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Draft a task file by looking at the columns of data, and say what was guessed."""
    path = out_file or Path(f"{_stem(data)}.toml")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file with --out")
    if path.exists() and not force:
        raise InputError(f"{path}: is there already; give --force to replace it, or --out")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it, or change --out")
    made = _drafted(data, path, labels=_labels(labels), gold=gold, item=item)
    task = _checked(made, path)
    save(path, made.text.encode())
    entry = _described(str(path), task)
    found = task_notes(task)
    following = _next(path)
    if as_json:
        guesses = [asdict(finding) for finding in made.findings]
        print_json(entry | {"guesses": guesses, "notes": found, "next": following})
        return
    _print_draft(entry, made)
    _print_notes(found)
    _print("", "next, with a model you have (`elicit run --help` tells how models are named):")
    _print(*(f"  {command}" for command in following))
    _print("the default model, tiny, knows only its own invented world")


def _drafted(
    data: str, path: Path, *, labels: list[str], gold: str | None, item: str | None
) -> Draft:
    rows = rows_for_draft(data, Path())
    source = _source(data, path.parent)
    try:
        return draft(rows, source=source, name=path.stem, labels=labels, gold=gold, item=item)
    except TaskError as error:
        if str(error).startswith("--"):
            raise
        raise TaskError(f"{data}: {error}") from error


def _stem(data: str) -> str:
    return Path(data.removeprefix("hf:")).stem or "task"


def _source(data: str, folder: Path) -> str:
    """Where the data lies as seen from the task file."""
    if data.startswith("hf:"):
        return data
    try:
        return Path(os.path.relpath(data, folder)).as_posix()
    except ValueError:  # another drive
        return Path(data).resolve().as_posix()


def _labels(text: str | None) -> list[str]:
    if text is None:
        return []
    labels = [label.strip() for label in text.split(",")]
    if len(labels) < 2 or "" in labels or len(set(labels)) < len(labels):
        raise InputError(f"--labels {text}: write two or more different labels, as A,B")
    return labels


def _checked(made: Draft, path: Path) -> Task:
    """The task of a draft, every prompt of it written, before a file of the name is there."""
    handle, name = tempfile.mkstemp(".toml", ".elicit-", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(made.text.encode())
        task = load_task(name)
        task.render()
    except TaskError as error:
        raise TaskError(str(error).replace(name, str(path))) from error
    finally:
        Path(name).unlink()
    return task


def _described(name: str, task: Task) -> dict[str, object]:
    return {
        "name": name,
        "items": len(task.items),
        "labels": list(task.labels),
        "pairs": len(task.rules().pairs),
        "example": task.render().questions[0].text,
    }


def _next(path: Path) -> list[str]:
    name = shlex.quote(str(path))
    return [f"elicit {verb} {name} --model MODEL" for verb in ("diagnose", "run")]


def _print(*lines: str) -> None:
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def _print_task(entry: Mapping[str, object]) -> None:
    _print(f"{entry['name']}: {entry['items']} items, {entry['pairs']} constrained pairs")
    out.print(f"  {entry['example']}", markup=False)


def _print_notes(found: Sequence[str]) -> None:
    for note in found:
        notes.print(f"note: {note}", markup=False, soft_wrap=True)


def _print_draft(entry: Mapping[str, object], made: Draft) -> None:
    _print(f"wrote {entry['name']}: {entry['items']} items, {entry['pairs']} constrained pairs")
    _print("", "guessed, and said in the file too:")
    for finding in made.findings:
        _print(f"  {finding.what}: {finding.said}", f"    if wrong: {finding.mend}.")
    example = "\n".join(map(plain, str(entry["example"]).split("\n")))
    cut = example[:LONGEST_EXAMPLE] + (" [...]" if len(example) > LONGEST_EXAMPLE else "")
    _print("", "the first prompt:", textwrap.indent(cut, "  "))
