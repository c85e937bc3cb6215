"""Names of runs for whoever is typing one: read without opening the store for good."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

MOST = 200
BUSY_SECONDS = 0.2


def runs_beginning(path: Path, start: str) -> list[tuple[str, str]]:
    """Names that begin so, the latest first, each with what the run is: `MOST` at most.

    The store is only read, and none is made. Where it can't be read, is damaged or busy,
    there are none: a shell that waits for a key has no room for an error.
    """
    try:
        if not path.is_file():
            return []
        address = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)) as connection:
            rows = connection.execute(
                "SELECT name, status, method, model FROM runs "
                "WHERE substr(name, 1, length(?)) = ? ORDER BY updated DESC LIMIT ?",
                (start, start, MOST),
            ).fetchall()
    except (OSError, sqlite3.Error):
        return []
    return [(name, f"{status}, {method}, {model}") for name, status, method, model in rows]
