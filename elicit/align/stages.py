"""Stages whose results are kept: each a folder that appears whole, with a record of what it
was made of. What was made of the same before is not made again.

A folder is named by its stage and by what it was made of, so that other settings stand beside
what is there and share the stages that they have in common.
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

from elicit.cache.errors import InputError
from elicit.cache.keys import json_digest
from elicit.whole_file import write_whole

RECORD = "record.json"
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


class Stages:
    """The stages in one folder. One process works on it at a time; whoever calls sees to it."""

    def __init__(self, folder: Path, on_event: Callable[[StageEvent], None]) -> None:
        self.folder = folder
        self._on_event = on_event

    def done(
        self,
        stage: str,
        made_of: Mapping[str, object],
        after: Sequence[Done],
        make: Callable[[Path, Callable[[str], None]], Mapping[str, object]],
    ) -> Done:
        """A stage's result: as it is there, or made.

        Args:
            made_of: All that decides the result beside the stages in `after`.
            make: Writes files into a folder and returns figures. The folder may hold what the
                same call wrote before its process was ended: checkpoints, say.

        Raises:
            InputError: the folder can't be written.
        """
        parts = [_FORM, stage, dict(made_of), [d.record.inputs for d in after]]
        inputs = json_digest(parts)
        folder = self.folder / f"{stage}-{inputs[:12]}"
        if (folder / RECORD).exists():
            done = Done(folder, _read(folder / RECORD))
            self._on_event(StageEvent(stage, "is there", done.record, found=True))
            return done
        self._on_event(StageEvent(stage, "begins"))
        try:
            record = self._made(stage, inputs, folder, make)
        except OSError as error:
            raise InputError(
                f"{folder}: can't be written ({error}); choose another folder, or make room"
            ) from error
        self._on_event(StageEvent(stage, "is done", record))
        return Done(folder, record)

    def _made(
        self,
        stage: str,
        inputs: str,
        folder: Path,
        make: Callable[[Path, Callable[[str], None]], Mapping[str, object]],
    ) -> Record:
        partial = self.folder / f".{folder.name}.partial"
        partial.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        figures = make(partial, lambda told: self._on_event(StageEvent(stage, told)))
        files = sorted(
            str(path.relative_to(partial)) for path in partial.rglob("*") if path.is_file()
        )
        seconds = round(time.monotonic() - began, 2)
        record = Record(stage, inputs, tuple(files), figures, seconds)
        (partial / RECORD).write_text(json.dumps(asdict(record), indent=1), "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(partial, folder)
        # As any later process will have it.
        return _read(folder / RECORD)


def write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write JSON Lines, in one step."""
    write_whole(path, "".join(f"{json.dumps(row)}\n" for row in rows).encode())


def read_written(path: Path) -> list[dict[str, Any]]:
    """Read JSON Lines. A last line that its writer did not end is left out."""
    whole, _, _ = path.read_text("utf-8").rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def _read(path: Path) -> Record:
    told = json.loads(path.read_text("utf-8"))
    return Record(**{**told, "outputs": tuple(told["outputs"])})
