"""What stands before an item: how long it is, and a digest that tells one from another."""

from __future__ import annotations

from elicit.cache.keys import context_key, labels_digest, prefix_digest
from elicit.providers.base import Prompt


def context_digest(context: Prompt, labels: tuple[str, ...]) -> bytes:
    """Names what stands before an item and the labels asked for: equal only for equal ones."""
    digests = [segment.digest for segment in context]
    return context_key(b"", labels_digest(labels), prefix_digest(digests))


def characters(prompt: Prompt) -> int:
    return sum(len(segment.text) for segment in prompt)
