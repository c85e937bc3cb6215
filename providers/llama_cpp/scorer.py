"""Scores prompts with a GGUF model: demonstrations decoded once, items as branches.

The demonstrations (the trunk) live in sequence 0 of a context between calls, see `trunks`;
what is held of a trunk never depends on how it got there, and a unit's branches always stand
right behind it. Hence a unit's numbers depend on its prompts alone, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Identity,
    LabelScores,
    ModelError,
    ScoredUnit,
    ScoreRequest,
    Scoring,
)
from elicit.providers.llama_cpp.batch import BatchToken, Branches, Unit, branches
from elicit.providers.llama_cpp.context import LlamaContext
from elicit.providers.llama_cpp.model import LlamaModel
from elicit.providers.llama_cpp.planner import Planner, usage_of
from elicit.providers.llama_cpp.settings import LlamaSettings
from elicit.providers.llama_cpp.trunks import Trunks


class LlamaCppProvider:
    """A local model. `path` and `adapter` are GGUF files.

    Raises:
        ModelError: a file is missing, damaged, or no model llama.cpp can run; it has no chat
            template and is to be asked in a chat.
    """

    def __init__(
        self,
        path: Path,
        *,
        adapter: Path | None = None,
        settings: LlamaSettings | None = None,
        name: str | None = None,
    ) -> None:
        self._settings = settings or LlamaSettings()
        self._model = LlamaModel(path, self._settings, adapter)
        try:
            self._planner = Planner(self._model, path, adapter, self._settings, name)
        except ModelError:
            self._model.close()
            raise
        self._trunks = Trunks(self._model, self._settings)

    @property
    def name(self) -> str:
        return self._planner.name

    @property
    def identity(self) -> Identity:
        return self._planner.identity

    @property
    def capabilities(self) -> Capabilities:
        return self._planner.capabilities

    def close(self) -> None:
        self._model.close()

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        return self._planner.count_tokens(requests)

    def score(self, requests: Sequence[ScoreRequest], budget: Budget = UNBOUNDED) -> Scoring:
        yield from self.decoded(self._planner.units(requests), budget)

    def decoded(self, units: Iterable[Unit], budget: Budget = UNBOUNDED) -> Scoring:
        """The scores of units that a `Planner` of this model made."""
        for unit in units:
            layout = branches(unit)
            held = self._trunks.nearest(unit.trunk)
            kept = held.make_room(unit.trunk, len(layout.tokens))
            expected = usage_of(unit, kept)
            budget.reserve(expected)
            held.hold(unit.trunk, kept)
            scores = self._score_unit(held.context, unit, layout)
            budget.settle(expected, expected)
            yield ScoredUnit(scores, expected)

    def _score_unit(
        self, context: LlamaContext, unit: Unit, layout: Branches
    ) -> tuple[tuple[int, LabelScores], ...]:
        context.branch(layout.sequences)
        rows = []
        for batch in _split(
            layout.tokens, max(self._settings.chunk, self._settings.branch_tokens)
        ):
            rows += context.decode(batch)
        context.keep_prefix(len(unit.trunk))
        sums = [_log_sum_exp(row) for row in rows]
        scores = []
        for prompt, where in zip(unit.prompts, layout.rows, strict=True):
            values = tuple(
                sum(
                    float(rows[where[label[:k]]][label[k]]) - sums[where[label[:k]]]
                    for k in range(len(label))
                )
                for label in prompt.labels
            )
            scores.append((prompt.index, LabelScores(_by_label(values, prompt.meant))))
        return tuple(scores)


def _by_label(values: tuple[float, ...], meant: tuple[int, ...]) -> tuple[float, ...]:
    """Log-probabilities of labels from those of their spellings, which exclude one another."""
    if not meant:
        return values
    of = np.array(values)
    where = np.array(meant)
    return tuple(
        float(np.logaddexp.reduce(of[where == label])) for label in range(max(meant) + 1)
    )


def _split(tokens: Sequence[BatchToken], size: int) -> list[Sequence[BatchToken]]:
    return [tokens[i : i + size] for i in range(0, len(tokens), size)]


def _log_sum_exp(row: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """In double precision: single would cost the fourth digit at 150,000 tokens."""
    top = float(row.max())
    return top + float(np.log(np.exp(row - top, dtype=np.float64).sum()))
