"""Opens Anthropic's models by name."""

from __future__ import annotations

import httpx2

from elicit.providers.anthropic.facts import model_facts
from elicit.providers.anthropic.wire import open_wire
from elicit.providers.base import ModelError
from elicit.providers.found import Found, remember
from elicit.providers.hosted import HostedProvider
from elicit.providers.hosted_settings import HostedSettings
from elicit.providers.opening import Opening, address, finding_key, provided
from elicit.providers.prices import find_price
from elicit.providers.redact import secret_from_environment
from elicit.providers.transport import open_client

KEY = "ANTHROPIC_API_KEY"


def open_anthropic(rest: str, opening: Opening) -> HostedProvider:
    """`anthropic:MODEL[?...]`, at Anthropic or where ANTHROPIC_BASE_URL says."""
    model, settings = HostedSettings.parse(rest)
    if not model:
        raise ModelError("anthropic: name a model, as in anthropic:claude-haiku-4-5")
    if settings.scorer not in ("auto", "samples") or settings.token_ids == "true":
        raise ModelError(
            f"anthropic:{model}: Anthropic's models tell no probabilities; leave ?scorer= "
            "and ?token_ids= out"
        )
    if settings.reasoning_tokens:
        raise ModelError(
            f"anthropic:{model}: it is told not to think, or given room for it where it can't "
            "be; leave ?reasoning_tokens= out"
        )
    base_url = address("anthropic")
    key = secret_from_environment(KEY, required=opening.ask)
    client = open_client(base_url, key, timeout=settings.timeout)
    name = f"anthropic:{rest}"
    place = finding_key("anthropic", base_url, model, settings)
    found = opening.recall(place)
    if found is None and not opening.ask:
        found = Found("samples")
    if found is None:
        found = _asked(name, client, base_url, model)
        remember(opening.findings, place, found)
    wire = open_wire(
        model,
        client,
        samples=settings.samples,
        price=find_price("anthropic", model),
        base_url=base_url,
        revision=found.revision,
        context_tokens=found.context_tokens,
        can_skip_thinking=found.can_skip_thinking,
    )
    return provided(name, wire, settings, found)


def _asked(name: str, client: httpx2.Client, base_url: str, model: str) -> Found:
    """What Anthropic says about a model; asking costs nothing."""
    try:
        facts = model_facts(client, model, base_url=base_url)
    except BaseException:
        client.close()
        raise
    if facts.structured_outputs is False:
        client.close()
        raise ModelError(f"{name}: {'; '.join(facts.warnings)}")
    return Found(
        "samples",
        facts.revision,
        can_skip_thinking=facts.can_skip_thinking is not False,
        context_tokens=facts.context_tokens,
        warnings=facts.warnings,
    )
