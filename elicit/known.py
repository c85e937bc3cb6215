"""What the store already holds of a task's scores: paid for, and true of the model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from elicit.cache.store import ScoreStore
from elicit.prompt import RenderedTask
from elicit.providers.base import Provider, ScoreRequest
from elicit.providers.cached import CachedProvider
from elicit.providers.sampled import from_draws
from elicit.scorer import Ask, FloatArray

STRAYED = 16
"""Contexts in a row of which nothing is stored, after which a rehearsal is not looked after:
it went another way than any run has gone."""


class Known:
    """Scores of one model in the store, by item and label numbers. The model is not asked."""

    def __init__(self, rendered: RenderedTask, provider: Provider, store: ScoreStore) -> None:
        self._rendered = rendered
        self._look = CachedProvider(provider, store).stored
        can = provider.capabilities
        self._draws = max(1, can.samples) if can.evidence == "sampled" else 1
        self._rows: dict[tuple[bytes, bytes], FloatArray | None] = {}
        self.found: set[tuple[bytes, bytes, int]] = set()
        """What was found: context, its labels, item."""

    def rows(self, ask: Ask) -> FloatArray | None:
        """Log-probabilities of all items after a context, (n_items, n_labels), NaN where not
        stored; None where nothing is. Of a sampled model, an item counts if all its draws
        are there."""
        key = ask.context.tobytes(), ask.labels.tobytes()
        if key not in self._rows:
            self._rows[key] = rows = self._read(ask)
            if rows is not None:
                for item in np.flatnonzero(~np.isnan(rows[:, 0])).tolist():
                    self.found.add((*key, item))
        return self._rows[key]

    def _read(self, ask: Ask) -> FloatArray | None:
        context = self._rendered.context(ask.context, ask.labels)
        labels = self._rendered.verbalizers
        requests = [
            ScoreRequest((*context, question), labels) for question in self._rendered.questions
        ]
        found = self._look([replace(r, sample=s) for r in requests for s in range(self._draws)])
        rows = np.full((len(requests), len(labels)), np.nan)
        for item in range(len(requests)):
            draws = found[item * self._draws : (item + 1) * self._draws]
            there = [score for score in draws if score is not None]
            if len(there) < self._draws:
                continue
            scores = there[0] if self._draws == 1 else from_draws(there)
            raw = np.array(scores.log_probs)
            rows[item] = raw - np.logaddexp.reduce(raw)
        return None if np.isnan(rows).all() else rows
