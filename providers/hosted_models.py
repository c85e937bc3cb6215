"""Opens hosted models by name: the key, the client, the price, the way to ask.

What a model's name and the tables do not say is found out by asking it, once; it is kept
among the store's findings.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial

import httpx2

from elicit.cache.findings import Findings
from elicit.providers import anthropic
from elicit.providers.base import UNBOUNDED, Budget, ModelError
from elicit.providers.billing import TokenRatio
from elicit.providers.found import Found, recall, remember
from elicit.providers.hosted import HostedProvider, Wire
from elicit.providers.hosted_settings import HostedSettings, Scorer
from elicit.providers.limits import Limiter
from elicit.providers.listed import with_listed
from elicit.providers.openai.endpoint import BASE_URL, Endpoint
from elicit.providers.openai.token_ids import TokenIds
from elicit.providers.openai.wire import open_wire
from elicit.providers.presets import Server, parse_model, presets
from elicit.providers.prices import find_price
from elicit.providers.probe import UNKNOWN_COUNTS, probe
from elicit.providers.redact import secret_from_environment
from elicit.providers.retry import RetryPolicy
from elicit.providers.shutdowns import shutdown_date
from elicit.providers.transport import open_client

_log = logging.getLogger(__name__)

FEWEST_COUNT = 5
"""Likeliest tokens that OpenAI's completions have always told."""
OPENAI_KEY = "OPENAI_API_KEY"
ANTHROPIC_KEY = "ANTHROPIC_API_KEY"


@dataclass(frozen=True, slots=True)
class Opening:
    """What opening a model may use: what was found out before, and money to find out more."""

    findings: Findings | None = None
    budget: Budget = UNBOUNDED
    ask: bool = True
    """Whether the model may be asked. If not, what was never found out is supposed, and no
    key is needed: such a model is for counting, not for scores."""


def open_openai(rest: str, opening: Opening) -> HostedProvider:
    """`openai:MODEL[?SETTING=VALUE&...]`, at OpenAI or where OPENAI_BASE_URL says."""
    model, settings = HostedSettings.parse(rest)
    if not model:
        raise ModelError("openai: name a model, as in openai:gpt-4.1-mini")
    base_url = os.environ.get("OPENAI_BASE_URL") or BASE_URL
    key = secret_from_environment(OPENAI_KEY, required=opening.ask)
    client = open_client(base_url, key, timeout=settings.timeout)
    endpoint = Endpoint(
        "openai",
        model,
        base_url,
        key_variable=OPENAI_KEY,
        price=find_price("openai", model),
        takes_cache_key=True,
        samples=settings.samples,
    )
    return _opened(
        f"openai:{rest}",
        endpoint,
        client,
        settings,
        opening,
        ("decisions", "chat", "completions", "samples"),
        {"chat": (20, 5), "completions": (5,)},
    )


def open_compatible(prefix: str, rest: str, opening: Opening) -> HostedProvider:
    """`compatible:URL#MODEL[?...]`, or a preset's name for `compatible`."""
    named, settings = HostedSettings.parse(rest)
    server = parse_model(prefix, named)
    preset = server.preset
    key = None
    if server.key_variable is not None:
        required = preset.key_required and opening.ask
        key = secret_from_environment(server.key_variable, required=required)
    client = open_client(server.base_url, key, timeout=settings.timeout)
    endpoint = Endpoint(
        prefix,
        server.model,
        server.base_url,
        key_variable=server.key_variable,
        price=find_price(prefix, server.model),
        extra=preset.extra,
        count_in_logprobs=preset.count_in_logprobs,
        length_field="max_tokens",
        label_token_ids=_token_ids(server, client, settings, opening.budget),
        samples=settings.samples,
    )
    known: dict[Scorer, int | None] = {
        "completions": preset.max_logprobs,
        "chat": preset.max_top_logprobs,
    }
    counts: dict[Scorer, Sequence[int]] = {
        scorer: UNKNOWN_COUNTS[scorer] if most is None else _counts(most)
        for scorer, most in known.items()
        if most != 0
    }
    scorers: list[Scorer] = [scorer for scorer in preset.scorers if scorer in counts]
    scorers.append("samples")
    return _opened(f"{prefix}:{rest}", endpoint, client, settings, opening, scorers, counts)


def _counts(most: int) -> tuple[int, ...]:
    """A server may have been started with a lower bound than its kind has."""
    return (most, FEWEST_COUNT) if most > FEWEST_COUNT else (most,)


def _token_ids(
    server: Server, client: httpx2.Client, settings: HostedSettings, budget: Budget
) -> TokenIds | None:
    """What tells the ids of labels, if they are to be asked for by them: vLLM's way alone."""
    wanted = {"auto": bool(server.preset.logprob_token_ids), "true": True, "false": False}
    if not wanted[settings.token_ids]:
        return None
    asked = server
    if not server.preset.logprob_token_ids:
        asked = replace(server, preset=presets()["vllm"])
    url, field = asked.tokenize_url, asked.preset.tokenize_field
    if url is None or field is None:
        raise ValueError(f"presets.toml: {asked.preset.name} has token ids and no tokenizer")
    return TokenIds(client, url, server.model, field, budget)


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
    base_url = os.environ.get("ANTHROPIC_BASE_URL") or anthropic.BASE_URL
    key = secret_from_environment(ANTHROPIC_KEY, required=opening.ask)
    client = open_client(base_url, key, timeout=settings.timeout)
    name = f"anthropic:{rest}"
    found = recall(opening.findings, name)
    if found is None and not opening.ask:
        found = Found("samples")
    if found is None:
        facts = anthropic.model_facts(client, model, base_url=base_url)
        if facts.structured_outputs is False:
            raise ModelError(f"{name}: {'; '.join(facts.warnings)}")
        found = Found(
            "samples",
            facts.revision,
            can_skip_thinking=facts.can_skip_thinking is not False,
            context_tokens=facts.context_tokens,
            warnings=facts.warnings,
        )
        remember(opening.findings, name, found)
    wire = anthropic.open_wire(
        model,
        client,
        samples=settings.samples,
        price=find_price("anthropic", model),
        base_url=base_url,
        revision=found.revision,
        context_tokens=found.context_tokens,
        can_skip_thinking=found.can_skip_thinking,
    )
    return _provider(name, wire, settings, found)


def _opened(
    name: str,
    endpoint: Endpoint,
    client: httpx2.Client,
    settings: HostedSettings,
    opening: Opening,
    scorers: Sequence[Scorer],
    counts: Mapping[Scorer, Sequence[int]],
) -> HostedProvider:
    """A model of OpenAI's wire format, by the first of `scorers` that it answers to."""
    found = recall(opening.findings, name)
    if settings.scorer != "auto":
        scorers = (settings.scorer,)
    if found is None and not opening.ask:
        found = Found(_supposed(endpoint, scorers))
    if found is None:
        if settings.top_k:
            counts = dict.fromkeys(counts, (settings.top_k,))
        try:
            found = probe(name, endpoint, client, scorers, counts, opening.budget)
            kind = presets().get(endpoint.provider)
            if kind is not None and not kind.key_required:
                base_url, budget = endpoint.base_url, opening.budget
                found = with_listed(found, endpoint.model, client, base_url, budget)
        except BaseException:
            client.close()
            raise
        if settings.token_ids == "true" and not found.token_ids:
            client.close()
            raise ModelError(
                f"{name} does not tell labels by the ids of their tokens; leave "
                "?token_ids=true out"
            )
        ends = shutdown_date(endpoint.provider, endpoint.model)
        if ends is not None:
            found = replace(found, warnings=(*found.warnings, _end(endpoint.model, ends)))
        remember(opening.findings, name, found)
    endpoint = replace(
        endpoint,
        revision=found.revision,
        completions_k=found.top_k or endpoint.completions_k,
        chat_k=found.top_k or endpoint.chat_k,
        keeps_leading_space=found.keeps_leading_space,
        label_token_ids=endpoint.label_token_ids if found.token_ids else None,
        context_tokens=found.context_tokens,
    )
    if found.scorer == "decisions":
        # What it reads from its prompt cache costs as much: no call need wait for another.
        price = find_price("openai-decisions", endpoint.model)
        endpoint = replace(endpoint, price=price, keeps_prefix=False)
    ratio = TokenRatio(found.characters, found.tokens)
    wire = open_wire(endpoint, found.scorer, client, ratio)
    return _provider(name, wire, settings, found)


def _supposed(endpoint: Endpoint, scorers: Sequence[Scorer]) -> Scorer:
    """How a model that was never asked will be asked, as far as the tables tell."""
    first, *others = scorers
    if first != "decisions" or not others:
        return first
    return first if find_price("openai-decisions", endpoint.model) else others[0]


def _provider(name: str, wire: Wire, settings: HostedSettings, found: Found) -> HostedProvider:
    for warning in found.warnings:
        _log.warning("%s: %s", name, warning)
    return HostedProvider(
        name,
        wire,
        Limiter(max_concurrency=settings.concurrency),
        RetryPolicy(attempts=settings.attempts),
    )


def _end(model: str, day: date) -> str:
    return f"{model} shuts down on {day}: end your runs with it before, as none goes on after"


OPENERS: Mapping[str, Callable[[str, Opening], HostedProvider]] = {
    "openai": open_openai,
    "anthropic": open_anthropic,
    **{prefix: partial(open_compatible, prefix) for prefix in presets()},
}
"""From a prefix to what opens its models."""
