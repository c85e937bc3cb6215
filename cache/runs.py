"""Runs and their checkpoints, in the same file as the scores.

A checkpoint is one small transaction: a chain's state replaces the one before and its
trace grows with it, so a run that is killed goes on from a state whose trace is whole.
"""

from __future__ import annotations

import difflib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from elicit.cache.claims import Owner, delete_owner, read_owner, write_owner
from elicit.cache.codec import state_checksum
from elicit.cache.errors import InputError, StoreDamaged
from elicit.cache.names import check_name
from elicit.cache.store import ScoreStore

STATUSES = ("running", "done", "interrupted", "budget", "failed")
"""All but `done` can be resumed. A run nobody works on is never given out as `running`."""

_FIELDS = (
    "id, name, task_digest, task_path, model, method, settings, seed, chains, status, result, "
    "usage, created, updated"
)


@dataclass(frozen=True, slots=True)
class Run:
    """A run as stored. `created` and `updated` are Unix times in seconds."""

    id: int
    name: str
    task_digest: str
    task_path: str
    model: str
    method: str
    settings: Mapping[str, Any]
    seed: int
    chains: int
    status: str
    result: Mapping[str, Any] | None
    usage: Mapping[str, float]
    created: float
    updated: float


class RunStore:
    """The runs of a score store. It owns nothing: close the store."""

    def __init__(self, store: ScoreStore) -> None:
        self._store = store
        self._connection = store.connection

    def create(
        self,
        name: str | None,
        *,
        task_digest: str,
        task_path: str,
        model: str,
        method: str,
        settings: Mapping[str, object],
        seed: int,
        chains: int,
    ) -> Run:
        """Record a new run; without a name it is called after its task, `claims-1`.

        Raises:
            InputError: the name is taken, or no name.
        """
        if name is not None:
            check_name("run", name)
        with self._store.transaction():
            names = self._names()
            if name in names:
                raise InputError(
                    f"run {name!r} exists. Go on with it: `elicit resume {name}`, or choose "
                    "another --name."
                )
            chosen = name if name is not None else _free_name(task_path, names)
            now = time.time()
            parts = (task_digest, task_path, model, method, _dump(settings), seed, chains)
            self._connection.execute(
                "INSERT INTO runs (name, task_digest, task_path, model, method, settings, "
                "seed, chains, status, usage, created, updated) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'running', '{}', ?, ?)",
                (chosen, *parts, now, now),
            )
        return self.get(chosen)

    def get(self, name: str) -> Run:
        """The run of that name.

        Raises:
            InputError: there is none; the message suggests the nearest.
        """
        found = self.find(name)
        if found is not None:
            return found
        with self._store.reading():
            near = difflib.get_close_matches(name, sorted(self._names()), n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "`elicit runs` lists them."
        raise InputError(f"no run {name!r} in {self._store.path}. {hint}")

    def find(self, name: str) -> Run | None:
        """The run of that name; None where there is none."""
        with self._store.reading():
            row = self._connection.execute(
                f"SELECT {_FIELDS} FROM runs WHERE name = ?", (name,)
            ).fetchone()
        return None if row is None else self._run(row)

    def checkpoint(
        self,
        run_id: int,
        chain: int,
        state: str,
        iteration: int,
        trace_rows: Sequence[tuple[Any, ...]] = (),
    ) -> None:
        """Replace a chain's state and append to its trace, in one transaction.

        A trace row is a tuple of JSON values; its first is its iteration. Rows of iterations
        that are saved already are skipped: who was interrupted in mid-commit may give them
        again.
        """
        with self._store.transaction():
            (saved,) = self._connection.execute(
                "SELECT max(iteration) FROM trace WHERE run = ? AND chain = ?", (run_id, chain)
            ).fetchone()
            rows = [
                (run_id, chain, row[0], _dump(row[1:]))
                for row in trace_rows
                if saved is None or row[0] > saved
            ]
            self._connection.execute(
                "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?)",
                (run_id, chain, iteration, state, state_checksum(state)),
            )
            self._connection.executemany("INSERT INTO trace VALUES (?, ?, ?, ?)", rows)
            self._touch(run_id)

    def load_checkpoint(self, run_id: int, chain: int) -> str | None:
        """The state last saved; None before the first.

        Raises:
            StoreDamaged: it is not what was saved.
        """
        with self._store.reading():
            row = self._connection.execute(
                "SELECT state, checksum FROM checkpoints WHERE run = ? AND chain = ?",
                (run_id, chain),
            ).fetchone()
        if row is None:
            return None
        state: str = row[0]
        if state_checksum(state) != row[1]:
            raise StoreDamaged(
                f"{self._store.path}: the saved state of run {run_id}, chain {chain} differs "
                "from its checksum. Start the run again under another name: its scores are "
                "kept, so what is sound is not paid again."
            )
        return state

    def trace(self, run_id: int, chain: int) -> list[tuple[Any, ...]]:
        """The trace rows as they were given, by iteration."""
        with self._store.reading():
            rows = self._connection.execute(
                "SELECT iteration, data FROM trace WHERE run = ? AND chain = ? "
                "ORDER BY iteration",
                (run_id, chain),
            ).fetchall()
        return [(iteration, *json.loads(data)) for iteration, data in rows]

    def finish(
        self, run_id: int, status: str, result: Mapping[str, object] | None = None
    ) -> None:
        """Record how a run ended, for now or for good, and what came of it."""
        with self._store.transaction():
            self.set_status(run_id, status)
            self._connection.execute(
                "UPDATE runs SET result = ? WHERE id = ?",
                (None if result is None else _dump(result), run_id),
            )

    def set_status(self, run_id: int, status: str) -> None:
        """Record where a run stands, one of `STATUSES`; its result stays."""
        if status not in STATUSES:
            raise ValueError(f"unknown status {status!r}; known: {', '.join(STATUSES)}")
        with self._store.transaction():
            self._connection.execute(
                "UPDATE runs SET status = ? WHERE id = ?", (status, run_id)
            )
            self._touch(run_id)

    def add_usage(self, run_id: int, usage: Mapping[str, float | None]) -> None:
        """Add what a process used to the run's totals; None adds nothing."""
        with self._store.transaction():
            row = self._connection.execute(
                "SELECT usage FROM runs WHERE id = ?", (run_id,)
            ).fetchone()
            if row is None:
                raise ValueError(f"no run has the id {run_id}")
            total: dict[str, float] = json.loads(row[0])
            for what, amount in usage.items():
                if amount is not None:
                    total[what] = total.get(what, 0) + amount
            self._connection.execute(
                "UPDATE runs SET usage = ? WHERE id = ?", (_dump(total), run_id)
            )
            self._touch(run_id)

    @contextmanager
    def claim(self, run_id: int, *, force: bool = False) -> Iterator[None]:
        """Work on a run as the only process; on the way out an unfinished run is
        `interrupted`. `force` takes it from a process on a host that can't be asked.

        Raises:
            InputError: a process that is alive works on it.
        """
        owner = Owner.current()
        with self._store.transaction():
            held = read_owner(self._connection, run_id)
            if held is not None and held.is_alive() and not force:
                raise InputError(
                    f"process {held.pid} on {held.host} is working on run {run_id}. Wait for "
                    f"it, or end it and resume then (kill {held.pid})."
                )
            write_owner(self._connection, run_id, owner)
            self._connection.execute(
                "UPDATE runs SET status = 'running' WHERE id = ? AND status <> 'done'",
                (run_id,),
            )
        try:
            yield
        finally:
            with self._store.transaction():
                if read_owner(self._connection, run_id) == owner:
                    self._connection.execute(
                        "UPDATE runs SET status = 'interrupted' "
                        "WHERE id = ? AND status = 'running'",
                        (run_id,),
                    )
                    delete_owner(self._connection, run_id, owner)

    def _names(self) -> set[str]:
        return {name for (name,) in self._connection.execute("SELECT name FROM runs")}

    def _touch(self, run_id: int) -> None:
        cursor = self._connection.execute(
            "UPDATE runs SET updated = ? WHERE id = ?", (time.time(), run_id)
        )
        if not cursor.rowcount:
            raise ValueError(f"no run has the id {run_id}")

    def _run(self, row: tuple[Any, ...]) -> Run:
        (run_id, name, digest, path, model, method, settings, seed, chains, status) = row[:10]
        result, usage, created, updated = row[10:]
        if status == "running":
            owner = read_owner(self._connection, run_id)
            if owner is None or not owner.is_alive():
                status = "interrupted"  # killed before it could say so
        return Run(
            run_id,
            name,
            digest,
            path,
            model,
            method,
            json.loads(settings),
            seed,
            chains,
            status,
            None if result is None else json.loads(result),
            json.loads(usage),
            created,
            updated,
        )

    def list(self, task_digest: str | None = None) -> list[Run]:
        """All runs, or those of one task, the oldest first."""
        with self._store.reading():
            rows = self._connection.execute(
                f"SELECT {_FIELDS} FROM runs WHERE ?1 IS NULL OR task_digest = ?1 ORDER BY id",
                (task_digest,),
            )
            return [self._run(row) for row in rows.fetchall()]


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _free_name(task_path: str, names: set[str]) -> str:
    """`claims-1`, or the first number that is free."""
    stem = re.sub(r"[^\w.+-]+", "-", PurePath(task_path).stem).strip("-.+")[:80] or "run"
    number = 1
    while f"{stem}-{number}" in names:
        number += 1
    return f"{stem}-{number}"
