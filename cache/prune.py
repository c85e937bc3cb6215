"""Take things out of the store for good: the rows, the text, the disk space."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

from elicit.cache.batches import KEPT_DAYS, OPEN
from elicit.cache.claims import read_owner
from elicit.cache.errors import InputError, StoreError
from elicit.cache.store import ScoreStore
from elicit.cache.verify import used_segments


@dataclass(frozen=True, slots=True)
class Pruned:
    """Rows removed, or that would be; bytes the file has shrunk by."""

    runs: int
    contexts: int
    scores: int
    segments: int
    batches: int
    freed_bytes: int
    dry_run: bool


def prune(
    store: ScoreStore,
    *,
    run: str | None = None,
    older_than_days: float | None = None,
    model: str | None = None,
    dry_run: bool = True,
) -> Pruned:
    """Remove one run, or scores that are older than so many days and of models whose stored
    identity contains `model`; by age alone, also the runs not changed since.

    Scores belong to no run, so removing a run keeps them. With scores go the records of
    batches, by the same age and model, except of those whose answers can still be read.
    Removed text is overwritten and the file is rebuilt (`secure_delete`, `VACUUM`), which
    takes the file's size on disk.

    Raises:
        InputError: nothing to choose by, no such run, or a process is working on it.
        StoreError: another process is using the file.
    """
    if run is None and older_than_days is None and model is None:
        raise InputError("say what to prune: a run, an age in days, or a part of a model name")
    if run is not None and (older_than_days is not None or model is not None):
        raise InputError("prune a run by its name, or scores by age and model: not both")
    connection = store.connection
    before = store.path.stat().st_size
    with store.reading():
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE")
        try:
            runs = _delete_runs(
                connection, _doomed_runs(connection, run, older_than_days, model)
            )
            contexts, scores, batches = 0, 0, 0
            if run is None:
                contexts, scores = _delete_scores(connection, older_than_days, model)
                batches = _delete_batches(connection, older_than_days, model)
            segments = _delete_unused(connection)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("ROLLBACK" if dry_run else "COMMIT")
        if not dry_run:
            _shrink(store)
    freed = 0 if dry_run else before - store.path.stat().st_size
    return Pruned(runs, contexts, scores, segments, batches, freed, dry_run)


def _doomed_runs(
    connection: sqlite3.Connection, run: str | None, days: float | None, model: str | None
) -> list[int]:
    if run is not None:
        rows = connection.execute("SELECT id FROM runs WHERE name = ?", (run,)).fetchall()
        if not rows:
            raise InputError(f"no run {run!r}. `elicit runs` lists them.")
    elif days is not None and model is None:
        rows = connection.execute(
            "SELECT id FROM runs WHERE updated < ?", (time.time() - days * 86400,)
        ).fetchall()
    else:
        rows = []
    for (run_id,) in rows:
        owner = read_owner(connection, run_id)
        if owner is not None and owner.is_alive():
            raise InputError(f"process {owner.pid} is working on run {run_id}: end it first")
    return [run_id for (run_id,) in rows]


def _delete_runs(connection: sqlite3.Connection, runs: list[int]) -> int:
    for table, column in (
        ("checkpoints", "run"),
        ("trace", "run"),
        ("claims", "run"),
        ("runs", "id"),
    ):
        connection.executemany(
            f"DELETE FROM {table} WHERE {column} = ?", [(run_id,) for run_id in runs]
        )
    return len(runs)


def _delete_scores(
    connection: sqlite3.Connection, days: float | None, model: str | None
) -> tuple[int, int]:
    """Contexts and scores removed."""
    conditions, parameters = ["1"], []
    if days is not None:
        conditions.append("day < ?")
        parameters.append(str(int((time.time() - days * 86400) // 86400)))
    if model is not None:
        conditions.append("identity IN (SELECT id FROM identities WHERE instr(json, ?))")
        parameters.append(model)
    doomed = f"SELECT key FROM contexts WHERE {' AND '.join(conditions)}"
    deleted = [
        connection.execute(
            f"DELETE FROM {table} WHERE {column} IN ({doomed})", parameters
        ).rowcount
        for table, column in (("scores", "context"), ("context_segments", "context"))
    ]
    contexts = connection.execute(
        f"DELETE FROM contexts WHERE key IN ({doomed})", parameters
    ).rowcount
    return contexts, deleted[0]


def _delete_batches(
    connection: sqlite3.Connection, days: float | None, model: str | None
) -> int:
    """Records of batches that have ended, or whose answers no provider keeps any more."""
    now = time.time()
    return connection.execute(
        f"DELETE FROM batches WHERE (state NOT IN ({', '.join('?' * len(OPEN))}) "
        "OR created < ?) AND updated < ? AND instr(model, ?)",
        (*OPEN, now - KEPT_DAYS * 86400, now - (days or 0) * 86400, model or ""),
    ).rowcount


def _delete_unused(connection: sqlite3.Connection) -> int:
    """Segments, identities and label sets that nothing needs any more; counts the first."""
    used = used_segments(connection)
    unused = [
        row for row in connection.execute("SELECT id FROM segments") if row[0] not in used
    ]
    connection.executemany("DELETE FROM segments WHERE id = ?", unused)
    for table, column in (("identities", "identity"), ("labelsets", "labels")):
        connection.execute(
            f"DELETE FROM {table} WHERE id NOT IN (SELECT {column} FROM contexts)"
        )
    connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'deletions'")
    return len(unused)


def _shrink(store: ScoreStore) -> None:
    """Rebuild the file, and empty the write-ahead log, which still holds old pages."""
    store.connection.execute("VACUUM")
    (busy, _, _) = store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    store.forget()
    if busy:
        raise StoreError(
            f"{store.path}: pruned, but another process reads the store: old pages stay in the "
            "log beside the file until that process ends."
        )
