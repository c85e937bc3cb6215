"""Puts a score store in front of any provider: what was paid for once is never asked again.

The store is asked for all requests at once; what it lacks goes to the provider, and each
`ScoredUnit` is committed in one transaction before it is passed on. So whatever a caller
has seen is on disk, and whatever is not on disk was never used.

A model that tells the k most likely tokens is asked for a certain k. A score stored under
a larger k knows at least as much, so it serves too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from elicit.cache.errors import ElicitError
from elicit.cache.keys import ScoreKey, context_key, prefix_digest
from elicit.cache.store import ScoreRow, ScoreStore, StoredScore
from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Evidence,
    Halted,
    Identity,
    LabelScores,
    Prompt,
    Provider,
    ProviderError,
    ScoredUnit,
    ScoreRequest,
    Scoring,
    Usage,
)

TOP_K = "top_k"
"""The parameter of an identity that says how many of the likeliest tokens were told."""


class CachedProvider:
    """A provider whose answers are kept. Closing it leaves the store open."""

    def __init__(self, provider: Provider, store: ScoreStore) -> None:
        self._provider = provider
        self._store = store
        self._sampled = provider.capabilities.evidence == "sampled"
        identity = provider.identity.as_dict()
        self._identity = store.open_identity(identity)
        self._richer = [
            store.open_identity(other)
            for other in store.identities()
            if _top_k(other) > _top_k(identity) and _but_top_k(other) == _but_top_k(identity)
        ]

    @property
    def name(self) -> str:
        return self._provider.name

    @property
    def identity(self) -> Identity:
        return self._provider.identity

    @property
    def capabilities(self) -> Capabilities:
        return self._provider.capabilities

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        return self._provider.count_tokens(requests)

    def close(self) -> None:
        self._provider.close()

    def score(self, requests: Sequence[ScoreRequest], budget: Budget = UNBOUNDED) -> Scoring:
        keys = self._keys(requests, self._identity)
        stored = self._stored(requests, keys)
        hits = tuple((i, _loaded(s)) for i, s in enumerate(stored) if s is not None)
        if hits:
            yield ScoredUnit(hits, Usage(cached=len(hits)))
        # Equal requests are asked once.
        places: dict[ScoreKey, list[int]] = {}
        for i, score in enumerate(stored):
            if score is None:
                places.setdefault(keys[i], []).append(i)
        if places:
            asked = [requests[equal[0]] for equal in places.values()]
            yield from self._asked(asked, list(places), list(places.values()), budget)

    def stored(self, requests: Sequence[ScoreRequest]) -> list[LabelScores | None]:
        """What the store holds for each, or None; the model is not asked."""
        found = self._stored(requests, self._keys(requests, self._identity))
        return [None if score is None else _loaded(score) for score in found]

    def _asked(
        self,
        requests: Sequence[ScoreRequest],
        keys: Sequence[ScoreKey],
        places: Sequence[Sequence[int]],
        budget: Budget,
    ) -> Scoring:
        """Ask for what is not stored. Each request has a key, and the places of its score."""
        answered = 0
        with closing(self._provider.score(requests, budget)) as units:
            for unit in units:
                try:
                    kept = self._kept(unit, keys, requests)
                    answered += len(kept)
                    scores = tuple((i, s) for j, s in kept for i in places[j])
                    yield ScoredUnit(scores, unit.usage)
                except BaseException:
                    # Whoever asked wants no more, or an interrupt came. What is under way
                    # will be paid for, so it is kept all the same.
                    for late in (unit, *_under_way(units)):
                        self._kept(late, keys, requests)
                    raise
        if answered != len(requests):
            raise ProviderError(
                f"{self.name} answered {answered} of {len(requests)} prompts; nothing was made "
                "up for the rest. Run again: what was answered is kept."
            )

    def _kept(
        self, unit: ScoredUnit, keys: Sequence[ScoreKey], requests: Sequence[ScoreRequest]
    ) -> list[tuple[int, LabelScores]]:
        """Commit a unit; its scores as they are stored."""
        rows = [self._row(keys[i], requests[i], scores) for i, scores in unit.scores]
        if self._store.put(rows) == len(rows):
            return list(unit.scores)
        # Another process was first with some; what is stored is what counts.
        stored = self._store.get([row.key for row in rows])
        return [
            (i, scores if found is None else _loaded(found))
            for (i, scores), found in zip(unit.scores, stored, strict=True)
        ]

    def _stored(
        self, requests: Sequence[ScoreRequest], keys: Sequence[ScoreKey]
    ) -> list[StoredScore | None]:
        found = self._store.get(keys)
        for identity in self._richer:
            missing = [i for i, score in enumerate(found) if score is None]
            if not missing:
                break
            others = self._keys([requests[i] for i in missing], identity)
            for i, score in zip(missing, self._store.get(others), strict=True):
                found[i] = score
        return found

    def _keys(self, requests: Sequence[ScoreRequest], identity: bytes) -> list[ScoreKey]:
        """One key a request. Neighbours with the same demonstrations share the hashing."""
        keys: list[ScoreKey] = []
        demonstrations: Prompt | None = None
        labels: tuple[str, ...] | None = None
        context = b""
        for request in requests:
            if request.prompt[:-1] != demonstrations or request.labels != labels:
                demonstrations, labels = request.prompt[:-1], request.labels
                prefix = prefix_digest([segment.digest for segment in demonstrations])
                context = context_key(identity, self._store.open_labels(labels), prefix)
            sample = request.sample if self._sampled else 0
            keys.append(ScoreKey(context, request.prompt[-1].digest, sample))
        return keys

    def _row(self, key: ScoreKey, request: ScoreRequest, scores: LabelScores) -> ScoreRow:
        return ScoreRow(
            key=key,
            identity=self._identity,
            labels=self._store.open_labels(request.labels),
            segments=tuple((s.digest, s.text, s.role) for s in request.prompt),
            score=StoredScore(
                scores.log_probs, scores.evidence, scores.samples, scores.bounded
            ),
        )


def _under_way(units: Scoring) -> Iterator[ScoredUnit]:
    """What a provider has begun and not yielded yet, once nothing more is wanted of it."""
    try:
        yield units.throw(Halted())
        yield from units
    except (Halted, StopIteration, ElicitError):
        return  # it knows no such end, has come to it, or had a failure of its own to tell


_EVIDENCE: dict[str, Evidence] = {
    "exact": "exact",
    "top_k": "top_k",
    "decision": "decision",
    "sampled": "sampled",
}


def _loaded(stored: StoredScore) -> LabelScores:
    return LabelScores(
        stored.values, _EVIDENCE[stored.evidence], stored.bounded, stored.samples
    )


def _top_k(identity: Mapping[str, Any]) -> int:
    return int(identity.get("parameters", {}).get(TOP_K) or 0)


def _but_top_k(identity: Mapping[str, Any]) -> dict[str, Any]:
    rest = {k: v for k, v in identity.get("parameters", {}).items() if k != TOP_K}
    return {**identity, "parameters": rest}
