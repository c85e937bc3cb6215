"""What a local model is asked, as units of tokens. Its vocabulary is enough for that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import llama_cpp

from elicit.providers.base import (
    Capabilities,
    Form,
    Identity,
    PromptTooLong,
    ScoreRequest,
    Usage,
)
from elicit.providers.llama_cpp.batch import TokenPrompt, Unit, plan
from elicit.providers.llama_cpp.content_hash import content_hash
from elicit.providers.llama_cpp.model import LlamaModel
from elicit.providers.llama_cpp.prompt_tokens import template_of, tokeniser_of
from elicit.providers.llama_cpp.settings import LlamaSettings


class Planner:
    """Turns requests into units, by the vocabulary of `model`, which is opened from `path`.

    Raises:
        ModelError: it has no chat template and is to be asked in a chat.
    """

    def __init__(
        self,
        model: LlamaModel,
        path: Path,
        adapter: Path | None,
        settings: LlamaSettings,
        name: str | None = None,
    ) -> None:
        template = template_of(model, path, settings)
        self.name = name or f"llama-cpp:{path}"
        self.limit = settings.n_ctx or model.trained_context
        """Tokens of the longest prompt with its label."""
        form: Form = "chat" if settings.chat == "on" else "text"
        self.capabilities = Capabilities("exact", self.limit, deterministic=True, form=form)
        self.identity = Identity(
            provider="llama-cpp",
            model=f"sha256:{content_hash(path)}",
            revision="" if adapter is None else f"adapter sha256:{content_hash(adapter)}",
            parameters={
                **settings.identity(),
                **({} if template is None else template.identity()),
                "llama_cpp": llama_cpp.__version__,
            },
        )
        self._settings = settings
        self._tokeniser = tokeniser_of(model, template, settings)

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int]:
        """Tokens of each prompt with its longest label."""
        return [_length(prompt) for prompt in self._tokeniser.encode(requests)]

    def units(self, requests: Sequence[ScoreRequest]) -> list[Unit]:
        """What is decoded together, for all requests.

        Raises:
            PromptTooLong: one does not fit the context.
            ModelError: see `Tokeniser.encode`.
        """
        prompts = self._tokeniser.encode(requests)
        for prompt in prompts:
            if _length(prompt) > self.limit:
                raise PromptTooLong(
                    f"{self.name}: prompt {prompt.index + 1} of {len(prompts)} has "
                    f"{_length(prompt):,} tokens with its label, the context {self.limit:,}; "
                    'use demonstrations = "fit", or a model that takes more'
                )
        return plan(
            prompts,
            sequences=1 if self._settings.mode == "single" else self._settings.sequences,
            tokens=self._settings.branch_tokens,
        )


def usage_of(unit: Unit, kept: int) -> Usage:
    """What a unit takes of a model that holds the first `kept` tokens of its trunk."""
    return Usage(
        requests=len(unit.prompts),
        forwarded_tokens=len(unit.trunk) - kept + unit.cost,
        prompt_tokens=sum(len(p.prompt) + len(p.nodes()) - 1 for p in unit.prompts),
    )


def _length(prompt: TokenPrompt) -> int:
    """Tokens of a prompt with its longest label."""
    return len(prompt.prompt) + max(len(label) for label in prompt.labels)
