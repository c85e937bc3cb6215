"""Is what the store holds what was written? Everything that can be derived is, again.

A damaged score, or one whose context is gone, is removed by a repair and will be scored
again. Damaged texts are only reported: the scores found through their digests are sound,
and the text is mended when the same item, model or label set is used next.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from elicit.cache import schema
from elicit.cache.batches import batch_digest
from elicit.cache.codec import (
    ChecksumError,
    decode_score,
    loaded_text,
    state_checksum,
    unpack_ids,
)
from elicit.cache.keys import (
    context_key,
    identity_digest,
    labels_digest,
    prefix_digest,
    segment_digest,
)
from elicit.cache.store import ScoreStore


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that contradicts itself: in which table, which row, how.

    `removable` says whether a repair removes the row, `removed` whether it has.
    """

    table: str
    row: str
    what: str
    removable: bool = False
    removed: bool = False


Deletion = tuple[str, tuple[Any, ...]]
"""An SQL condition on the problem's table, and its parameters."""

Finding = tuple[Problem, Deletion | None]


def verify(store: ScoreStore, *, repair: bool = False) -> list[Problem]:
    """Check the file's structure and derive every digest and checksum again.

    With `repair`, unsound rows are removed, and then what they leave without its context;
    never where the file's structure is damaged. Reads everything: some 10 s a million
    scores.

    Raises:
        StoreError: the file can't be read or, for a repair, written.
    """
    with store.reading(), _lenient(store.connection):
        problems = _structure(store.connection)
        if problems:
            return problems
        if repair:
            return _repair(store)
        with schema.snapshot(store.connection):
            return [problem for problem, _ in _findings(store.connection)]


def _repair(store: ScoreStore) -> list[Problem]:
    """Remove what is unsound until no removal leaves more; what stays comes last."""
    removed: list[Problem] = []
    while True:
        with store.transaction():  # nothing is added between the finding and the removing
            done = [_remove(store.connection, *f) for f in _findings(store.connection)]
        now = [problem for problem in done if problem.removed]
        removed += now
        if not now:
            store.forget()
            return removed + done


@contextmanager
def _lenient(connection: sqlite3.Connection) -> Iterator[None]:
    """Read damaged text as what it is, rather than fail: its digest gives it away."""
    before = connection.text_factory
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        yield
    finally:
        connection.text_factory = before


def _structure(connection: sqlite3.Connection) -> list[Problem]:
    advice = "move the file away and start a new one; `elicit cache export` saves what it can"
    try:
        rows = [row[0] for row in connection.execute("PRAGMA integrity_check(20)")]
    except sqlite3.DatabaseError as error:
        if schema.primary_code(error) != sqlite3.SQLITE_CORRUPT:
            raise
        rows = [str(error)]
    return [Problem("file", "", f"{row}; {advice}") for row in rows if row != "ok"]


def _findings(connection: sqlite3.Connection) -> list[Finding]:
    checks: tuple[Callable[[sqlite3.Connection], Iterator[Finding]], ...] = (
        _dictionaries,
        _segments,
        _contexts,
        _context_segments,
        _scores,
        _orphans,
        _runs,
        _batches,
        _found_out,
    )
    return [finding for check in checks for finding in check(connection)]


def _remove(
    connection: sqlite3.Connection, problem: Problem, deletion: Deletion | None
) -> Problem:
    if deletion is None:
        return problem
    where, parameters = deletion
    cursor = connection.execute(f"DELETE FROM {problem.table} WHERE {where}", parameters)
    connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'deletions'")
    return replace(problem, removed=cursor.rowcount > 0)


def _kept(table: str, row: object, what: str) -> Finding:
    return Problem(table, _show(row), what), None


def _unsound(table: str, row: object, what: str, where: str, *parameters: object) -> Finding:
    return Problem(table, _show(row), what, removable=True), (where, parameters)


def _show(row: object) -> str:
    if isinstance(row, tuple):
        return " ".join(map(_show, row))
    return row.hex() if isinstance(row, bytes) else str(row)


def _found_out(connection: sqlite3.Connection) -> Iterator[Finding]:
    for model, text in connection.execute("SELECT model, json FROM findings"):
        try:
            sound = isinstance(json.loads(text), dict)
        except (TypeError, ValueError):
            sound = False
        if not sound:
            what = "not what was found; the model is asked anew"
            yield _unsound("findings", model, what, "model IS ?", model)


def _dictionaries(connection: sqlite3.Connection) -> Iterator[Finding]:
    for table in ("identities", "labelsets"):
        for row_id, digest, text in connection.execute(f"SELECT id, digest, json FROM {table}"):
            if _digest_of(table, text) != digest:
                yield _kept(
                    table, row_id, "differs from its digest; mended when it is used next"
                )


def _digest_of(table: str, text: str) -> bytes | None:
    """The digest of a stored identity or label set; None where the text is no JSON of one."""
    try:
        value = json.loads(text)
        return identity_digest(value) if table == "identities" else labels_digest(value)
    except (TypeError, ValueError):
        return None


def _segments(connection: sqlite3.Connection) -> Iterator[Finding]:
    for row_id, digest, text, role in connection.execute(
        "SELECT id, digest, text, role FROM segments"
    ):
        try:
            sound = segment_digest(loaded_text(text), role) == digest
        except (UnicodeDecodeError, AttributeError):
            sound = False
        if not sound:
            yield _kept(
                "segments", row_id, "differs from its digest; mended when it is scored next"
            )


def _contexts(connection: sqlite3.Connection) -> Iterator[Finding]:
    """A context's key must follow from its parts. Where an identity contradicts its own
    digest, either may be the damaged one, so both are tried."""
    digests: dict[str, dict[int, set[bytes]]] = {}
    for table in ("identities", "labelsets"):
        rows = connection.execute(f"SELECT id, digest, json FROM {table}").fetchall()
        digests[table] = {
            row_id: {d for d in (digest, _digest_of(table, text)) if isinstance(d, bytes)}
            for row_id, digest, text in rows
        }
    for key, identity, labels, prefix in connection.execute(
        "SELECT key, identity, labels, prefix FROM contexts"
    ):
        sound = isinstance(prefix, bytes) and any(
            context_key(one, other, prefix) == key
            for one in digests["identities"].get(identity, ())
            for other in digests["labelsets"].get(labels, ())
        )
        if not sound:
            yield _unsound(
                "contexts", key, "its key does not follow from its parts", "key IS ?", key
            )


def _context_segments(connection: sqlite3.Connection) -> Iterator[Finding]:
    digests: dict[int, bytes] = dict(connection.execute("SELECT id, digest FROM segments"))
    for context, packed, prefix, count in connection.execute(
        "SELECT context, ids, prefix, segments FROM context_segments "
        "LEFT JOIN contexts ON key = context"
    ):
        try:
            listed = [digests[i] for i in unpack_ids(packed)]
            sound = len(listed) == count and prefix_digest(listed) == prefix
        except (KeyError, TypeError, ValueError):
            sound = False
        if not sound:
            yield _unsound(
                "context_segments",
                context,
                "its list of segments is not that of its context",
                "context IS ?",
                context,
            )


def _scores(connection: sqlite3.Connection) -> Iterator[Finding]:
    where = "context IS ? AND item IS ? AND sample IS ?"
    for context, item, sample, *columns in connection.execute("SELECT * FROM scores"):
        key = (context, item, sample)
        try:
            decode_score(context + item, sample, tuple(columns))
        except (ChecksumError, TypeError):
            yield _unsound("scores", key, "differs from its checksum", where, *key)
    for key in connection.execute(
        "SELECT context, item, sample FROM scores "
        "WHERE context NOT IN (SELECT key FROM contexts)"
    ):
        yield _unsound("scores", key, "its context is missing", where, *key)
    for (item,) in connection.execute(
        "SELECT DISTINCT item FROM scores WHERE item NOT IN (SELECT digest FROM segments)"
    ):
        yield _kept("scores", item, "the item's text is missing; the score is sound")


def used_segments(connection: sqlite3.Connection) -> set[int]:
    """Row ids of the segments that a score or a sampled context needs."""
    used = {
        row_id
        for (row_id,) in connection.execute(
            "SELECT id FROM segments WHERE digest IN (SELECT item FROM scores)"
        )
    }
    for (packed,) in connection.execute("SELECT ids FROM context_segments"):
        try:
            used.update(unpack_ids(packed))
        except (TypeError, ValueError):
            continue  # damaged, and reported as such by `verify`
    return used


def _orphans(connection: sqlite3.Connection) -> Iterator[Finding]:
    used = used_segments(connection)
    for (row_id,) in connection.execute("SELECT id FROM segments"):
        if row_id not in used:
            yield _unsound("segments", row_id, "nothing needs it", "id = ?", row_id)
    for (key,) in connection.execute(
        "SELECT key FROM contexts WHERE key NOT IN (SELECT context FROM scores)"
    ):
        yield _unsound("contexts", key, "it has no scores", "key IS ?", key)


def _runs(connection: sqlite3.Connection) -> Iterator[Finding]:
    for run, chain, state, checksum in connection.execute(
        "SELECT run, chain, state, checksum FROM checkpoints"
    ):
        if not isinstance(state, str) or state_checksum(state) != checksum:
            yield _kept(
                "checkpoints",
                f"run {run} chain {chain}",
                "differs from its checksum; start the run again under another name",
            )
    for table in ("checkpoints", "trace", "claims"):
        gone: Sequence[tuple[int]] = connection.execute(
            f"SELECT DISTINCT run FROM {table} WHERE run NOT IN (SELECT id FROM runs)"
        ).fetchall()
        for (run,) in gone:
            yield _unsound(table, f"run {run}", "its run is missing", "run = ?", run)


def _batches(connection: sqlite3.Connection) -> Iterator[Finding]:
    for row_id, batch, identity, checksum, covers in connection.execute(
        "SELECT id, batch, identity, checksum, covers FROM batches WHERE length(covers)"
    ):
        try:
            sound = batch_digest(identity, covers) == checksum
        except TypeError:
            sound = False
        if not sound:
            yield _unsound(
                "batches",
                batch or row_id,
                "its requests differ from their checksum; removed, they are paid for again",
                "id = ?",
                row_id,
            )
