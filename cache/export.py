"""All scores as JSON Lines, one a line, for other programs."""

from __future__ import annotations

import json
import math
from typing import TextIO

from elicit.cache.codec import ChecksumError, decode_score, loaded_text
from elicit.cache.errors import StoreDamaged
from elicit.cache.store import ScoreStore

_ROWS = """
    SELECT scores.*, identities.json, labelsets.json, contexts.segments, segments.text
    FROM scores
    LEFT JOIN contexts ON contexts.key = scores.context
    LEFT JOIN identities ON identities.id = contexts.identity
    LEFT JOIN labelsets ON labelsets.id = contexts.labels
    LEFT JOIN segments ON segments.digest = scores.item
    WHERE ? IS NULL OR instr(identities.json, ?)
    ORDER BY scores.context, scores.item, scores.sample
"""


def export(store: ScoreStore, out: TextIO, *, model: str | None = None) -> int:
    """Write every score, or those of models whose stored identity contains `model`.

    `values` are natural-log probabilities in the order of `labels`; minus infinity, which
    JSON lacks, is the string "-inf". Returns how many lines were written.

    Raises:
        StoreDamaged: a score differs from its checksum; the lines before it are written.
    """
    count = 0
    with store.reading():
        for row in store.connection.execute(_ROWS, (model, model)):
            context, item, sample = row[:3]
            identity, labels, demonstrations, text = row[8:]
            try:
                score = decode_score(context + item, sample, row[3:8])
            except ChecksumError as error:
                raise StoreDamaged(
                    f"{store.path}: {error} (context {context.hex()}, item {item.hex()}). Run "
                    "`elicit cache verify --repair`, then export again."
                ) from error
            line = {
                "model": None if identity is None else json.loads(identity),
                "labels": None if labels is None else json.loads(labels),
                "context": context.hex(),
                "demonstrations": demonstrations,
                "item": item.hex(),
                "item_text": None if text is None else loaded_text(text),
                "sample": sample,
                "evidence": score.evidence,
                "samples": score.samples,
                "bounded": score.bounded,
                "values": ["-inf" if v == -math.inf else v for v in score.values],
            }
            out.write(json.dumps(line, allow_nan=False) + "\n")
            count += 1
    return count
