"""An endpoint and a way to ask it, as a `Wire`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import httpx2

from elicit.providers.base import Capabilities, Identity, ModelError, ScoreRequest, Usage
from elicit.providers.billing import TokenRatio
from elicit.providers.contexts import characters
from elicit.providers.faults import Fault
from elicit.providers.garbled import headers_of, spent
from elicit.providers.hosted import Call
from elicit.providers.hosted_settings import Scorer
from elicit.providers.openai.asking import Asking
from elicit.providers.openai.chat import Chat
from elicit.providers.openai.completions import Completions
from elicit.providers.openai.decisions import Decisions
from elicit.providers.openai.endpoint import Endpoint, identity, sdk_client
from elicit.providers.openai.faults import classify
from elicit.providers.openai.samples import Samples


class Way(Protocol):
    """A way to ask."""

    def calls(self, requests: Sequence[ScoreRequest]) -> list[Call]: ...


def open_wire(
    endpoint: Endpoint,
    scorer: Scorer,
    client: httpx2.Client,
    ratio: TokenRatio | None = None,
) -> OpenAIWire:
    """A model behind OpenAI's wire format. Nothing is sent.

    Args:
        client: knows the key (`transport.open_client`) and may reach the endpoint's server.
        ratio: what is known of the model's tokens.

    Raises:
        ModelError: see `sdk_client`; or the endpoint is known to tell no probabilities so.
    """
    if {"completions": endpoint.completions_k, "chat": endpoint.chat_k}.get(scorer) == 0:
        raise ModelError(
            f"{endpoint.provider}:{endpoint.model} tells no log-probabilities by {scorer}; ask "
            "it by another ?scorer="
        )
    asking = Asking(endpoint, sdk_client(endpoint, client), ratio or TokenRatio())
    way, capabilities = _way(asking, scorer)
    return OpenAIWire(asking, way, identity(endpoint, scorer), capabilities)


def _way(asking: Asking, scorer: Scorer) -> tuple[Way, Capabilities]:
    endpoint = asking.endpoint
    tokens = endpoint.context_tokens
    if scorer == "completions":
        return Completions(asking), Capabilities("top_k", tokens, deterministic=False)
    if scorer == "chat":
        return Chat(asking), Capabilities("top_k", tokens, deterministic=False, form="chat")
    if scorer == "decisions":
        return Decisions(asking), Capabilities(
            "decision",
            tokens,
            deterministic=False,
            form="chat",
            items_per_call=endpoint.items_per_call,
        )
    return Samples(asking), Capabilities(
        "sampled", tokens, deterministic=False, form="chat", samples=endpoint.samples
    )


class OpenAIWire:
    """See `Wire`. `asking` also serves what else asks the same endpoint."""

    def __init__(
        self, asking: Asking, way: Way, identity: Identity, capabilities: Capabilities
    ) -> None:
        self.asking = asking
        self._way = way
        self.identity = identity
        self.capabilities = capabilities

    def calls(self, requests: Sequence[ScoreRequest]) -> Sequence[Call]:
        return self._way.calls(requests)

    def classify(self, error: Exception) -> Fault | None:
        fault = classify(error)
        variable = self.asking.endpoint.key_variable
        if fault is not None and fault.status == 401 and variable is not None:
            return replace(fault, hint=f"check the API key in {variable}")
        return fault

    def headers(self, error: Exception) -> Mapping[str, str] | None:
        return headers_of(error)

    def spent(self, error: Exception) -> Usage:
        return spent(error)

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        """By the ratio of tokens to characters, once a reply has counted some."""
        ratio = self.asking.ratio
        if not ratio.known:
            return None
        return [ratio.tokens(characters(request.prompt)) for request in requests]

    def close(self) -> None:
        self.asking.sdk.close()
