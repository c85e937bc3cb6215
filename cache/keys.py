"""Digests: what makes two scores the same score.

A prompt is a sequence of text segments. Each segment has a digest, a prompt's context is
the digest of its segments' digests but the last, and a score is found by *(context key,
item digest, sample)*. All items scored after the same demonstrations share one context
key, so they lie side by side on disk and are read by one range scan.

Every digest is BLAKE2b with 16 bytes (RFC 7693) over a canonical encoding, and each kind
has its own personalisation string, so a digest of one kind never equals one of another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

KEY_VERSION = 1
"""Part of every context key: raised when the meaning of a stored score changes."""

DIGEST_BYTES = 16


def _digest(kind: bytes, *parts: bytes) -> bytes:
    state = hashlib.blake2b(digest_size=DIGEST_BYTES, person=kind)
    for part in parts:
        state.update(part)
    return state.digest()


def segment_digest(text: str, role: str = "") -> bytes:
    """16 bytes that name a segment's text and who says it: nobody, or a role in a chat.

    Lone surrogates are kept apart, not refused.
    """
    kind = b"seg:" + role.encode() if role else b"segment"
    return _digest(kind, text.encode("utf-8", "surrogatepass"))


def prefix_digest(segment_digests: Sequence[bytes]) -> bytes:
    """16 bytes that name a sequence of segments, boundaries included."""
    return _digest(b"prefix", b"".join(segment_digests))


def canonical_json(value: Mapping[str, object] | Sequence[object]) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def json_digest(value: Mapping[str, object] | Sequence[object]) -> str:
    """64 hexadecimal digits (SHA-256) that name a value by its canonical JSON text."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def identity_digest(identity: Mapping[str, object]) -> bytes:
    """16 bytes that name a model with everything that can change its scores."""
    return _digest(b"identity", canonical_json(identity).encode("utf-8", "surrogatepass"))


def labels_digest(verbalizers: Sequence[str]) -> bytes:
    """16 bytes that name the label verbalisers, in order."""
    return _digest(
        b"labels", canonical_json(list(verbalizers)).encode("utf-8", "surrogatepass")
    )


def context_key(identity: bytes, labels: bytes, prefix: bytes) -> bytes:
    """16 bytes shared by all scores of one model, label set and demonstration block."""
    return _digest(b"context", bytes([KEY_VERSION]), identity, labels, prefix)


@dataclass(frozen=True, slots=True)
class ScoreKey:
    """Where one score lives: after which context, of which item, which sample of it."""

    context: bytes
    item: bytes
    sample: int = 0
