"""The processes that hold a model: opened together, and again when one ends."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elicit.cache.errors import ElicitError
from elicit.providers.base import Identity, ModelError, ScoredUnit
from elicit.providers.llama_cpp.batch import Tokens, Unit
from elicit.providers.llama_cpp.settings import LlamaSettings
from elicit.providers.ray import session
from elicit.providers.ray.parcel import packed
from elicit.providers.ray.worker import Opened, Worker

if TYPE_CHECKING:
    from ray import ObjectRef

OPENINGS = 3
"""Times that a worker's process is started, at most, until one has opened the model."""
DEATHS = 3
"""Times that a worker's process may end; after the last it is not started again."""
START_SECONDS = 300.0
"""Within which Ray must have a process; how long a model takes to load is not bounded."""


class Died(Exception):
    """A worker's process ended."""


@dataclass(slots=True, eq=False)
class Place:
    """Where one worker stands, and after it the one that takes its place."""

    number: int
    actor: Any
    """Ray's handle; its methods are known to no type checker."""
    opening: ObjectRef[Opened] | None
    """What it answers once its model is open; None from then on."""
    pid: int = 0
    held: tuple[Tokens, ...] = ()
    """The trunks that it will hold when all it was sent is done."""
    deaths: int = 0
    gone: bool = False
    """It is not started again."""

    @property
    def ready(self) -> bool:
        return self.opening is None and not self.gone


class Workers:
    """Processes with the model of `path`, as many as the settings say. `close` ends them.
    `kind` is what runs in them, where it is not the model alone."""

    def __init__(
        self,
        path: Path,
        adapter: Path | None,
        settings: LlamaSettings,
        identity: Identity,
        name: str,
        kind: type[Worker] | None = None,
    ) -> None:
        self._kind = kind or Worker
        self._files = (path.resolve(), None if adapter is None else adapter.resolve())
        self._settings = settings
        self._identity = identity.digest()
        self._name = name
        self.places: list[Place] = []
        self._own = session.join()
        try:
            self._check_threads()
            for number in range(settings.workers):
                self.places.append(Place(number, *self._process(number)))
            self._open_all()
        except BaseException:
            self.close()
            raise

    def send(self, place: Place, unit: Unit) -> ObjectRef[ScoredUnit]:
        """Have a worker score a unit, behind what it was sent before."""
        sent: ObjectRef[ScoredUnit] = place.actor.score.remote(packed(unit))
        return sent

    def opened(self, place: Place) -> None:
        """Take what a worker that was opening has answered.

        Raises:
            Died: its process ended.
            ElicitError: it can't open the model.
        """
        if place.opening is None:
            raise AssertionError("it is open")
        ready = answer(place.opening)
        if ready.identity != self._identity:
            raise ModelError(
                f"{self._name}: a worker has another file under that name, or another version "
                "of llama.cpp: give all machines the same"
            )
        place.opening, place.pid, place.held = None, ready.pid, ()

    def replace(self, place: Place) -> None:
        """Start a worker in place of one whose process has ended, unless too many have."""
        place.deaths += 1
        if place.deaths > DEATHS:
            place.gone = True
            return
        place.actor, place.opening = self._process(place.number)

    def close(self) -> None:
        """End the processes. A second call does nothing."""
        import ray

        places, self.places = self.places, []
        for place in places:
            ray.kill(place.actor)
        own, self._own = self._own, False
        if own:
            session.leave()

    def _process(self, number: int) -> tuple[Any, ObjectRef[Opened]]:
        import ray

        cores = _share(number, self._settings) if self._own else None
        actor: Any = (
            ray.remote(self._kind)
            # Nothing is asked of a dead actor again by Ray: its place gets another, and what
            # it had not answered may go elsewhere.
            .options(num_cpus=0 if self._own else self._settings.threads, max_restarts=0)
            .remote(*self._files, self._settings, cores)
        )
        return actor, actor.open.remote()

    def _open_all(self) -> None:
        import ray

        deadline = time.monotonic() + START_SECONDS
        started = [place.actor.pid.remote() for place in self.places]
        _, late = ray.wait(
            started, num_returns=len(started), timeout=deadline - time.monotonic()
        )
        if late:
            raise ModelError(
                f"{self._name}: Ray has started {len(started) - len(late)} of {len(started)} "
                f"workers in {START_SECONDS:.0f} s; use fewer, or with fewer threads"
            )
        for place in self.places:
            while place.opening is not None:
                try:
                    self.opened(place)
                except Died as died:
                    if place.deaths + 1 >= OPENINGS:
                        raise ModelError(
                            f"{self._name}: the process of worker {place.number + 1} ended "
                            f"{OPENINGS} times while it opened the model; each of the "
                            f"{len(self.places)} workers needs memory for it: use fewer"
                        ) from died
                    self.replace(place)

    def _check_threads(self) -> None:
        if not self._own and not self._settings.threads:
            raise ModelError(
                f"{self._name}: say how many threads a worker has on the cluster that "
                f"{session.ADDRESS} names, as in workers=8&threads=4"
            )


def answer(ref: ObjectRef[Any]) -> Any:
    """What a worker answered.

    Raises:
        Died: its process ended before.
        ElicitError: as the worker raised it.
    """
    import ray

    try:
        return ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ElicitError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise Died(str(error)) from error


def _share(number: int, settings: LlamaSettings) -> tuple[int, ...] | None:
    """The cores of a worker: its share of those of this process, one at least; None, for any,
    where the user says how many threads it has."""
    if settings.threads or not hasattr(os, "sched_getaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) <= settings.workers:
        return (cores[number % len(cores)],)
    ends = [len(cores) * k // settings.workers for k in (number, number + 1)]
    return tuple(cores[ends[0] : ends[1]])
