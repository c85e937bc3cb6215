"""What a store holds, counted."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from elicit.cache.memory import Memory


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Counts of rows, sizes in bytes, and lookups since this process opened the store."""

    path: str
    schema: int
    scores: int
    contexts: int
    segments: int
    identities: int
    labelsets: int
    runs: int
    file_bytes: int
    """The file and its write-ahead log."""
    text_bytes: int
    """Pages of segment texts; 0 where this SQLite can't tell."""
    score_bytes: int
    """Pages of scores, contexts and sampled prompts; 0 where this SQLite can't tell."""
    memory_scores: int
    memory_hits: int
    memory_misses: int

    @property
    def bytes_per_score(self) -> float | None:
        """On disk, without segment texts; None where there are none or it can't be told."""
        return self.score_bytes / self.scores if self.scores and self.score_bytes else None


def read_stats(connection: sqlite3.Connection, path: Path, memory: Memory) -> StoreStats:
    pages = _pages(connection)
    text = sum(size for table, size in pages.items() if table == "segments")
    scores = sum(pages.get(t, 0) for t in ("scores", "contexts", "context_segments"))
    wal = path.with_name(path.name + "-wal")
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    counts = {
        table: int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
        for table in ("scores", "contexts", "segments", "identities", "labelsets", "runs")
    }
    return StoreStats(
        path=str(path),
        schema=schema,
        **counts,
        file_bytes=path.stat().st_size + (wal.stat().st_size if wal.exists() else 0),
        text_bytes=text,
        score_bytes=scores,
        memory_scores=len(memory),
        memory_hits=memory.hits,
        memory_misses=memory.misses,
    )


def _pages(connection: sqlite3.Connection) -> dict[str, int]:
    """Bytes of the pages of each table with its indexes; empty where SQLite lacks dbstat."""
    try:
        rows = connection.execute(
            "SELECT tbl_name, sum(pgsize) FROM dbstat JOIN sqlite_master "
            "ON sqlite_master.name = dbstat.name GROUP BY tbl_name"
        ).fetchall()
    except sqlite3.OperationalError as error:
        if "dbstat" in str(error):  # a compile-time option
            return {}
        raise
    return dict(rows)
