"""The labels of a finished run as a folder for another program.

- `dataset`: a Hugging Face data set for `datasets.load_from_disk`: the columns of a table (see
  `export`), the labels as a `ClassLabel`;
- `inspect` and `lm-eval`: a test of any other model by these labels (see
  `export_evaluation`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from elicit.cache.errors import InputError
from elicit.cache.runs import Run
from elicit.export import Found, check_unicode, chosen, table
from elicit.export_evaluation import inspect_files, lm_eval_files
from elicit.task import Task

FolderFormat = Literal["dataset", "inspect", "lm-eval"]


@dataclass(frozen=True, slots=True)
class FolderExport:
    """What a folder holds."""

    rows: int
    left_out: int
    """Items of the run that are not in it."""


def export_folder(
    run: Run,
    task: Task,
    form: FolderFormat,
    folder: Path,
    *,
    min_log_odds: float | None = None,
    chat: bool = False,
) -> FolderExport:
    """Write the labels that a run gave the items of its task as a new folder.

    Args:
        run: A finished one.
        task: The task that it labelled, as it was then.
        form: See the module.
        folder: Must not be there; it appears whole or not at all.
        min_log_odds: In nats; items whose labels are less certain are left out.
        chat: Refused: each form has its own way to write prompts.

    Raises:
        InputError: as of `export`; or the folder is there or can't be written, or a package
            is missing.
    """
    if chat:
        raise InputError(
            f"{form} has no choice of prompts: inspect asks in chats, lm-eval in plain text; "
            "leave --chat out"
        )
    found, kept = chosen(run, task, min_log_odds, labelled=form != "dataset")
    if form == "dataset":
        write = _dataset(task, found, kept)
    else:
        make = inspect_files if form == "inspect" else lm_eval_files
        write = partial(_write_files, make(task, found, kept))
    _make_whole(folder, write)
    rows = int(kept.sum())
    return FolderExport(rows, kept.size - rows)


def _dataset(task: Task, found: Found, kept: NDArray[np.bool_]) -> Callable[[Path], None]:
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            "dataset: needs the datasets package: pip install 'elicit-lm[hf]'"
        ) from error
    rows = table(task, found, kept)
    check_unicode(rows, "dataset")
    kinds = {
        "id": datasets.Value("string"),
        "label": datasets.ClassLabel(names=list(task.labels)),
        "text": datasets.Value("string"),
    }
    number = datasets.Value("float64")
    features = datasets.Features({name: kinds.get(name, number) for name in rows[0]})

    def write(folder: Path) -> None:
        with _without_bars():
            datasets.Dataset.from_list(rows, features=features).save_to_disk(folder)

    return write


@contextmanager
def _without_bars() -> Iterator[None]:
    """What goes to the terminal is the command line's own."""
    from datasets.utils import are_progress_bars_disabled, logging

    shown = not are_progress_bars_disabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _write_files(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _make_whole(folder: Path, write: Callable[[Path], None]) -> None:
    """A new folder with what `write` puts into it: all of it, or no folder."""
    if folder.exists():
        raise InputError(f"{folder}: is there already; choose another folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=".elicit-") as beside:
            unfinished = Path(beside) / "whole"
            unfinished.mkdir()
            write(unfinished)
            unfinished.rename(folder)
    except OSError as error:
        raise InputError(f"{folder}: can't be written: {error.strerror}") from error
