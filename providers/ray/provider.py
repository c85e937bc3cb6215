"""A local model behind the same seam, held by several processes at once.

What is asked is planned here as one process would plan it, and each unit is decoded whole by
one of the workers. So scores are the same to the last bit, whatever the number of workers and
whichever of them answered, and the model's identity is that of the file alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Identity,
    ModelError,
    ScoreRequest,
    Scoring,
)
from elicit.providers.llama_cpp.model import LlamaModel, check_gguf
from elicit.providers.llama_cpp.planner import Planner
from elicit.providers.llama_cpp.settings import LlamaSettings
from elicit.providers.ray.round import Round
from elicit.providers.ray.workers import Workers


class RayProvider:
    """A GGUF model, with an adapter or not, in `settings.workers` processes.

    Opening it reads the vocabulary; the processes are started when the first score is asked
    for, so that what the store answers needs none.

    Raises:
        ModelError: Ray is not installed; a file is missing or damaged; it has no chat
            template and is to be asked in a chat.
    """

    def __init__(
        self,
        path: Path,
        *,
        adapter: Path | None = None,
        settings: LlamaSettings,
        name: str | None = None,
    ) -> None:
        _need_ray()
        if adapter is not None:
            check_gguf(adapter)
        self._files = (path, adapter)
        self._settings = settings
        self._model = LlamaModel(path, settings, None, vocabulary_only=True)
        try:
            self._planner = Planner(self._model, path, adapter, settings, name)
        except ModelError:
            self._model.close()
            raise
        self._workers: Workers | None = None

    @property
    def name(self) -> str:
        return self._planner.name

    @property
    def identity(self) -> Identity:
        return self._planner.identity

    @property
    def capabilities(self) -> Capabilities:
        workers = self._settings.workers
        return replace(self._planner.capabilities, contexts_at_once=workers)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers on their machines; empty until a score was asked for."""
        return [] if self._workers is None else [place.pid for place in self._workers.places]

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        return self._planner.count_tokens(requests)

    def close(self) -> None:
        workers, self._workers = self._workers, None
        try:
            if workers is not None:
                workers.close()
        finally:
            self._model.close()

    def score(self, requests: Sequence[ScoreRequest], budget: Budget = UNBOUNDED) -> Scoring:
        """As `Provider.score`. A unit whose worker ends is asked of another.

        Raises:
            ModelError: no worker can open the model.
            ProviderError: workers end over it again and again.
        """
        units = self._planner.units(requests)
        if not units:
            return
        if self._workers is None:
            self._workers = Workers(
                *self._files, self._settings, self.identity, self._planner.name
            )
        yield from Round(self._workers, units, budget, self._settings).scored()


def _need_ray() -> None:
    try:
        found = find_spec("ray") is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise ModelError(
            "workers need Ray: pip install 'elicit-lm[ray]', or leave workers out of the "
            "model's name"
        )
