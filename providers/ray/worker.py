"""What runs in a worker's process: the model, and nothing of the search or its store."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from elicit.providers.base import ScoredUnit
from elicit.providers.llama_cpp import LlamaCppProvider, LlamaSettings
from elicit.providers.ray.parcel import Parcel, unpacked


@dataclass(frozen=True, slots=True)
class Opened:
    """A worker that is ready."""

    pid: int
    identity: bytes
    """Digest of the identity of the model it has opened."""


class Worker:
    """Holds the model from `open` on. `cores` are those it may use; None for any."""

    def __init__(
        self,
        path: Path,
        adapter: Path | None,
        settings: LlamaSettings,
        cores: tuple[int, ...] | None,
    ) -> None:
        self._path = path
        self._adapter = adapter
        self._settings = settings
        self._cores = cores
        self._provider: LlamaCppProvider | None = None

    def pid(self) -> int:
        return os.getpid()

    def open(self) -> Opened:
        """Load the model.

        Raises:
            ModelError: see `LlamaCppProvider`.
        """
        if self._cores is not None:
            # Of this thread; those that llama.cpp starts from it have the same.
            os.sched_setaffinity(0, self._cores)
        self._provider = LlamaCppProvider(
            self._path, adapter=self._adapter, settings=self._settings
        )
        return Opened(os.getpid(), self._provider.identity.digest())

    def score(self, parcel: Parcel) -> ScoredUnit:
        """The scores of one unit.

        Raises:
            ElicitError: see `LlamaCppProvider.decoded`.
        """
        if self._provider is None:
            raise AssertionError("a worker opens its model before it is asked")
        (scored,) = self._provider.decoded([unpacked(parcel)])
        return scored
