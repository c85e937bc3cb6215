"""Jobs that tune a model, recorded so that any process takes them up and none is paid twice.

Before a provider is asked to make something, the intent is on the disk for good. So a
process that finds an intent of one that is gone knows that the provider may hold what was
asked for, and looks there first.
"""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from elicit.cache.claims import Owner
from elicit.cache.errors import InputError
from elicit.cache.names import check_name
from elicit.cache.store import ScoreStore

OPEN = ("created", "uploaded", "running")
"""States of a job that goes on: nothing sent yet; its file sent; the job begun."""
ENDED = ("done", "failed", "cancelled")

_FIELDS = (
    "id, name, backend, model, source, settings, digest, folder, state, intent, intended, "
    "file, remote, said, result, created, updated"
)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as recorded. Times are Unix times in seconds."""

    id: int
    name: str
    backend: str
    model: str
    """The model to start from."""
    source: str
    """The run whose labels it is tuned on."""
    settings: Mapping[str, Any]
    digest: str
    """Names what is tuned on, and how."""
    folder: str
    """Where its files are."""
    state: str
    intent: str
    """`upload` or `create` where that was about to be asked for; else empty."""
    intended: float | None
    """When."""
    file: str | None
    """The provider's id of the file."""
    remote: str | None
    """The provider's id of the job."""
    said: str
    """What was last said of it: the provider's word, or why it failed."""
    result: Mapping[str, Any] | None
    """Of a job that is done: `model`, the name every command takes, and figures."""
    created: float
    updated: float

    @property
    def is_open(self) -> bool:
        return self.state in OPEN


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that was said of a job, or a point of its curve."""

    event: str
    """Its id, unique within the job."""
    at: float
    message: str
    step: int | None = None
    loss: float | None = None


class JobStore:
    """The jobs of a score store. It owns nothing: close the store."""

    def __init__(self, store: ScoreStore) -> None:
        self.store = store
        self._connection = store.connection

    def create(
        self,
        name: str,
        *,
        backend: str,
        model: str,
        source: str,
        settings: Mapping[str, object],
        digest: str,
        folder: str,
        option: str = "--job",
    ) -> Job:
        """Record a new job. `option` is the one of the command line that names it.

        Raises:
            InputError: the name is taken, or no name.
        """
        check_name("job", name)
        now = time.time()
        with self.store.transaction():
            if self._row("name = ?", name) is not None:
                raise InputError(f"job {name!r} exists; choose another name ({option})")
            if self._connection.execute(
                "SELECT 1 FROM runs WHERE name = ?", (name,)
            ).fetchone():
                raise InputError(f"{name!r} is the name of a run; choose another ({option})")
            self._connection.execute(
                "INSERT INTO jobs (name, backend, model, source, settings, digest, folder, "
                "state, created, updated) VALUES (?, ?, ?, ?, ?, ?, ?, 'created', ?, ?)",
                (name, backend, model, source, json.dumps(settings), digest, folder, now, now),
            )
        return self.get(name)

    def get(self, name: str) -> Job:
        """The job of that name.

        Raises:
            InputError: there is none; the message suggests the nearest.
        """
        found = self.find(name)
        if found is not None:
            return found
        near = difflib.get_close_matches(name, [job.name for job in self.all()], n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "`elicit finetune --list` lists them."
        raise InputError(f"no job {name!r} in {self.store.path}. {hint}")

    def find(self, name: str) -> Job | None:
        """The job of that name; None where there is none."""
        with self.store.reading():
            return self._row("name = ?", name)

    def of_digest(self, digest: str) -> Job | None:
        """The newest job of that digest that goes on or is done; None where there is none."""
        with self.store.reading():
            return self._row(
                "digest = ? AND state NOT IN ('failed', 'cancelled') ORDER BY id DESC", digest
            )

    def all(self) -> list[Job]:
        """All jobs, the oldest first."""
        with self.store.reading():
            rows = self._connection.execute(f"SELECT {_FIELDS} FROM jobs ORDER BY id")
            return [_job(row) for row in rows.fetchall()]

    def intend(self, job: Job, what: str) -> Job:
        """Note, on the disk for good, that the provider is about to be asked for something."""
        with self.store.durable():
            self._connection.execute(
                "UPDATE jobs SET intent = ?, intended = ?, updated = ? WHERE id = ?",
                (what, time.time(), time.time(), job.id),
            )
        return self.get(job.name)

    def update(
        self,
        job: Job,
        state: str,
        *,
        file: str | None = None,
        remote: str | None = None,
        said: str = "",
        result: Mapping[str, object] | None = None,
    ) -> Job:
        """Record where a job stands; what was intended is then made. Ids stay once known."""
        if state not in (*OPEN, *ENDED):
            raise ValueError(f"unknown state {state!r}")
        kept = None if result is None else json.dumps(result)
        with self.store.durable():
            self._connection.execute(
                "UPDATE jobs SET state = ?, file = coalesce(?, file), "
                "remote = coalesce(?, remote), said = ?, result = coalesce(?, result), "
                "intent = '', intended = NULL, updated = ? WHERE id = ?",
                (state, file, remote, said, kept, time.time(), job.id),
            )
        return self.get(job.name)

    def note(self, job: Job, said: str) -> None:
        """Keep what was last said of a job; it stands where it stood."""
        with self.store.transaction():
            self._connection.execute(
                "UPDATE jobs SET said = ?, updated = ? WHERE id = ?",
                (said, time.time(), job.id),
            )

    def add_events(self, job: Job, events: Sequence[JobEvent]) -> list[JobEvent]:
        """Keep events; those that were not known before."""
        with self.store.transaction():
            return [
                e
                for e in events
                if self._connection.execute(
                    "INSERT OR IGNORE INTO job_events VALUES (?, ?, ?, ?, ?, ?)",
                    (job.id, e.event, e.at, e.message, e.step, e.loss),
                ).rowcount
            ]

    def events(self, job: Job) -> list[JobEvent]:
        """What was said of a job, the oldest first."""
        with self.store.reading():
            rows = self._connection.execute(
                "SELECT event, at, message, step, loss FROM job_events WHERE job = ? "
                "ORDER BY at, rowid",
                (job.id,),
            ).fetchall()
        return [JobEvent(*row) for row in rows]

    @contextmanager
    def claim(self, job: Job, *, force: bool = False) -> Iterator[Job]:
        """Work on a job as the only process; gives it as it stands then. `force` takes it from
        a process on a host that can't be asked.

        Raises:
            InputError: a process that is alive works on it.
        """
        owner = Owner.current()
        mine = (owner.host, owner.boot, owner.pid, owner.started)
        with self.store.transaction():
            held = self._connection.execute(
                "SELECT host, boot, pid, started FROM jobs WHERE id = ?", (job.id,)
            ).fetchone()
            holds = held is not None and held[0] is not None and Owner(*held).is_alive()
            if holds and not force:
                here = held[0] == owner.host
                mend = f"end it (kill {held[2]})" if here else "if it is gone, give --force"
                raise InputError(
                    f"process {held[2]} on {held[0]} is working on job {job.name!r}. Wait for "
                    f"it, or {mend}."
                )
            self._connection.execute(
                "UPDATE jobs SET host = ?, boot = ?, pid = ?, started = ? WHERE id = ?",
                (*mine, job.id),
            )
        try:
            yield self.get(job.name)
        finally:
            with self.store.transaction():
                self._connection.execute(
                    "UPDATE jobs SET host = NULL, boot = NULL, pid = NULL, started = NULL "
                    "WHERE id = ? AND host = ? AND boot = ? AND pid = ? AND started = ?",
                    (job.id, *mine),
                )

    def _row(self, where: str, value: str) -> Job | None:
        row = self._connection.execute(
            f"SELECT {_FIELDS} FROM jobs WHERE {where}", (value,)
        ).fetchone()
        return None if row is None else _job(row)


def _job(row: tuple[Any, ...]) -> Job:
    values = dict(zip(_FIELDS.split(", "), row, strict=True))
    values["settings"] = json.loads(values["settings"])
    if values["result"] is not None:
        values["result"] = json.loads(values["result"])
    return Job(**values)
