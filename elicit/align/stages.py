"""Stages whose results are kept: each a folder that appears whole, with a record of what it
was made of. What was made of the same before is not made again.

A folder is named by its stage and by what it was made of. Each job has stages of its own: what
another job made is not looked for.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from elicit.align.file_errors import clear_file_errors
from elicit.cache.errors import InputError
from elicit.cache.keys import json_digest
from elicit.whole_file import write_whole

RECORD = "record.json"
BEGINS = "begins"
_FORM = 1
"""Counts up when a stage of equal inputs would make something else."""


@dataclass(frozen=True, slots=True)
class Record:
    """A stage that is done."""

    stage: str
    inputs: str
    """Names all that it was made of: 64 hexadecimal digits."""
    outputs: tuple[str, ...]
    """Its files, as paths within its folder."""
    figures: Mapping[str, Any]
    seconds: float
    """Of the process that ended it."""


@dataclass(frozen=True, slots=True)
class Done:
    """A stage that is done, and where its files are."""

    folder: Path
    record: Record

    @property
    def figures(self) -> Mapping[str, Any]:
        return self.record.figures


@dataclass(frozen=True, slots=True)
class StageEvent:
    """A stage began, told something, or is done (`record`, and whether it was there)."""

    stage: str
    message: str
    record: Record | None = None
    found: bool = False

    @property
    def begins(self) -> bool:
        return self.message == BEGINS


class Stages:
    """The stages in one folder. One process works on it at a time; whoever calls sees to it."""

    def __init__(self, folder: Path, on_event: Callable[[StageEvent], None]) -> None:
        self.folder = folder
        self.all: list[Done] = []
        """Those that were asked for, in that order."""
        self._on_event = on_event

    def done(
        self,
        stage: str,
        made_of: Mapping[str, object],
        after: Sequence[Done],
        make: Callable[[Path, Callable[[str], None]], Mapping[str, object]],
    ) -> Done:
        """A stage's result: as it is there, or made, also where what is there is damaged.

        Args:
            made_of: All that decides the result beside the stages in `after`.
            make: Writes files into a folder and returns figures. The folder may hold what the
                same call wrote before its process was ended: checkpoints, say.

        Raises:
            InputError: a file can't be written or read.
        """
        parts = [_FORM, stage, dict(made_of), [d.record.inputs for d in after]]
        inputs = json_digest(parts)
        folder = self.folder / f"{stage}-{inputs[:12]}"
        with clear_file_errors(folder):
            record = _whole(folder, inputs)
            if record is not None:
                self._on_event(StageEvent(stage, "is there", record, found=True))
            else:
                self._on_event(StageEvent(stage, BEGINS))
                record = self._made(stage, inputs, folder, make)
                self._on_event(StageEvent(stage, "is done", record))
        self.all.append(Done(folder, record))
        return self.all[-1]

    def _made(
        self,
        stage: str,
        inputs: str,
        folder: Path,
        make: Callable[[Path, Callable[[str], None]], Mapping[str, object]],
    ) -> Record:
        partial = self.folder / f".{folder.name}.partial"
        # Its process may have been ended when all that was left to do was to name it.
        if _whole(partial, inputs) is None:
            partial.mkdir(parents=True, exist_ok=True)
            (partial / RECORD).unlink(missing_ok=True)
            began = time.monotonic()
            figures = make(partial, lambda told: self._on_event(StageEvent(stage, told)))
            seconds = round(time.monotonic() - began, 2)
            record = Record(stage, inputs, _files(partial), figures, seconds)
            write_whole(partial / RECORD, json.dumps(asdict(record), indent=1).encode())
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(partial, folder)
        # As any later process will have it.
        return _read(folder / RECORD)


def write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write JSON Lines, in one step."""
    write_whole(path, "".join(f"{json.dumps(row)}\n" for row in rows).encode())


def read_written(path: Path) -> list[dict[str, Any]]:
    """Read JSON Lines. A last line that its writer did not end is left out.

    Raises:
        InputError: the file is damaged, or can't be read.
    """
    with clear_file_errors(path.parent):
        whole, _, _ = path.read_bytes().rpartition(b"\n")
    try:
        return [json.loads(line) for line in whole.splitlines()]
    except ValueError as error:
        raise InputError(
            f"{path}: is damaged ({error}); remove its folder, and its stage is made anew"
        ) from error


def _whole(folder: Path, inputs: str) -> Record | None:
    """The record of a stage that is there as it was made of these inputs; None where it is
    not, or not all of it."""
    try:
        record = _read(folder / RECORD)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    there = all((folder / path).is_file() for path in record.outputs)
    return record if there and record.inputs == inputs else None


def _read(path: Path) -> Record:
    told = json.loads(path.read_text("utf-8"))
    return Record(**{**told, "outputs": tuple(told["outputs"])})


def _files(folder: Path) -> tuple[str, ...]:
    """The files in a folder but for hidden ones, which are half-written, or left by a process
    that was ended."""
    paths = [p.relative_to(folder) for p in folder.rglob("*") if p.is_file()]
    hidden = {p for p in paths if any(part.startswith(".") for part in p.parts)}
    return tuple(sorted(str(p) for p in set(paths) - hidden))
