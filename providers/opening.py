"""What opening any hosted model has in common: findings, addresses, limits."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

from elicit.cache.findings import Findings
from elicit.providers.base import UNBOUNDED, Budget
from elicit.providers.found import Found, recall
from elicit.providers.hosted import HostedProvider, Wire
from elicit.providers.hosted_settings import HostedSettings
from elicit.providers.limits import Limiter
from elicit.providers.presets import parse_model, presets
from elicit.providers.retry import RetryPolicy

_log = logging.getLogger(__name__)

OPENAI = "https://api.openai.com/v1"
ANTHROPIC = "https://api.anthropic.com"
AT_ONCE = 64
"""Requests in flight, where nothing else is known."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What opening a model may use: what was found out before, and money to find out more."""

    findings: Findings | None = None
    budget: Budget = UNBOUNDED
    ask: bool = True
    """Whether the model may be asked. If not, what was never found out is supposed, and no
    key is needed: such a model is for counting, not for scores."""
    again: bool = False
    """Whether to ask anew what was found out before."""

    def recall(self, key: str) -> Found | None:
        return None if self.again else recall(self.findings, key)


def finding_key(provider: str, address: str, model: str, settings: HostedSettings) -> str:
    """What is found out is kept under all that decides it, and under nothing else."""
    ways = (settings.scorer, settings.top_k, settings.token_ids, settings.reasoning_tokens)
    return " ".join([provider, address, model, *map(str, ways)])


def found_before(name: str, findings: Findings) -> Found | None:
    """What was found out about a model of that name, without opening it."""
    prefix, _, rest = name.partition(":")
    model, settings = HostedSettings.parse(rest)
    if prefix in _ADDRESSES:
        return recall(findings, finding_key(prefix, address(prefix), model, settings))
    server = parse_model(prefix, model)
    return recall(findings, finding_key(prefix, server.base_url, server.model, settings))


_ADDRESSES = {
    "openai": ("OPENAI_BASE_URL", OPENAI),
    "anthropic": ("ANTHROPIC_BASE_URL", ANTHROPIC),
}


def address(prefix: str) -> str:
    """Where a provider is; one that is written in two ways must not be two models."""
    variable, usual = _ADDRESSES[prefix]
    return (os.environ.get(variable) or usual).rstrip("/")


def provided(name: str, wire: Wire, settings: HostedSettings, found: Found) -> HostedProvider:
    """The provider of a wire. What the user should know of the model is told."""
    for warning in found.warnings:
        _log.warning("%s: %s", name, warning)
    return HostedProvider(
        name,
        wire,
        Limiter(max_concurrency=settings.concurrency or _at_once(wire.identity.provider)),
        RetryPolicy(attempts=settings.attempts),
    )


def _at_once(provider: str) -> int:
    """Requests in flight that a server of this kind bears."""
    kind = presets().get(provider)
    return AT_ONCE if kind is None or kind.at_once is None else kind.at_once
