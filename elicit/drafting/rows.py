"""Reads a file that nobody has written a task for: where it can't be read, what to do to it."""

from __future__ import annotations

from pathlib import Path

from elicit.data import Row, read_rows
from elicit.prompt import TaskError

_HEAD = 65_536
"""Bytes of a file that are looked at to tell what it is."""

_ELSE = {
    ".tsv": "tab-separated",
    ".xlsx": "a spreadsheet",
    ".xls": "a spreadsheet",
    ".ods": "a spreadsheet",
    ".json": "one JSON value",
    ".txt": "plain text",
}
_MENDS = {
    ".tsv": "write it with commas, as .csv",
    ".json": "write one object a line, as .jsonl: jq -c '.[]' OLD.json > NEW.jsonl",
    ".txt": "write the column's name in its first line and save it as .csv, or as .jsonl",
}


def rows_for_draft(source: str, folder: Path) -> list[Row]:
    """All rows of a data source, as `elicit.data.read_rows` gives them.

    Raises:
        TaskError: it can't be read, or has fewer than two rows; the mend is named.
    """
    path = folder / source
    kind = path.suffix.lower()
    if kind in _ELSE and path.is_file():
        mend = _MENDS.get(kind, "save the sheet as CSV in UTF-8")
        raise TaskError(f"{path}: is {_ELSE[kind]}, not .csv, .jsonl or .parquet: {mend}")
    try:
        rows = read_rows(source, folder)
    except TaskError as error:
        hint = _hint(path, error)
        if hint is None:
            raise
        raise TaskError(hint) from error
    names = list(rows[0].fields)
    if kind == ".csv":
        _check_header(path, names, rows)
    if len(rows) < 2:
        raise TaskError(f"{source}: has one row; labels are found by comparing at least two")
    return rows


def _hint(path: Path, error: TaskError) -> str | None:
    """A better word for why a file can't be read, where there is one."""
    kind = path.suffix.lower()
    if kind not in (".csv", ".jsonl") or not path.is_file():
        return None
    head = _head(path)
    if not head.strip():
        what = "names, then a row an item" if kind == ".csv" else "a JSON object an item"
        return f"{path}: is empty: write {what}"
    if b"\0" in head:
        return (
            f"{path}: is no text in UTF-8 (it holds zero bytes): save the table as {kind} in "
            "UTF-8, or, if it is UTF-16: iconv -f UTF-16 -t UTF-8 OLD > NEW"
        )
    if isinstance(error.__cause__, UnicodeDecodeError):
        return (
            f"{path}: not UTF-8 at byte {error.__cause__.start}: save it as UTF-8, or, if it "
            "comes from a spreadsheet on Windows: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW"
        )
    return _csv_hint(path, head) if kind == ".csv" else None


def _csv_hint(path: Path, head: bytes) -> str | None:
    header = _header(head)
    if header.startswith((",", '"",')):
        return (
            f"{path}: its first column has no name: give it one, or drop it (pandas: "
            "to_csv(..., index=False))"
        )
    if b"\n" not in head.strip():
        return f"{path}: has no rows: write an item a row below the columns' names"
    return _other_separator(path, header)


def _check_header(path: Path, names: list[str], rows: list[Row]) -> None:
    """A first row that holds no names, or names that were not taken apart."""
    if len(names) == 1:
        other = _other_separator(path, names[0])
        if other is not None:
            raise TaskError(other)

    def like_data(name: str) -> bool:
        return (
            _is_number(name)
            or len(name) > 100
            or any(row.fields.get(name) == name for row in rows)
        )

    if sum(map(like_data, names)) * 2 >= len(names):
        raise TaskError(
            f"{path}: its first row looks like data, not like names: write the columns' names "
            "above it, such as id,text,label"
        )


def _other_separator(path: Path, header: str) -> str | None:
    for mark, code, name in (
        (";", ";", "semicolons"),
        ("\t", "\\t", "tabs"),
        ("|", "|", "bars"),
    ):
        if header.count(mark) > header.count(","):
            return (
                f"{path}: is separated by {name}, not commas: python3 -c 'import csv, sys; "
                "csv.writer(sys.stdout).writerows(csv.reader(sys.stdin, "
                f'delimiter="{code}"))\' < OLD.csv > NEW.csv'
            )
    return None


def _header(head: bytes) -> str:
    text = head.decode("utf-8-sig", "replace")
    return next((line for line in text.split("\n") if line.strip()), "")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise TaskError(f"{path}: can't be read: {error.strerror}") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
