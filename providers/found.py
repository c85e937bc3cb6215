"""What was found out about a hosted model by asking it: kept, so that it is asked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from elicit.cache.errors import StoreDamaged
from elicit.cache.findings import Findings
from elicit.providers.hosted_settings import Scorer

VERSION = 2
"""Raised when the meaning of a field changes; what was found under another is asked anew."""


@dataclass(frozen=True, slots=True)
class Found:
    """How a model can be asked, and what it calls itself."""

    scorer: Scorer
    revision: str = ""
    """The model's name in its replies."""
    top_k: int = 0
    """Likeliest tokens that it tells, at most."""
    token_ids: bool = False
    """Whether it tells labels by the ids of their tokens."""
    keeps_leading_space: bool = True
    reasoning_tokens: int = 0
    """Room for thinking before a drawn answer, without which there was none."""
    can_skip_thinking: bool = True
    context_tokens: int | None = None
    characters: int = 0
    """Of the prompts that it counted, and their tokens."""
    tokens: int = 0
    warnings: tuple[str, ...] = ()
    """Each a sentence for the user: an end date, a limit."""
    version: int = VERSION


def recall(findings: Findings | None, model: str) -> Found | None:
    """What was found last; None where nothing was, or under another version.

    Raises:
        StoreDamaged: it is not what was written.
    """
    stored = None if findings is None else findings.get(model)
    if stored is None or stored.get("version") != VERSION:
        return None
    return _loaded(stored, model)


def remember(findings: Findings | None, model: str, found: Found) -> None:
    if findings is not None:
        findings.put(model, asdict(found))


def _loaded(stored: Mapping[str, Any], model: str) -> Found:
    known = {field.name for field in fields(Found)}
    values: dict[str, Any] = {**stored, "warnings": tuple(stored.get("warnings", ()))}
    try:
        return Found(**values)
    except TypeError as error:
        raise StoreDamaged(
            f"what was found about {model} has not the fields {', '.join(sorted(known))}; "
            f"`elicit doctor --model {model} --again` asks it once more"
        ) from error
