"""How a hosted model is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from elicit.cache.errors import InputError
from elicit.providers.model_settings import parse_settings

Scorer = Literal["decisions", "completions", "chat", "samples"]
"""A way to have labels scored: questions about one input, next-token probabilities after a
text or in a chat, or answers drawn one by one."""

MOST_REASONING = 1_000_000
"""Tokens: no model takes so many for one answer."""


@dataclass(frozen=True, slots=True)
class HostedSettings:
    """All settings of a hosted model."""

    scorer: Literal["auto", "decisions", "completions", "chat", "samples"] = "auto"
    """`auto` takes the first that the model answers to, the cheapest first."""
    samples: int = 8
    """Draws a prompt, where the model tells no probabilities."""
    top_k: int = 0
    """Likeliest tokens to be told, at most; 0 stands for as many as the server tells."""
    reasoning_tokens: int = 0
    """Room for thinking before a drawn answer, billed as far as it is used. Where it is 0 and
    a model gives no answer without, it is given some when it is first asked."""
    token_ids: Literal["auto", "true", "false"] = "auto"
    """Whether labels of one token are asked for by the token's id, as vLLM can, so that none
    is bounded for being unlikely. `auto` does where the server is known to tell them."""
    concurrency: int = 0
    """Requests in flight at once, at most; 0 stands for what such a server bears: 64, or few
    where it answers one after the other."""
    timeout: float = 60.0
    """Seconds without a byte from the server before a request counts as failed."""
    attempts: int = 8
    """Times a request is sent at most."""

    def __post_init__(self) -> None:
        for name, least in (("samples", 1), ("top_k", 0), ("concurrency", 0), ("attempts", 1)):
            if getattr(self, name) < least:
                raise InputError(f"model setting {name}: must be at least {least}")
        if not 0 <= self.reasoning_tokens <= MOST_REASONING:
            raise InputError(
                f"model setting reasoning_tokens: must be from 0 to {MOST_REASONING:,}"
            )
        if not 0 < self.timeout < float("inf"):
            raise InputError("model setting timeout: must be a number of seconds above 0")

    @staticmethod
    def parse(name: str) -> tuple[str, HostedSettings]:
        """`MODEL?SETTING=VALUE&...` → the model, the settings.

        Raises:
            InputError: names the setting that is unknown or unusable.
        """
        model, _, settings = name.partition("?")
        return model, parse_settings(HostedSettings, settings)
