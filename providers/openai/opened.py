"""Opens models of OpenAI's wire format by name: the key, the client, the price, the way to ask.

What a model's name and the tables do not say is found out by asking it, once; it is kept
among the store's findings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

import httpx2

from elicit.providers.base import Budget, ModelError
from elicit.providers.billing import TokenRatio
from elicit.providers.found import Found, remember
from elicit.providers.hosted import HostedProvider
from elicit.providers.hosted_settings import HostedSettings, Scorer
from elicit.providers.listed import announced_end, with_listed
from elicit.providers.openai.endpoint import Endpoint
from elicit.providers.openai.token_ids import TokenIds
from elicit.providers.openai.wire import open_wire
from elicit.providers.opening import Opening, address, finding_key, provided
from elicit.providers.presets import Server, parse_model, presets
from elicit.providers.prices import find_price
from elicit.providers.probe import UNKNOWN_COUNTS, probe
from elicit.providers.redact import secret_from_environment
from elicit.providers.shutdowns import shutdown_date
from elicit.providers.transport import open_client

KEY = "OPENAI_API_KEY"
FEWEST_COUNT = 5
"""Likeliest tokens that OpenAI's completions have always told."""


def open_openai(rest: str, opening: Opening) -> HostedProvider:
    """`openai:MODEL[?SETTING=VALUE&...]`, at OpenAI or where OPENAI_BASE_URL says."""
    model, settings = HostedSettings.parse(rest)
    if not model:
        raise ModelError("openai: name a model, as in openai:gpt-4.1-mini")
    base_url = address("openai")
    key = secret_from_environment(KEY, required=opening.ask)
    client = open_client(base_url, key, timeout=settings.timeout)
    endpoint = Endpoint(
        "openai",
        model,
        base_url,
        key_variable=KEY,
        price=find_price("openai", model),
        takes_cache_key=True,
        samples=settings.samples,
        reasoning_tokens=settings.reasoning_tokens,
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
        reasoning_tokens=settings.reasoning_tokens,
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
    place = finding_key(endpoint.provider, endpoint.base_url, endpoint.model, settings)
    found = opening.recall(place)
    if settings.scorer != "auto":
        scorers = (settings.scorer,)
    if found is None and not opening.ask:
        found = Found(_supposed(endpoint, scorers))
    if found is None:
        try:
            found = _found(name, endpoint, client, settings, opening.budget, scorers, counts)
        except BaseException:
            client.close()
            raise
        remember(opening.findings, place, found)
    endpoint = replace(
        endpoint,
        revision=found.revision,
        completions_k=found.top_k or endpoint.completions_k,
        chat_k=found.top_k or endpoint.chat_k,
        keeps_leading_space=found.keeps_leading_space,
        label_token_ids=endpoint.label_token_ids if found.token_ids else None,
        reasoning_tokens=found.reasoning_tokens or endpoint.reasoning_tokens,
        context_tokens=found.context_tokens,
    )
    if found.scorer == "decisions":
        # What it reads from its prompt cache costs as much: no call need wait for another.
        price = find_price("openai-decisions", endpoint.model)
        endpoint = replace(endpoint, price=price, keeps_prefix=False)
    ratio = TokenRatio(found.characters, found.tokens)
    wire = open_wire(endpoint, found.scorer, client, ratio)
    return provided(name, wire, settings, found)


def _found(
    name: str,
    endpoint: Endpoint,
    client: httpx2.Client,
    settings: HostedSettings,
    budget: Budget,
    scorers: Sequence[Scorer],
    counts: Mapping[Scorer, Sequence[int]],
) -> Found:
    """Ask a model of OpenAI's wire format how it can be asked."""
    found = probe(name, endpoint, client, scorers, counts, budget, top_k=settings.top_k)
    kind = presets().get(endpoint.provider)
    if kind is not None and not kind.key_required:
        found = with_listed(found, endpoint.model, client, endpoint.base_url, budget)
    if settings.token_ids == "true" and not found.token_ids:
        raise ModelError(
            f"{name} does not tell labels by the ids of their tokens; leave ?token_ids=true out"
        )
    ends = None
    if endpoint.provider == "openai":
        ends = announced_end(endpoint.model, client, endpoint.base_url, budget)
    ends = ends or shutdown_date(endpoint.provider, endpoint.model)
    if ends is not None:
        found = replace(found, warnings=(*found.warnings, _end(endpoint.model, ends)))
    return found


def _supposed(endpoint: Endpoint, scorers: Sequence[Scorer]) -> Scorer:
    """How a model that was never asked will be asked, as far as the tables tell."""
    first, *others = scorers
    if first != "decisions" or not others:
        return first
    return first if find_price("openai-decisions", endpoint.model) else others[0]


def _end(model: str, day: date) -> str:
    return f"{model} shuts down on {day}: end your runs with it before, as none goes on after"
