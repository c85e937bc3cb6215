"""Rows of data from JSON Lines, CSV, Parquet and Hugging Face data sets."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    readers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise TaskError(f"{path}: use a .jsonl, .csv or .parquet file, or hf:org/name")
    if path.is_dir():
        raise TaskError(f"{path}: is a folder; name a file")
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


def _hugging_face(name: str) -> list[Row]:
    try:
        import datasets
    except ImportError as error:
        raise TaskError(
            f"hf:{name}: needs the datasets package: pip install 'elicit-lm[hf]'"
        ) from error
    parts = name.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise TaskError(f"hf:{name}: write hf:org/name or hf:org/name/split")
    split = parts[2] if len(parts) == 3 else "train"
    try:
        table = datasets.load_dataset("/".join(parts[:2]), split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise TaskError(f"hf:{name}: {str(error).splitlines()[0]}") from error
    return [Row(f"hf:{name} row {i}", dict(fields)) for i, fields in enumerate(table, 1)]
