"""What Anthropic says about a model of its own: for the user, and for how it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

import httpx2
from anthropic.types import ModelInfo

from elicit.providers.anthropic.faults import classify
from elicit.providers.anthropic.sdk import sdk_client
from elicit.providers.garbled import Garbled
from elicit.providers.opening import ANTHROPIC
from elicit.providers.retry import RetryPolicy, retrying


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """None stands for what the server does not say."""

    model: str
    """The name that was asked about."""
    revision: str
    """The snapshot that the name stands for."""
    context_tokens: int | None
    lifecycle: str
    """`active`, `deprecated`, `retired`, or a word that is new."""
    retires_at: date | None
    structured_outputs: bool | None
    """Whether it can be held to a set of labels. A model that can't is of no use here."""
    can_skip_thinking: bool | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Each a sentence for the user, with the mend."""
        said = []
        if self.lifecycle == "retired":
            said.append(f"{self.model} is retired and answers no more; choose another model")
        elif self.lifecycle == "deprecated" or self.retires_at is not None:
            when = f"retires on {self.retires_at}" if self.retires_at else "is deprecated"
            said.append(
                f"{self.model} {when}: end your runs with it before, as none goes on after"
            )
        if self.structured_outputs is False:
            said.append(f"{self.model} can't be held to a set of labels; choose a newer model")
        if self.can_skip_thinking is False:
            said.append(
                f"{self.model} thinks before each label, which is billed; a model that can be "
                "told not to is cheaper"
            )
        return tuple(said)


def model_facts(
    client: httpx2.Client,
    model: str,
    *,
    base_url: str = ANTHROPIC,
    policy: RetryPolicy | None = None,
) -> ModelFacts:
    """Ask about a model. It costs nothing.

    Raises:
        ModelError: there is no such model, or the key may not use it.
        CallFailed: no answer.
    """
    sdk = sdk_client(client, base_url)

    def ask() -> ModelInfo:
        info: object = sdk.models.retrieve(model)
        if not isinstance(info, ModelInfo):
            raise Garbled("the reply is about no model", {})
        return info

    policy = policy or RetryPolicy(attempts=4)
    info = retrying(ask, classify, policy, stopped=lambda: False)
    return ModelFacts(
        model=model,
        revision=str(getattr(info, "id", "") or model),
        context_tokens=_whole(info, "max_input_tokens"),
        lifecycle=str(getattr(info, "lifecycle", "") or ""),
        retires_at=_day(info, "retires_at"),
        structured_outputs=_flag(info, "structured_outputs"),
        can_skip_thinking=_flag(info, "thinking", "types", "disabled"),
    )


def _flag(info: object, *path: str) -> bool | None:
    found: object = getattr(info, "capabilities", None)
    for name in (*path, "supported"):
        found = getattr(found, name, None)
    return found if isinstance(found, bool) else None


def _whole(info: object, name: str) -> int | None:
    value = getattr(info, name, None)
    return value if isinstance(value, int) and value > 0 else None


def _day(info: object, name: str) -> date | None:
    value = getattr(info, name, None)
    if not isinstance(value, datetime):
        return None
    return (value if value.tzinfo is None else value.astimezone(UTC)).date()
