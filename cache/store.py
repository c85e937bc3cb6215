"""The score store: what was paid for once is found again, in any process.

Scores are looked up in memory first, then on disk, a context at a time. `put` is one
transaction; the first writer of a key wins, so a score that someone has seen never
changes. Every row read is checked against its checksum: one that differs raises
`StoreDamaged`, and is never served.

The text of a segment is kept where it can be used again: of every item, and of the whole
prompt for one context in 64 (chosen by its key, so it is a fair sample), from which
`verify` can rebuild prompts and ask a model once more.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any

from elicit.cache import schema
from elicit.cache.codec import (
    ChecksumError,
    ScoreColumns,
    StoredScore,
    decode_score,
    encode_score,
)
from elicit.cache.dictionary import Dictionary, SegmentTable, is_sampled
from elicit.cache.errors import StoreDamaged
from elicit.cache.keys import DIGEST_BYTES, ScoreKey, context_key, prefix_digest
from elicit.cache.memory import Memory
from elicit.cache.stats import StoreStats, read_stats

__all__ = ["ScoreRow", "ScoreStore", "StoreStats", "StoredScore"]

_COLUMNS = "evidence, samples, bounded, value, checksum"
_POINT = f"SELECT {_COLUMNS} FROM scores WHERE context = ? AND item = ? AND sample = ?"
_SCAN = f"SELECT item, sample, {_COLUMNS} FROM scores WHERE context = ? LIMIT ?"
_FEW = 4
"""Up to so many scores of one context are fetched one by one."""
_SCAN_FACTOR = 4
"""A scan reads at most so many rows for each one wanted, then gives way to single reads."""


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A score with all that is stored about it.

    `identity` and `labels` are digests that `open_identity` and `open_labels` of the same
    store returned; `segments` are the prompt's (digest, text, role) in order, the item last.
    """

    key: ScoreKey
    identity: bytes
    labels: bytes
    segments: tuple[tuple[bytes, str, str], ...]
    score: StoredScore


class ScoreStore:
    """Scores in one SQLite file. Threads may share it; a forked child must open its own.

    `memory_scores` bounds how many scores are also held in memory (about 300 bytes each
    for two labels).
    """

    def __init__(self, path: Path | str, *, memory_scores: int = 1_000_000) -> None:
        self.path = Path(path)
        self.connection = schema.connect(path)
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._memory = Memory(memory_scores)
        self._identities = Dictionary(self.connection, "identities")
        self._labels = Dictionary(self.connection, "labelsets")
        self._segments = SegmentTable(self.connection)
        self._deletions = -1
        self._label_digests: dict[tuple[str, ...], bytes] = {}

    def __enter__(self) -> ScoreStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. A second call does nothing."""
        with self._lock:
            self.connection.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """This thread's turn at the connection, with SQLite's errors translated."""
        if os.getpid() != self._pid:
            raise RuntimeError("a forked process must open its own ScoreStore")
        with self._lock, schema.translated(self.path):
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One write transaction: all of it is committed, or nothing."""
        with self.reading():
            try:
                with schema.immediate(self.connection):
                    yield
            except BaseException:
                self._deletions = -1  # row ids learnt in it are void
                raise

    @contextmanager
    def durable(self) -> Iterator[None]:
        """A transaction that is on the disk when it ends, with all that was committed before.

        In WAL mode others outlast the death of the process, not that of the machine.
        """
        with self.reading():
            self.connection.execute("PRAGMA synchronous = FULL")
            try:
                with self.transaction():
                    yield
            finally:
                self.connection.execute("PRAGMA synchronous = NORMAL")

    def open_identity(self, identity: Mapping[str, object]) -> bytes:
        """Register a model with everything that can change its scores; return its digest."""
        digest, new = self._identities.remember_identity(identity)
        if new:
            with self.transaction():
                self._identities.row_id(digest)
        return digest

    def identities(self) -> list[Mapping[str, Any]]:
        """Every model that the store has scores or runs of, as it was opened."""
        with self.reading():
            rows = self.connection.execute("SELECT json FROM identities ORDER BY id").fetchall()
        return [json.loads(text) for (text,) in rows]

    def open_labels(self, verbalizers: Sequence[str]) -> bytes:
        """Register label verbalisers, in order; return their digest."""
        labels = tuple(verbalizers)
        digest = self._label_digests.get(labels)
        if digest is None:
            digest, _ = self._labels.remember_labels(labels)
            with self.transaction():
                self._labels.row_id(digest)
            self._label_digests[labels] = digest
        return digest

    def get(self, keys: Sequence[ScoreKey]) -> list[StoredScore | None]:
        """The stored scores in the order of `keys`; None marks what was never scored.

        Raises:
            StoreDamaged: a row differs from its checksum. Nothing is served in its place.
        """
        with self.reading():
            found, missing = self._memory.get(keys)
            for context, places in missing.items():
                self._fetch(context, places, keys, found)
            return found

    def _fetch(
        self,
        context: bytes,
        places: Sequence[int],
        keys: Sequence[ScoreKey],
        found: list[StoredScore | None],
    ) -> None:
        """Read from disk what `places` want of one context."""
        wanted: dict[tuple[bytes, int], list[int]] = {}
        for i in places:
            wanted.setdefault((keys[i].item, keys[i].sample), []).append(i)
        for (item, sample), columns in self._read(context, wanted):
            score = self._checked(ScoreKey(context, item, sample), columns)
            for i in wanted[item, sample]:
                found[i] = score

    def _read(
        self, context: bytes, wanted: Collection[tuple[bytes, int]]
    ) -> Iterator[tuple[tuple[bytes, int], ScoreColumns]]:
        """The wanted rows of a context: by one scan where that is cheap, else one by one."""
        left = set(wanted)
        if len(wanted) > _FEW:
            limit = _SCAN_FACTOR * len(wanted)
            rows = self.connection.execute(_SCAN, (context, limit)).fetchall()
            for row in rows:
                if row[:2] in left:
                    left.remove(row[:2])
                    yield row[:2], row[2:]
            if len(rows) < limit:
                return  # the whole context was read: what is left was never scored
        for item, sample in left:
            row = self.connection.execute(_POINT, (context, item, sample)).fetchone()
            if row is not None:
                yield (item, sample), row

    def _checked(self, key: ScoreKey, columns: ScoreColumns) -> StoredScore:
        try:
            score = decode_score(key.context + key.item, key.sample, columns)
        except ChecksumError as error:
            raise StoreDamaged(
                f"{self.path}: {error} (context {key.context.hex()}, item {key.item.hex()}, "
                f"sample {key.sample}). `elicit cache verify --repair` removes such rows; they "
                "are then scored again."
            ) from error
        self._memory.add(key, score)
        return score

    def put(self, rows: Sequence[ScoreRow]) -> int:
        """Commit `rows` in one transaction; return how many are new.

        A key that is there already is left as it is: its score is the one that counts, and
        `get` gives it.

        Raises:
            ValueError: a row whose key is not the one its parts give, an unopened identity
                or label set, or a value that is no log-probability. Nothing is written.
        """
        if not rows:
            return 0
        with self.transaction():
            self._forget_if_deleted()
            contexts: dict[bytes, ScoreRow] = {}
            scores = []
            for row in rows:
                contexts.setdefault(row.key.context, row)
                _check_item(row)
                key, item = row.key, row.segments[-1]
                self._segments.row_id(*item)
                columns = encode_score(key.context + key.item, key.sample, row.score)
                scores.append((key.context, key.item, key.sample, *columns))
            for row in contexts.values():
                self._put_context(row)
            # Stable; neighbours on disk are written together.
            scores.sort(key=itemgetter(0, 1, 2))
            # Not put in memory: on equal keys the stored score counts, not this one.
            return self.connection.executemany(
                "INSERT OR IGNORE INTO scores VALUES (?, ?, ?, ?, ?, ?, ?, ?)", scores
            ).rowcount

    def _put_context(self, row: ScoreRow) -> None:
        """Store a context, after deriving its key again from what `row` says it is made of."""
        prefix = prefix_digest([digest for digest, *_ in row.segments[:-1]])
        if context_key(row.identity, row.labels, prefix) != row.key.context:
            raise ValueError("a context key must be that of its identity, labels and segments")
        today = int(time.time() // 86400)
        cursor = self.connection.execute(
            "INSERT OR IGNORE INTO contexts VALUES (?, ?, ?, ?, ?, ?)",
            (
                row.key.context,
                self._identities.row_id(row.identity),
                self._labels.row_id(row.labels),
                prefix,
                len(row.segments) - 1,
                today,
            ),
        )
        if not cursor.rowcount:
            # The day of its newest score, so that pruning by age never takes a fresh one.
            self.connection.execute(
                "UPDATE contexts SET day = ? WHERE key = ? AND day < ?",
                (today, row.key.context, today),
            )
        if cursor.rowcount and is_sampled(row.key.context):
            self.connection.execute(
                "INSERT OR IGNORE INTO context_segments VALUES (?, ?)",
                (row.key.context, self._segments.pack(row.segments[:-1])),
            )

    def forget(self) -> None:
        """Hold nothing in memory: what is asked next is read from disk."""
        with self._lock:
            self._memory.clear()
            self._deletions = -1

    def _forget_if_deleted(self) -> None:
        """Drop what this process knows to be stored if any process has deleted since."""
        (deletions,) = self.connection.execute(
            "SELECT value FROM counters WHERE name = 'deletions'"
        ).fetchone()
        if deletions != self._deletions:
            self._deletions = deletions
            self._identities.forget()
            self._labels.forget()
            self._segments.forget()

    def stats(self) -> StoreStats:
        """Count what is stored. Reads the whole index: seconds for millions of scores."""
        with self.reading():
            return read_stats(self.connection, self.path, self._memory)


def _check_item(row: ScoreRow) -> None:
    key = row.key
    if not row.segments or row.segments[-1][0] != key.item:
        raise ValueError("a row's last segment must be the item of its key")
    if len(key.context) != DIGEST_BYTES or len(key.item) != DIGEST_BYTES or key.sample < 0:
        raise ValueError(f"not a score key: {key!r}")
