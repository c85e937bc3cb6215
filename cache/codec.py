"""Between a score and its row: packing, unpacking, checksums.

Floats are kept as their 8 bytes, so what comes back is what went in to the last bit. Each
row carries a CRC-32 over its key and content, which finds every single flipped bit.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

EVIDENCE = ("exact", "top_k", "decision", "sampled")
"""How a score is known; the index is what is stored. Append only."""

ScoreColumns = tuple[int, int, str | None, bytes, int]
"""evidence, samples, bounded, value, checksum: a row of `scores` after its key."""


@dataclass(frozen=True, slots=True)
class StoredScore:
    """Natural-log probabilities, one a label in the order of the label set.

    `bounded` has the indices of labels whose value is an upper bound; `samples` is n where
    `evidence` is "sampled".
    """

    values: tuple[float, ...]
    evidence: str = "exact"
    samples: int = 0
    bounded: tuple[int, ...] = ()


class ChecksumError(ValueError):
    """A row's content is not what was written."""


@lru_cache(maxsize=64)
def _doubles(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}d")


def _checksum(key: bytes, sample: int, content: tuple[int, int, str | None, bytes]) -> int:
    """CRC-32 as a signed number, which SQLite keeps in 4 bytes."""
    evidence, samples, bounded, value = content
    head = f"{sample},{evidence},{samples},{bounded or ''},".encode()
    unsigned = zlib.crc32(value, zlib.crc32(head, zlib.crc32(key)))
    return unsigned - (1 << 32) if unsigned >= 1 << 31 else unsigned


def encode_score(key: bytes, sample: int, score: StoredScore) -> ScoreColumns:
    """Pack a score; `key` is its context and item digests joined.

    Raises:
        ValueError: a value that is no log-probability (NaN, +inf), an unknown evidence.
    """
    for number in score.values:
        if math.isnan(number) or number == math.inf:
            raise ValueError(f"not a log-probability: {number!r} in {score.values!r}")
    if score.evidence not in EVIDENCE:
        raise ValueError(f"unknown evidence {score.evidence!r}; known: {', '.join(EVIDENCE)}")
    evidence = EVIDENCE.index(score.evidence)
    bounded = ",".join(map(str, score.bounded)) or None
    value = _doubles(len(score.values)).pack(*score.values)
    content = (evidence, score.samples, bounded, value)
    return *content, _checksum(key, sample, content)


def decode_score(key: bytes, sample: int, columns: ScoreColumns) -> StoredScore:
    """Unpack a score.

    Raises:
        ChecksumError: the row is not what was written.
    """
    evidence, samples, bounded, value, checksum = columns
    try:
        sound = checksum == _checksum(key, sample, columns[:4])
    except TypeError:  # a flipped bit in the row's header can change a column's type
        sound = False
    if not sound:
        raise ChecksumError("a stored score differs from its checksum")
    return StoredScore(
        _doubles(len(value) // 8).unpack(value),
        EVIDENCE[evidence],
        samples,
        tuple(map(int, bounded.split(","))) if bounded else (),
    )


def state_checksum(state: str) -> int:
    """CRC-32 of a run's saved state."""
    return zlib.crc32(state.encode())


def pack_ids(ids: Sequence[int]) -> bytes:
    """Row ids in as few bytes each as the largest needs; the first byte says how many."""
    width = max(1, (max(ids, default=0).bit_length() + 7) // 8)
    return bytes([width]) + b"".join(number.to_bytes(width, "little") for number in ids)


def unpack_ids(packed: bytes) -> list[int]:
    """The inverse of `pack_ids`.

    Raises:
        ValueError: not a packed list.
    """
    width = packed[0] if packed else 0
    if not width or (len(packed) - 1) % width:
        raise ValueError("not a packed list of row ids")
    return [
        int.from_bytes(packed[i : i + width], "little") for i in range(1, len(packed), width)
    ]


def storable_text(text: str) -> str | bytes:
    """What SQLite can hold: text, or its bytes where it has lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def loaded_text(stored: str | bytes) -> str:
    """The inverse of `storable_text`."""
    return stored if isinstance(stored, str) else stored.decode("utf-8", "surrogatepass")


def storable_json(canonical: str) -> str:
    """Canonical JSON, with escapes instead of letters where it has lone surrogates."""
    if isinstance(storable_text(canonical), str):
        return canonical
    return json.dumps(json.loads(canonical), sort_keys=True, separators=(",", ":"))
