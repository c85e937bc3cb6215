"""Puts a hosted model behind its provider's batch endpoint."""

from __future__ import annotations

import logging

from elicit.cache.batches import Batches
from elicit.providers.anthropic import AnthropicWire
from elicit.providers.anthropic import open_batches as anthropic_batches
from elicit.providers.base import ModelError, Provider
from elicit.providers.batched import BatchedProvider
from elicit.providers.batches import BatchEndpoint, BatchState
from elicit.providers.hosted import HostedProvider
from elicit.providers.openai import OpenAIWire
from elicit.providers.openai.batch import open_batches as openai_batches

_log = logging.getLogger(__name__)


def batched(
    provider: Provider,
    batches: Batches,
) -> BatchedProvider:
    """A model asked through its provider's batch endpoint, at the batch price.

    Raises:
        ModelError: it has none, or can't be asked so.
    """
    wire = provider.wire if isinstance(provider, HostedProvider) else None
    endpoint: BatchEndpoint
    if isinstance(wire, OpenAIWire):
        endpoint = openai_batches(wire)
    elif isinstance(wire, AnthropicWire):
        endpoint = anthropic_batches(wire)
    else:
        raise ModelError(f"{provider.name} has no batch endpoint; run it without --batch")
    return BatchedProvider(provider, endpoint, batches, on_state=_told)


def _told(batch: str, state: BatchState) -> None:
    if state.state == "running":
        _log.warning("batch %s: %d of %d answered", batch, state.answered, state.total)
    else:
        _log.warning("batch %s is %s %s", batch, state.state, state.reason)
