"""Puts a hosted model behind its provider's batch endpoint."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial

from elicit.cache.batches import Batches
from elicit.providers.anthropic import AnthropicWire
from elicit.providers.anthropic import open_batches as anthropic_batches
from elicit.providers.base import (
    ModelError,
    Provider,
)
from elicit.providers.batched import BatchedProvider
from elicit.providers.batches import BatchEndpoint, BatchState
from elicit.providers.cached import CachedProvider
from elicit.providers.hosted import HostedProvider
from elicit.providers.openai import OpenAIWire
from elicit.providers.openai.batch import open_batches as openai_batches
from elicit.providers.submission import Patience

_log = logging.getLogger(__name__)


def batched(
    provider: Provider,
    batches: Batches,
) -> BatchedProvider:
    """A model asked through its provider's batch endpoint, at the batch price.

    Raises:
        ModelError: it has none, or can't be asked so.
    """
    return BatchedProvider(
        provider,
        batch_endpoint(provider),
        batches,
        on_state=_told,
        stored=CachedProvider(provider, batches.store).stored,
    )


def batch_endpoint(provider: Provider) -> BatchEndpoint:
    """A model's batch endpoint.

    Raises:
        ModelError: it has none.
    """
    wire = provider.wire if isinstance(provider, HostedProvider) else None
    if isinstance(wire, OpenAIWire):
        return openai_batches(wire)
    if isinstance(wire, AnthropicWire):
        return anthropic_batches(wire)
    raise ModelError(f"{provider.name} has no batch endpoint; run it without --batch")


def cancel(provider: Provider, batches: Iterable[str]) -> list[str]:
    """Ask a model's provider to end those of the batches that run; their ids. What they
    answered by then is billed, and read when the same is asked again.

    Raises:
        ModelError: the model has no batch endpoint, or the provider does not know a batch.
    """
    endpoint, patience = batch_endpoint(provider), Patience()
    running = []
    for batch in batches:
        state = patience.ask(partial(endpoint.poll, batch), endpoint.classify)
        if state.state == "running":
            patience.ask(partial(endpoint.cancel, batch), endpoint.classify)
            running.append(batch)
    return running


def _told(batch: str, state: BatchState) -> None:
    if state.state == "running":
        _log.warning("batch %s: %d of %d answered", batch, state.answered, state.total)
    else:
        _log.warning("batch %s is %s %s", batch, state.state, state.reason)
