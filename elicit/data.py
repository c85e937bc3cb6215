"""Rows of data from JSON Lines, CSV, Parquet and Hugging Face data sets, hosted or saved."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from elicit.prompt import TaskError


@dataclass(frozen=True, slots=True)
class Row:
    """One row, and the words that name it in an error."""

    where: str
    fields: Mapping[str, object]


def read_rows(source: str, folder: Path) -> list[Row]:
    """All rows of a data source; a relative path starts at `folder`.

    Raises:
        TaskError: it can't be read, holds nothing, or a row is not sound.
    """
    if source.startswith("hf:"):
        rows = _hugging_face(source.removeprefix("hf:"))
    else:
        rows = _file(folder / source)
    if not rows:
        raise TaskError(f"{source}: there are no rows in it")
    return rows


def _file(path: Path) -> list[Row]:
    if path.is_dir():
        return _saved(path)
    readers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise TaskError(
            f"{path}: use a .jsonl, .csv or .parquet file, a folder that datasets saved, or "
            "hf:org/name"
        )
    if not path.exists():
        raise TaskError(f"{path}: there is no such file")
    try:
        return reader(path)
    except OSError as error:
        raise TaskError(f"{path}: can't be read: {error.strerror}") from error


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaskError(
            f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8"
        ) from error


def _jsonl(path: Path) -> list[Row]:
    rows = []
    # Not splitlines: JSON strings may hold U+2028 and other marks it would break at.
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path.name} line {number}"
        try:
            value = json.loads(line)
        # A number of thousands of digits is a ValueError of another kind.
        except (ValueError, RecursionError) as error:
            raise TaskError(f"{where}: not JSON: {error}") from error
        if not isinstance(value, dict):
            raise TaskError(f"{where}: a row must be an object, not {type(value).__name__}")
        rows.append(Row(where, value))
    return rows


def _csv(path: Path) -> list[Row]:
    # A cell may hold a whole document; the default bound is 131,072 characters.
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    rows: list[Row] = []
    header: list[str] | None = None
    try:
        for cells in reader:
            where = f"{path.name} line {reader.line_num}"
            if not cells:
                continue
            if header is None:
                header = cells
                if len(set(header)) != len(header) or "" in header:
                    raise TaskError(f"{where}: column names must be unique and not empty")
                continue
            if len(cells) != len(header):
                raise TaskError(f"{where}: has {len(cells)} cells, the header {len(header)}")
            rows.append(Row(where, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise TaskError(f"{path.name} line {reader.line_num}: {error}") from error
    return rows


def _parquet(path: Path) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise TaskError(f"{path}: not a sound Parquet file: {reason}") from error
    return [
        Row(f"{path.name} row {i}", fields) for i, fields in enumerate(table.to_pylist(), 1)
    ]


def _saved(path: Path) -> list[Row]:
    """A data set that `save_to_disk` wrote; of several splits, the folder of one."""
    if (path / "dataset_dict.json").exists():
        splits = sorted(p.name for p in path.iterdir() if (p / "state.json").exists())
        raise TaskError(f"{path}: holds the splits {', '.join(splits)}: name one's folder")
    if not (path / "state.json").exists():
        raise TaskError(
            f"{path}: is a folder; name a file, or a folder that datasets' save_to_disk wrote"
        )
    datasets = _datasets(str(path))
    try:
        table = datasets.load_from_disk(path)
    # Its own files are read without a check: a damaged one may raise any of these.
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TaskError(f"{path}: not a sound data set: {_first_line(error)}") from error
    return _table_rows(table, path.name)


def _hugging_face(name: str) -> list[Row]:
    datasets = _datasets(f"hf:{name}")
    parts = name.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise TaskError(f"hf:{name}: write hf:org/name or hf:org/name/split")
    split = parts[2] if len(parts) == 3 else "train"
    try:
        table = datasets.load_dataset("/".join(parts[:2]), split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise TaskError(f"hf:{name}: {_first_line(error)}") from error
    return _table_rows(table, f"hf:{name}")


def _datasets(source: str) -> ModuleType:
    try:
        return import_module("datasets")
    except ImportError as error:
        raise TaskError(
            f"{source}: needs the datasets package: pip install 'elicit-lm[hf]'"
        ) from error


def _table_rows(table: Any, source: str) -> list[Row]:
    """Class labels, which such a table has as numbers, come by their names; -1, which stands
    there for none, as null."""
    classes = {
        column: [*kind.names, None]
        for column, kind in table.features.items()
        if hasattr(kind, "names")
    }
    return [
        Row(f"{source} row {i}", {k: _named(v, classes.get(k)) for k, v in fields.items()})
        for i, fields in enumerate(table, 1)
    ]


def _named(value: Any, names: list[str | None] | None) -> object:
    return value if names is None or value is None else names[value]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
