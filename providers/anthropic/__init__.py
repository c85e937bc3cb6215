"""Anthropic's models: labels drawn one call at a time, or in batches at half the price."""

from elicit.providers.anthropic.batch import AnthropicBatches, open_batches
from elicit.providers.anthropic.facts import ModelFacts, model_facts
from elicit.providers.anthropic.wire import AnthropicWire, open_wire

__all__ = [
    "AnthropicBatches",
    "AnthropicWire",
    "ModelFacts",
    "model_facts",
    "open_batches",
    "open_wire",
]
