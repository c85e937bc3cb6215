"""Measurements as JSON Lines, so that a run can be split, stopped and gone on with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elicit.evaluate import over_seeds

Values = Mapping[str, Any]


class Results:
    """What was measured, by a row's name and a seed; each line is written as it is known.

    A seed that is measured again replaces what was there.
    """

    def __init__(self, path: str | Path | None) -> None:
        """None keeps nothing beyond the process."""
        self._path = None if path is None else Path(path)
        self._known: dict[tuple[str, int], Values] = {}
        if self._path is not None and self._path.exists():
            for line in self._path.read_text("utf-8").splitlines():
                row = json.loads(line)
                self._known[row["row"], row["seed"]] = row["values"]

    def get(self, row: str, seed: int) -> Values | None:
        return self._known.get((row, seed))

    def all(self, row: str) -> dict[int, Values]:
        """By seed."""
        return {seed: values for (name, seed), values in self._known.items() if name == row}

    def add(self, row: str, seed: int, values: Values) -> None:
        self._known[row, seed] = values
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"row": row, "seed": seed, "values": values}) + "\n")


def spread(shares: Sequence[float]) -> str:
    """The mean over seeds with its 95 % interval, in per cent; one seed has none."""
    found = over_seeds(shares)
    if len(shares) < 2:
        return f"{100 * found.value:.1f} %"
    return found.percent()
