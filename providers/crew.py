"""Threads that do jobs: in order, many at once; a stop waits for those under way."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Hashable, Sequence
from typing import Generic, TypeVar

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


class Order(Generic[Job]):
    """Hands out jobs in order; of those that share a prefix, the first goes alone.

    Where a server keeps the prefixes it has read, the first job writes one and the others
    read it; sent together, all would pay for it in full.
    """

    def __init__(self, jobs: Sequence[Job], prefix_of: Callable[[Job], Hashable]) -> None:
        self._waiting = deque(jobs)
        self._prefix_of = prefix_of
        self._first: set[Hashable] = set()
        """Prefixes whose first job is under way."""
        self._known: set[Hashable] = set()
        self._closed = False
        self._changed = threading.Condition()

    def take(self) -> Job | None:
        """The next job, once there is one that may begin; None at the end."""
        with self._changed:
            while not self._closed and self._waiting:
                for place, job in enumerate(self._waiting):
                    prefix = self._prefix_of(job)
                    if prefix not in self._first:
                        del self._waiting[place]
                        if prefix is not None and prefix not in self._known:
                            self._first.add(prefix)
                        return job
                self._changed.wait()
            return None

    def done(self, job: Job) -> None:
        """Let go what waited for this job."""
        with self._changed:
            prefix = self._prefix_of(job)
            self._first.discard(prefix)
            self._known.add(prefix)
            self._changed.notify_all()

    def close(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Crew(Generic[Job, Outcome]):
    """Does jobs until there are none, one raises, or an interrupt comes."""

    def __init__(
        self,
        order: Order[Job],
        do: Callable[[Job, Callable[[], bool]], Outcome],
        on_stop: Callable[[], object] = lambda: None,
    ) -> None:
        """`do(job, stopped)` does a job; `on_stop` wakes what sleeps inside it."""
        self._order = order
        self._do = do
        self._on_stop = on_stop
        self._stopping = threading.Event()
        self._outcomes: deque[Outcome | BaseException | None] = deque()
        self._arrived = threading.Condition()

    def outcomes(self, threads: int) -> Generator[Outcome | BaseException, None, None]:
        """What came of each job that was begun, as it comes; an exception is an outcome too.

        After the first exception no job is begun. An interrupt counts as one, so that what
        is in flight, and will be paid for, still arrives; a second interrupt is raised.
        """
        for _ in range(threads):
            # Daemons: a server that never answers must not hold the process up.
            threading.Thread(target=self._work, daemon=True).start()
        interrupted = False
        try:
            while threads:
                try:
                    # Looked at before it is taken: an interrupt in between loses nothing.
                    with self._arrived:
                        self._arrived.wait_for(lambda: self._outcomes)
                    outcome = self._outcomes[0]
                except KeyboardInterrupt as interrupt:
                    if interrupted:
                        raise
                    interrupted = True
                    self.stop()
                    yield interrupt
                    continue
                self._outcomes.popleft()
                if outcome is None:
                    threads -= 1
                else:
                    yield outcome
        finally:
            self.stop()

    def stop(self) -> None:
        """Begin nothing more."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._order.close()
            self._on_stop()

    def _work(self) -> None:
        try:
            while (job := self._order.take()) is not None:
                try:
                    self._tell(self._do(job, self._stopping.is_set))
                finally:
                    self._order.done(job)
        except BaseException as error:  # noqa: BLE001  handed to whoever reads the outcomes
            self.stop()
            self._tell(error)
        finally:
            self._tell(None)

    def _tell(self, outcome: Outcome | BaseException | None) -> None:
        with self._arrived:
            self._outcomes.append(outcome)
            self._arrived.notify()
