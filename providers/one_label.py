"""An answer that is one label: a JSON object of one field, to which servers hold a model."""

from __future__ import annotations

import json
from collections.abc import Sequence

FIELD = "label"
"""The one field of an answer."""

SPARE = 16
"""Tokens for white space that an answer may have around its JSON."""


def schema(labels: Sequence[str]) -> dict[str, object]:
    """What a server is to hold an answer to."""
    return {
        "type": "object",
        "properties": {FIELD: {"type": "string", "enum": list(labels)}},
        "required": [FIELD],
        "additionalProperties": False,
    }


def most_tokens(labels: Sequence[str]) -> int:
    """More than the longest answer can take: no token has less than a character."""
    return max(len(json.dumps({FIELD: label})) for label in labels) + SPARE


def label_of(text: object) -> object:
    """The value of an object with the one field and nothing else; None for other text."""
    if not isinstance(text, str):
        return None
    try:
        pairs = json.loads(text, object_pairs_hook=tuple)
    except (json.JSONDecodeError, RecursionError):
        return None
    match pairs:
        case ((str(name), str(value)),) if isinstance(pairs, tuple) and name == FIELD:
            return value
    return None
