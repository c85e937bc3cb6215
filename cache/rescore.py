"""Does the model still say what it said? A sample of stored scores, measured once more.

The sample is fair: it is drawn from the contexts whose prompt is kept whole, 1 in 64 by
their key. Scores that are frequencies of samples are left out; they differ by nature.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elicit.cache.codec import EVIDENCE, decode_score, loaded_text, unpack_ids
from elicit.cache.errors import StoreDamaged
from elicit.cache.keys import ScoreKey, identity_digest
from elicit.cache.store import ScoreStore


@dataclass(frozen=True, slots=True)
class StoredPrompt:
    """A prompt rebuilt from the store: `(text, role)` of its segments, the item last, and its
    labels."""

    segments: tuple[tuple[str, str], ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """Absolute differences of natural-log probabilities between then and now."""

    n: int
    """Scores measured again; 0 where the store keeps no whole prompt of this model."""
    max: float
    mean: float


Rescore = Callable[[Sequence[StoredPrompt]], Sequence[Sequence[float]]]
"""Gives the natural-log probabilities of each prompt's labels, in order."""


def rescore_sample(
    store: ScoreStore,
    provider_score: Rescore,
    n: int,
    seed: int,
    *,
    identity: Mapping[str, object] | None = None,
) -> Drift:
    """Ask the model for up to `n` stored scores again and compare.

    `identity` keeps to one model's scores, which is what a model can be compared with.

    Raises:
        StoreDamaged: a prompt can't be rebuilt.
    """
    wanted = None if identity is None else identity_digest(identity)
    with store.reading():
        keys = store.connection.execute(
            "SELECT context, item, sample FROM scores "
            "JOIN contexts ON contexts.key = scores.context "
            "JOIN identities ON identities.id = contexts.identity "
            "WHERE scores.context IN (SELECT context FROM context_segments) "
            "AND evidence <> ? AND (? IS NULL OR identities.digest = ?) "
            "ORDER BY context, item, sample",
            (EVIDENCE.index("sampled"), wanted, wanted),
        ).fetchall()
        chosen = [ScoreKey(*key) for key in random.Random(seed).sample(keys, min(n, len(keys)))]
        loaded = [_load(store, key) for key in chosen]
    fresh = provider_score([prompt for prompt, _ in loaded])
    differences = [
        _difference(a, b)
        for (_, stored), now in zip(loaded, fresh, strict=True)
        for a, b in zip(stored, now, strict=True)
    ]
    if not differences:
        return Drift(0, 0.0, 0.0)
    return Drift(len(loaded), max(differences), math.fsum(differences) / len(differences))


def _difference(a: float, b: float) -> float:
    return 0.0 if a == b else abs(a - b)  # -inf twice is no difference


def _load(store: ScoreStore, key: ScoreKey) -> tuple[StoredPrompt, tuple[float, ...]]:
    row: tuple[Any, ...] = store.connection.execute(
        "SELECT evidence, samples, bounded, value, checksum, ids, labelsets.json FROM scores "
        "JOIN context_segments USING (context) JOIN contexts ON contexts.key = context "
        "JOIN labelsets ON labelsets.id = contexts.labels "
        "WHERE context = ? AND item = ? AND sample = ?",
        (key.context, key.item, key.sample),
    ).fetchone()
    try:
        score = decode_score(key.context + key.item, key.sample, row[:5])
        segments = [_segment(store, "id", row_id) for row_id in unpack_ids(row[5])]
        segments.append(_segment(store, "digest", key.item))
        prompt = StoredPrompt(tuple(segments), _labels(row[6]))
    except (TypeError, ValueError) as error:
        raise StoreDamaged(
            f"{store.path}: the prompt of score {key.context.hex()} {key.item.hex()} can't be "
            f"rebuilt ({error}). Run `elicit cache verify`."
        ) from error
    return prompt, score.values


def _labels(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _segment(store: ScoreStore, column: str, value: int | bytes) -> tuple[str, str]:
    row = store.connection.execute(
        f"SELECT text, role FROM segments WHERE {column} = ?", (value,)
    ).fetchone()
    if row is None:
        raise ValueError("a segment's text is missing")
    return loaded_text(row[0]), row[1]
