"""What hosted models read from their prompt caches, as far as their makers state it.

A rule that nobody states is unknown, never guessed: a newer model's minimum is not its
predecessor's. Lifetimes are what is promised at least; entries may last longer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PromptCache:
    """When the beginning of a prompt is read from a cache."""

    minimum_tokens: int
    """A shorter beginning is neither written nor read."""
    automatic: bool
    """Any beginning that a former prompt shared counts, in whole steps. Else a beginning
    is written up to a mark that the request sets, and read by requests that share all of
    it."""
    step_tokens: int
    """What an automatic match is rounded down to a multiple of."""
    lasts_seconds: int
    source: str


_OPENAI = "https://developers.openai.com/api/docs/guides/prompt-caching"
_ANTHROPIC = "https://platform.claude.com/docs/en/build-with-claude/prompt-caching"

# Read in November 2026. Up to GPT-5.5 matches are automatic; from GPT-5.6 on they are exact
# at a mark ("the boundary is not rounded to a token block", the openai SDK's own types),
# and writes are billed.
_RULES: tuple[tuple[str, str, PromptCache], ...] = (
    (
        "openai",
        r"gpt-(4o|4\.1|5(\.[1-5])?)(-.*)?",
        PromptCache(1024, True, 128, 300, f"{_OPENAI}; cookbook: prompt_caching_201"),
    ),
    ("openai", r"gpt-(5\.[6-9]|6(\.\d+)?)(-.*)?", PromptCache(1024, False, 1, 1800, _OPENAI)),
    *(
        ("anthropic", name + r"(-\d{8})?", PromptCache(minimum, False, 1, 300, _ANTHROPIC))
        for name, minimum in (
            ("claude-(opus|fable)-5", 512),
            ("claude-(opus-4-8|sonnet-5|sonnet-4(-[56])?|opus-4(-1)?)", 1024),
            ("claude-(opus-4-[56]|haiku-4-5)", 4096),
        )
    ),
)


def find_prompt_cache(provider: str, model: str) -> PromptCache | None:
    """The rule of a model's prompt cache; None where none is known."""
    for name, pattern, rule in _RULES:
        if provider == name and re.fullmatch(pattern, model):
            return rule
    return None
