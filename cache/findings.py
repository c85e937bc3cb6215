"""What was found out about a model by asking it, kept so that it is asked once.

A finding is no score: it says which way of asking a server answers, and what it calls
itself. Losing one costs a few requests.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from elicit.cache.errors import StoreDamaged
from elicit.cache.store import ScoreStore


class Findings:
    """The findings of a score store, by a model's name. It owns nothing: close the store."""

    def __init__(self, store: ScoreStore) -> None:
        self._store = store

    def get(self, model: str) -> Mapping[str, Any] | None:
        """What was found last; None where nothing was.

        Raises:
            StoreDamaged: it is not what was written.
        """
        with self._store.reading():
            row = self._store.connection.execute(
                "SELECT json FROM findings WHERE model = ?", (model,)
            ).fetchone()
        if row is None:
            return None
        try:
            found = json.loads(row[0])
        except (TypeError, ValueError):
            found = None
        if not isinstance(found, dict):
            raise StoreDamaged(
                f"{self._store.path}: what was found about {model} is damaged. `elicit cache "
                "verify --repair` removes it; the model is then asked anew."
            )
        return found

    def put(self, model: str, found: Mapping[str, object]) -> None:
        """Keep what was found, in place of what was there."""
        with self._store.transaction():
            self._store.connection.execute(
                "INSERT OR REPLACE INTO findings VALUES (?, ?, ?)",
                (model, json.dumps(found), int(time.time() // 86400)),
            )
