"""Scores held in memory: bounded, least recently used out first, by generations.

Two dictionaries take turns. What is used goes into the young one; when that holds half of
the bound it becomes the old one, and the former old one is dropped. So whatever was used
among the last `bound / 2` different scores is there, at the price of a plain dictionary.
"""

from __future__ import annotations

from collections.abc import Sequence

from elicit.cache.codec import StoredScore
from elicit.cache.keys import ScoreKey


class Memory:
    """At most `bound` scores; 0 holds none."""

    def __init__(self, bound: int) -> None:
        if bound < 0:
            raise ValueError(f"memory_scores must be 0 or more, not {bound}")
        self._half = bound // 2
        self._young: dict[bytes, StoredScore] = {}
        self._old: dict[bytes, StoredScore] = {}
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(
        self, keys: Sequence[ScoreKey]
    ) -> tuple[list[StoredScore | None], dict[bytes, list[int]]]:
        """The scores held, in order, and the indices of the others by context."""
        found: list[StoredScore | None] = []
        missing: dict[bytes, list[int]] = {}
        hits = 0
        for i, key in enumerate(keys):
            name = _name(key)
            score = self._young.get(name)
            if score is None:
                score = self._old.pop(name, None)
                if score is not None:
                    self._keep(name, score)
            found.append(score)
            if score is None:
                missing.setdefault(key.context, []).append(i)
            else:
                hits += 1
        self.hits += hits
        self.misses += len(keys) - hits
        return found, missing

    def add(self, key: ScoreKey, score: StoredScore) -> None:
        name = _name(key)
        self._old.pop(name, None)
        self._keep(name, score)

    def clear(self) -> None:
        self._young, self._old = {}, {}

    def _keep(self, name: bytes, score: StoredScore) -> None:
        if not self._half:
            return
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[name] = score


def _name(key: ScoreKey) -> bytes:
    # Context and item are 16 bytes each, so no two keys are written alike.
    return key.context + key.item + (b"%d" % key.sample if key.sample else b"")
