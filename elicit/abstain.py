"""Leaves the least certain items unlabelled. No gold is seen here."""

from __future__ import annotations

import numpy as np

from elicit.cache.errors import InputError
from elicit.constraints import UNLABELLED
from elicit.scorer import FloatArray, IntArray


def abstain(log_odds: FloatArray, labels: IntArray, share: float) -> IntArray:
    """`labels`, (n_items,), with the least certain `share` of all items `UNLABELLED`.

    `log_odds`, (n_items,), is the certainty of each item's label in nats. At most that share
    is left out, in whole items; of equally certain items the first ones are. Items that were
    unlabelled before count towards it. Single items are left out, never a whole group: what
    an item's group still says of it, a constraint "exactly one" say, is not taken back.

    Raises:
        InputError: `share` is not from 0 to below 1.
    """
    if not 0 <= share < 1:
        raise InputError(f"setting abstain: must be from 0 to below 1, not {share}")
    certainty = np.where(labels == UNLABELLED, -np.inf, log_odds)
    # 0.29 of 100 items are 28.999... in binary.
    count = int(share * labels.size + 1e-9)
    left = labels.copy()
    left[np.argsort(certainty, kind="stable")[:count]] = UNLABELLED
    return left
