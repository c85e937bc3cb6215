"""Finds a task by what the user calls it: a file, or the name of an embedded one."""

from __future__ import annotations

import difflib
from importlib.resources import files
from pathlib import Path

from elicit.cache.errors import InputError
from elicit.cache.runs import Run
from elicit.cli.output import notes
from elicit.run_labels import worded_otherwise
from elicit.task import Task
from elicit.task_file import load_task


def embedded_tasks() -> dict[str, Path]:
    """The tasks that come with the package, by name."""
    folder = Path(str(files("elicit.organism") / "tasks"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def task_file(name: str) -> Path:
    """Where a task is: a file, or an embedded task by its name.

    Raises:
        InputError: it is neither; the nearest embedded one is suggested. A path that has a
            suffix is left to whoever reads it.
    """
    embedded = embedded_tasks()
    path = embedded.get(name, Path(name))
    if name not in embedded and not path.suffix and not path.exists():
        near = difflib.get_close_matches(name, embedded, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`elicit tasks` lists those embedded"
        raise InputError(f"{name}: there is no such task file, nor an embedded task; {hint}")
    return path


def tell_reworded(run: Run, task: Task, source: str) -> None:
    """Note where a run's labels are about to be put to items that it saw in other words; see
    `worded_otherwise`."""
    count = worded_otherwise(run, task, source)
    if count:
        notes.print(
            f"note: {count} items of {source} are not worded as run {run.name!r} saw them; "
            "they are compared by id",
            markup=False,
            soft_wrap=True,
        )


def open_task(name: str, limit: int | None = None) -> Task:
    """A task file, or an embedded task by its name."""
    return load_task(task_file(name), limit)
