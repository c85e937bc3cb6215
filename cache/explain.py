"""Why a request was answered from the store, or was not: what differs from the nearest.

A key is a digest, so nothing can be read off it. The stored identities and label sets are
few, so each is tried with the asked prompt; that finds any context that differs in these
alone. Demonstrations are compared where the store keeps them whole (1 context in 64).
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from elicit.cache.codec import loaded_text, unpack_ids
from elicit.cache.errors import InputError
from elicit.cache.keys import (
    DIGEST_BYTES,
    ScoreKey,
    context_key,
    identity_digest,
    labels_digest,
    prefix_digest,
    segment_digest,
)
from elicit.cache.store import ScoreStore, StoredScore

_ITEMS_COMPARED = 2_000


@dataclass(frozen=True, slots=True)
class Explanation:
    """`hit`, or the `differences` from the nearest stored request, most telling first."""

    hit: bool
    context: str
    item: str
    score: StoredScore | None
    differences: tuple[str, ...]
    shared_segments: int
    """Leading demonstrations that a stored request of this model and labels has as well."""


def explain(
    store: ScoreStore,
    identity: Mapping[str, object],
    labels: Sequence[str],
    segments: Sequence[tuple[str, str]],
) -> Explanation:
    """Say whether a request hits; if not, which part of its key differs.

    `segments` are the prompt's `(text, role)` in order, the item last; a plain text's have
    no role.
    """
    digests = [segment_digest(text, role) for text, role in segments]
    prefix = prefix_digest(digests[:-1])
    context = context_key(identity_digest(identity), labels_digest(labels), prefix)
    key = ScoreKey(context, digests[-1])
    [score] = store.get([key])
    shared = len(digests) - 1
    differences: tuple[str, ...] = ()
    with store.reading():
        if score is None and _has_context(store, context):
            differences = (_item_differs(store, key, segments[-1][0]),)
        elif score is None:
            near = list(_same_prompt(store, identity, labels, prefix))
            if near:
                differences = min(near, key=len)
            else:
                shared, what = _demonstrations_differ(store, identity, labels, digests[:-1])
                differences = (what,)
    return Explanation(
        score is not None, context.hex(), digests[-1].hex(), score, differences, shared
    )


def describe(store: ScoreStore, context: str, item: str | None) -> dict[str, Any]:
    """What is stored under a context key in hex; with an item digest, the score as well.

    Raises:
        InputError: not a digest in hex, or no such context or score.
    """
    key = _from_hex(context)
    with store.reading():
        row = store.connection.execute(
            "SELECT identities.json, labelsets.json, segments, day, "
            "(SELECT count(*) FROM scores WHERE scores.context = contexts.key) FROM contexts "
            "JOIN identities ON identities.id = identity "
            "JOIN labelsets ON labelsets.id = labels WHERE key = ?",
            (key,),
        ).fetchone()
    if row is None:
        raise InputError(f"no context {context} in {store.path}")
    about: dict[str, Any] = {
        "model": json.loads(row[0]),
        "labels": json.loads(row[1]),
        "demonstrations": row[2],
        "first_scored": str(date(1970, 1, 1) + timedelta(days=row[3])),
        "items": row[4],
    }
    if item is None:
        return about
    [score] = store.get([ScoreKey(key, _from_hex(item))])
    if score is None:
        raise InputError(f"item {item} was never scored after context {context}")
    with store.reading():
        text = store.connection.execute(
            "SELECT text FROM segments WHERE digest = ?", (_from_hex(item),)
        ).fetchone()
    about["item_text"] = None if text is None else loaded_text(text[0])
    about["evidence"] = score.evidence
    about["values"] = ["-inf" if v == -math.inf else v for v in score.values]
    return about


def _from_hex(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != DIGEST_BYTES:
        raise InputError(f"{text!r}: a digest has {2 * DIGEST_BYTES} hexadecimal digits")
    return digest


def stored_identity(store: ScoreStore, model_like: str) -> dict[str, Any]:
    """The one stored identity whose JSON contains a text.

    Raises:
        InputError: none, or several.
    """
    with store.reading():
        rows = store.connection.execute("SELECT json FROM identities").fetchall()
    found = [text for (text,) in rows if model_like in text]
    if len(found) == 1:
        return dict(json.loads(found[0]))
    listed = "\n".join(found or [text for (text,) in rows])
    many = f"{len(found)} stored models match" if found else "no stored model matches"
    raise InputError(f"{many} {model_like!r}; name one of\n{listed}")


def identity_differences(
    stored: Mapping[str, object], asked: Mapping[str, object], prefix: str = ""
) -> list[str]:
    """One line a field that differs, nested fields by their path."""
    lines = []
    for name in sorted({*stored, *asked}):
        old, new = stored.get(name, "(none)"), asked.get(name, "(none)")
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += identity_differences(old, new, f"{prefix}{name}.")
        elif json.dumps(old) != json.dumps(new):  # 1, 1.0 and true are different here
            lines.append(f"model {prefix}{name}: stored {old!r}, asked {new!r}")
    return lines


def _has_context(store: ScoreStore, context: bytes) -> bool:
    found = store.connection.execute("SELECT 1 FROM contexts WHERE key = ?", (context,))
    return found.fetchone() is not None


def _item_differs(store: ScoreStore, key: ScoreKey, text: str) -> str:
    rows = store.connection.execute(
        "SELECT segments.text FROM scores JOIN segments ON segments.digest = scores.item "
        "WHERE scores.context = ? LIMIT ?",
        (key.context, _ITEMS_COMPARED),
    ).fetchall()
    known = [loaded_text(row[0]) for row in rows]
    near = difflib.get_close_matches(text, known, n=1, cutoff=0.8)
    hint = f"; the nearest scored there is {near[0]!r}" if near else ""
    return f"item: never scored after these demonstrations, {len(known)} others were{hint}"


def _rows(store: ScoreStore, table: str) -> list[tuple[bytes, Any]]:
    rows = store.connection.execute(f"SELECT digest, json FROM {table}").fetchall()
    return [(digest, json.loads(text)) for digest, text in rows]


def _same_prompt(
    store: ScoreStore, identity: Mapping[str, object], labels: Sequence[str], prefix: bytes
) -> Iterator[tuple[str, ...]]:
    """How each stored context with these very demonstrations differs."""
    for identity_key, stored in _rows(store, "identities"):
        for labels_key, verbalizers in _rows(store, "labelsets"):
            if _has_context(store, context_key(identity_key, labels_key, prefix)):
                lines = identity_differences(stored, identity)
                if list(verbalizers) != list(labels):
                    lines.append(f"labels: stored {verbalizers!r}, asked {list(labels)!r}")
                yield tuple(lines)


def _demonstrations_differ(
    store: ScoreStore,
    identity: Mapping[str, object],
    labels: Sequence[str],
    asked: Sequence[bytes],
) -> tuple[int, str]:
    """The longest beginning of the asked demonstrations that was used, and what to say."""
    key, verbalizers = identity_digest(identity), labels_digest(labels)
    used = store.connection.execute(
        "SELECT count(*) FROM contexts JOIN identities ON identities.id = contexts.identity "
        "JOIN labelsets ON labelsets.id = contexts.labels "
        "WHERE identities.digest = ? AND labelsets.digest = ?",
        (key, verbalizers),
    ).fetchone()[0]
    if not used:
        return 0, _never_used(store, identity, labels)
    whole = next(
        k
        for k in range(len(asked) - 1, -2, -1)
        if k < 0 or _has_context(store, context_key(key, verbalizers, prefix_digest(asked[:k])))
    )
    shared = max(whole, _longest_shared(store, key, verbalizers, asked))
    return shared, (
        f"demonstrations: none of the {used} stored contexts of this model and labels has "
        f"these {len(asked)}; the nearest known shares the first {shared}"
    )


def _never_used(
    store: ScoreStore, identity: Mapping[str, object], labels: Sequence[str]
) -> str:
    differences = [
        identity_differences(stored, identity) for _, stored in _rows(store, "identities")
    ]
    if not differences:
        return "the store is empty"
    nearest = min(differences, key=len)
    if nearest:
        return "; ".join(nearest)
    return f"labels: {list(labels)!r} were never scored with this model"


def _longest_shared(
    store: ScoreStore, identity: bytes, labels: bytes, asked: Sequence[bytes]
) -> int:
    """Leading segments in common with the nearest context that is kept whole."""
    digests = dict(store.connection.execute("SELECT id, digest FROM segments").fetchall())
    longest = 0
    for (packed,) in store.connection.execute(
        "SELECT ids FROM context_segments JOIN contexts ON contexts.key = context "
        "JOIN identities ON identities.id = contexts.identity "
        "JOIN labelsets ON labelsets.id = contexts.labels "
        "WHERE identities.digest = ? AND labelsets.digest = ?",
        (identity, labels),
    ):
        shared = 0
        for row_id, digest in zip(unpack_ids(packed), asked, strict=False):
            if digests.get(row_id) != digest:
                break
            shared += 1
        longest = max(longest, shared)
    return longest
