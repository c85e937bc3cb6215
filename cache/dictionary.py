"""Digests that stand for long values: each value is stored once and has a small row id.

What a process knows to be stored it does not ask for again. It must `forget` when rows
were deleted or a transaction was rolled back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from elicit.cache.codec import pack_ids, storable_json, storable_text
from elicit.cache.keys import canonical_json, identity_digest, labels_digest, segment_digest

_KNOWN_SEGMENTS = 1_000_000
"""Row ids remembered at most; some 100 bytes each."""


def is_sampled(context: bytes) -> bool:
    """Whether a context's whole prompt is kept: 1 in 64, drawn by the key itself."""
    return context[-1] & 0b111111 == 0


class Dictionary:
    """The table `identities` or `labelsets`."""

    def __init__(self, connection: sqlite3.Connection, table: str) -> None:
        self._connection = connection
        self._table = table
        self._json: dict[bytes, str] = {}
        self._ids: dict[bytes, int] = {}

    def remember_identity(self, identity: Mapping[str, object]) -> tuple[bytes, bool]:
        """Its digest, and whether it is new to this process."""
        return self._remember(identity_digest(identity), canonical_json(identity))

    def remember_labels(self, labels: Sequence[str]) -> tuple[bytes, bool]:
        """Their digest, and whether it is new to this process."""
        return self._remember(labels_digest(labels), canonical_json(list(labels)))

    def _remember(self, digest: bytes, canonical: str) -> tuple[bytes, bool]:
        new = digest not in self._json
        self._json[digest] = storable_json(canonical)
        return digest, new

    def row_id(self, digest: bytes) -> int:
        """Its row id; writes the row where it is missing.

        Raises:
            ValueError: this process never opened what the digest stands for.
        """
        known = self._ids.get(digest)
        if known is not None:
            return known
        if digest not in self._json:
            raise ValueError(f"{digest.hex()} was not opened in this store's {self._table}")
        self._ids[digest] = _row_id(
            self._connection, self._table, "json", digest, self._json[digest]
        )
        return self._ids[digest]

    def forget(self) -> None:
        self._ids.clear()


class SegmentTable:
    """The table `segments`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._ids: dict[bytes, int] = {}

    def row_id(self, digest: bytes, text: str, role: str) -> int:
        """Its row id; writes the row where it is missing.

        Raises:
            ValueError: the digest is not the text's and role's.
        """
        known = self._ids.get(digest)
        if known is not None:
            return known
        if segment_digest(text, role) != digest:
            raise ValueError("a segment's digest must be that of its text and role")
        if len(self._ids) >= _KNOWN_SEGMENTS:
            self._ids.clear()
        row = _row_id(self._connection, "segments", "text", digest, storable_text(text))
        if role:
            self._connection.execute("UPDATE segments SET role = ? WHERE id = ?", (role, row))
        self._ids[digest] = row
        return row

    def pack(self, segments: Sequence[tuple[bytes, str, str]]) -> bytes:
        """A prompt's segments, `(digest, text, role)`, as a packed list of row ids."""
        return pack_ids([self.row_id(*segment) for segment in segments])

    def forget(self) -> None:
        self._ids.clear()


def _row_id(
    connection: sqlite3.Connection, table: str, column: str, digest: bytes, value: str | bytes
) -> int:
    found = connection.execute(f"SELECT id FROM {table} WHERE digest = ?", (digest,)).fetchone()
    if found is not None:
        # Mends a value that was damaged on disk: here it is known what it was.
        connection.execute(
            f"UPDATE {table} SET {column} = ? WHERE id = ? AND {column} IS NOT ?",
            (value, found[0], value),
        )
        return int(found[0])
    cursor = connection.execute(
        f"INSERT INTO {table} (digest, {column}) VALUES (?, ?)", (digest, value)
    )
    if cursor.lastrowid is None:
        raise RuntimeError("SQLite gave no row id for an insert")
    return cursor.lastrowid
