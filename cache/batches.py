"""Batches handed to a provider, recorded so that none is ever paid for twice.

A batch is recorded as `intended`, on disk for good, before the provider is asked to create
it, and as `submitted` with the provider's id after. So a process that finds an intent of one
that is gone knows that the provider may hold that batch, and asks it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from elicit.cache.claims import Owner
from elicit.cache.errors import StoreDamaged
from elicit.cache.keys import DIGEST_BYTES
from elicit.cache.store import ScoreStore

OPEN = ("intended", "submitted")
"""States of a batch whose answers may still come."""
ENDED = ("done", "failed", "expired", "cancelled")
"""States of one whose answers were all read, or that has none."""
KEPT_DAYS = 29
"""Days from its creation for which every provider keeps a batch's answers (OpenAI 30,
Anthropic 29)."""
CREATING_SECONDS = 3600.0
"""Longer than creating a batch takes, tries and upload included."""

_FIELDS = (
    "id, identity, digest, attempt, batch, covers, checksum, state, host, boot, pid, started, "
    "created"
)


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as recorded. `ids` are those of its requests whose answers were not read yet, 32
    hexadecimal digits each; `created` is the Unix time in seconds of the intent."""

    id: int
    tag: str
    batch: str | None
    """The provider's id of it; None where it is not known to have been created."""
    ids: frozenset[str]
    state: str
    owner: Owner
    """The process that means to create it."""
    created: float


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """What a person wants to know of a batch as recorded; `created` as in `Batch`."""

    batch: str | None
    model: str
    state: str
    requests: int
    unread: int
    """Requests of which no answer was read yet; 0 once it has ended."""
    created: float

    @property
    def is_open(self) -> bool:
        """Whether its answers may still come and be read."""
        return self.state in OPEN and self.created >= _oldest()


class Batches:
    """The batches of a score store. It owns nothing: close the store."""

    def __init__(self, store: ScoreStore) -> None:
        self.store = store
        self._connection = store.connection

    def open(self, identity: bytes) -> list[Batch]:
        """A model's batches whose answers may still come and be read, the oldest first."""
        with self.store.reading():
            rows = self._connection.execute(
                f"SELECT {_FIELDS} FROM batches WHERE identity = ? AND created >= ? "
                "AND state IN (?, ?) ORDER BY id",
                (identity, _oldest(), *OPEN),
            ).fetchall()
        return [self._batch(row) for row in rows]

    def records(self, model: str | None = None) -> list[BatchRecord]:
        """All that was recorded, of one model name or of all, the oldest first."""
        with self.store.reading():
            rows = self._connection.execute(
                "SELECT batch, model, state, requests, length(covers) / ?, created "
                "FROM batches WHERE ? IS NULL OR model = ? ORDER BY id",
                (DIGEST_BYTES, model, model),
            ).fetchall()
        return [BatchRecord(*row) for row in rows]

    def get(self, row_id: int) -> Batch:
        """The batch of that row; without its `ids` if it has ended."""
        with self.store.reading():
            row = self._connection.execute(
                f"SELECT {_FIELDS} FROM batches WHERE id = ?", (row_id,)
            ).fetchone()
        if row is None:
            raise StoreDamaged(
                f"{self.store.path}: the record of a batch was removed while a process was "
                "waiting for it. Run again: what was answered is kept."
            )
        return self._batch(row)

    def last(self) -> int:
        """The row of the batch recorded last; 0 where there is none."""
        with self.store.reading():
            (row_id,) = self._connection.execute(
                "SELECT coalesce(max(id), 0) FROM batches"
            ).fetchone()
        return int(row_id)

    def intend(
        self, identity: bytes, model: str, ids: Collection[str], last: int
    ) -> Batch | None:
        """Record that this process is about to create a batch of requests with these ids.

        `last` is what `last()` said before the caller looked for open batches. None, and
        nothing recorded, if another batch of the model was recorded since. When it returns,
        the record outlasts a power failure.
        """
        with self.store.durable():
            newer = self._connection.execute(
                "SELECT 1 FROM batches WHERE identity = ? AND id > ?", (identity, last)
            ).fetchone()
            if newer is not None:
                return None
            row_id = self._insert(identity, model, ids)
        return self.get(row_id)

    def take(self, row_id: int) -> bool:
        """Make this process the one that decides what became of an intent; False if that is
        known, or another process that is alive is at it.

        No process takes over an hour to create a batch, so an older intent is free. Of one on
        another machine nothing else is known.
        """
        owner = Owner.current()
        with self.store.transaction():
            batch = self.get(row_id)
            if batch.state != "intended":
                return False
            recent = batch.created > time.time() - CREATING_SECONDS
            if batch.owner != owner and recent and batch.owner.is_alive():
                return False
            self._connection.execute(
                "UPDATE batches SET host = ?, boot = ?, pid = ?, started = ? WHERE id = ?",
                (owner.host, owner.boot, owner.pid, owner.started, row_id),
            )
        return True

    def submitted(self, row_id: int, batch: str) -> None:
        """Record the provider's id of a batch that it has created."""
        with self.store.durable():
            self._connection.execute(
                "UPDATE batches SET batch = ?, state = 'submitted', updated = ? "
                "WHERE id = ? AND state = 'intended'",
                (batch, time.time(), row_id),
            )

    def read(self, row_id: int, ids: Collection[str], state: str) -> None:
        """Record that a batch which ended in that state has nothing more to tell of these
        requests: their answers are stored, or there are none."""
        with self.store.transaction():
            left = self.get(row_id).ids.difference(ids)
            if not left:
                self.ended(row_id, state)
                return
            (identity,) = self._connection.execute(
                "SELECT identity FROM batches WHERE id = ?", (row_id,)
            ).fetchone()
            covers = _packed(left)
            self._connection.execute(
                "UPDATE batches SET covers = ?, checksum = ?, updated = ? WHERE id = ?",
                (covers, batch_digest(identity, covers), time.time(), row_id),
            )

    def ended(self, row_id: int, state: str) -> None:
        """Record that a batch has nothing more to tell, of any request."""
        if state not in ENDED:
            raise ValueError(f"a batch does not end as {state!r}; known: {', '.join(ENDED)}")
        with self.store.transaction():
            self._connection.execute(
                "UPDATE batches SET state = ?, covers = x'', updated = ? WHERE id = ?",
                (state, time.time(), row_id),
            )

    def _insert(self, identity: bytes, model: str, ids: Collection[str]) -> int:
        now, owner = time.time(), Owner.current()
        covers = _packed(ids)
        digest = batch_digest(identity, covers)
        (attempt,) = self._connection.execute(
            "SELECT coalesce(max(attempt) + 1, 0) FROM batches "
            "WHERE identity = ? AND digest = ?",
            (identity, digest),
        ).fetchone()
        cursor = self._connection.execute(
            "INSERT INTO batches (identity, model, digest, attempt, requests, covers, "
            "checksum, state, host, boot, pid, started, created, updated) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 'intended', ?, ?, ?, ?, ?, ?)",
            (
                *(identity, model, digest, attempt, len(ids), covers, digest),
                *(owner.host, owner.boot, owner.pid, owner.started, now, now),
            ),
        )
        row_id = cursor.lastrowid
        if row_id is None:
            raise AssertionError("an INSERT gives a row id")
        return row_id

    def _batch(self, row: tuple[Any, ...]) -> Batch:
        row_id, identity, digest, attempt, batch, covers, checksum, state, *owner, created = row
        if state in OPEN and batch_digest(identity, covers) != checksum:
            raise StoreDamaged(
                f"{self.store.path}: the record of batch {batch or row_id} is damaged. "
                "`elicit cache verify --repair` removes it; its requests are paid for again."
            )
        ids = frozenset(
            covers[i : i + DIGEST_BYTES].hex() for i in range(0, len(covers), DIGEST_BYTES)
        )
        return Batch(row_id, f"{digest}-{attempt}", batch, ids, state, Owner(*owner), created)


def _oldest() -> float:
    """When a batch was created, at the earliest, of which every provider keeps the answers."""
    return time.time() - KEPT_DAYS * 86400


def _packed(ids: Collection[str]) -> bytes:
    return b"".join(bytes.fromhex(request) for request in sorted(ids))


def batch_digest(identity: bytes, covers: bytes) -> str:
    """32 hexadecimal digits that name a model and a set of requests."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES, person=b"batch")
    state.update(identity)
    state.update(covers)
    return state.hexdigest()
