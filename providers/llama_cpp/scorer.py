"""Scores prompts with a GGUF model: demonstrations decoded once, items as branches.

The demonstrations (the trunk) live in sequence 0 of a context between calls, see `trunks`;
what is held of a trunk never depends on how it got there, and a unit's branches always stand
right behind it. Hence a unit's numbers depend on its prompts alone, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import llama_cpp
import numpy as np

from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Form,
    Identity,
    LabelScores,
    ModelError,
    PromptTooLong,
    ScoredUnit,
    ScoreRequest,
    Scoring,
    Usage,
)
from elicit.providers.llama_cpp.batch import (
    BatchToken,
    Branches,
    TokenPrompt,
    Unit,
    branches,
    plan,
)
from elicit.providers.llama_cpp.content_hash import content_hash
from elicit.providers.llama_cpp.context import LlamaContext
from elicit.providers.llama_cpp.model import LlamaModel
from elicit.providers.llama_cpp.prompt_tokens import template_of, tokeniser_of
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
            template = template_of(self._model, path, self._settings)
        except ModelError:
            self._model.close()
            raise
        self._tokeniser = tokeniser_of(self._model, template, self._settings)
        self._trunks = Trunks(self._model, self._settings)
        self._name = name or f"llama-cpp:{path}"
        self._identity = Identity(
            provider="llama-cpp",
            model=f"sha256:{content_hash(path)}",
            revision="" if adapter is None else f"adapter sha256:{content_hash(adapter)}",
            parameters={
                **self._settings.identity(),
                **({} if template is None else template.identity()),
                "llama_cpp": llama_cpp.__version__,
            },
        )
        self._limit = self._settings.n_ctx or self._model.trained_context

    @property
    def name(self) -> str:
        return self._name

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        form: Form = "chat" if self._settings.chat == "on" else "text"
        return Capabilities("exact", self._limit, deterministic=True, form=form)

    def close(self) -> None:
        self._model.close()

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        return [_length(prompt) for prompt in self._tokeniser.encode(requests)]

    def score(self, requests: Sequence[ScoreRequest], budget: Budget = UNBOUNDED) -> Scoring:
        prompts = self._tokeniser.encode(requests)
        for prompt in prompts:
            if _length(prompt) > self._limit:
                raise PromptTooLong(
                    f"{self._name}: prompt {prompt.index + 1} of {len(prompts)} has "
                    f"{_length(prompt):,} tokens with its label, the context {self._limit:,}; "
                    'use demonstrations = "fit", or a model that takes more'
                )
        single = self._settings.mode == "single"
        for unit in plan(
            prompts,
            sequences=1 if single else self._settings.sequences,
            tokens=self._settings.branch_tokens,
        ):
            layout = branches(unit)
            held = self._trunks.nearest(unit.trunk)
            kept = held.make_room(unit.trunk, len(layout.tokens))
            expected = Usage(
                requests=len(unit.prompts),
                forwarded_tokens=len(unit.trunk) - kept + len(layout.tokens),
                prompt_tokens=sum(len(p.prompt) + len(p.nodes()) - 1 for p in unit.prompts),
            )
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


def _length(prompt: TokenPrompt) -> int:
    """Tokens of a prompt with its longest label."""
    return len(prompt.prompt) + max(len(label) for label in prompt.labels)


def _split(tokens: Sequence[BatchToken], size: int) -> list[Sequence[BatchToken]]:
    return [tokens[i : i + size] for i in range(0, len(tokens), size)]


def _log_sum_exp(row: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """In double precision: single would cost the fourth digit at 150,000 tokens."""
    top = float(row.max())
    return top + float(np.log(np.exp(row - top, dtype=np.float64).sum()))
