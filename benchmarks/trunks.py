"""Tokens that a search forwards by how many blocks of demonstrations stay decoded.

    python benchmarks/trunks.py [MODEL]

ICM and bootstrap by two folds, one chain; the labels and log-odds are the same to the last bit.
Forwarded tokens carry no noise. The embedded model is the default.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import elicit
from elicit.cli.tasks import open_task

HELD = (1, 2, 3, 4)
SEARCHES: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("claims", 64, {"method": "icm"}),
    ("claims", 216, {"method": "icm", "iterations": 216}),
    ("facts", 128, {"method": "icm"}),
    ("claims", 216, {}),
)


def main(model: str = "tiny") -> None:
    print(f"| search | {' | '.join(map(str, HELD))} | without sharing |")
    print(f"|{' --- |' * (len(HELD) + 2)}")
    for name, items, options in SEARCHES:
        results = []
        for held in HELD:
            with tempfile.TemporaryDirectory() as folder:
                named = f"{model}{'&' if '?' in model else '?'}trunks={held}"
                store = Path(folder) / "scores.db"
                results.append(
                    elicit.label(open_task(name, items), named, cache=store, **options)
                )
        assert all(np.array_equal(r.log_odds, results[0].log_odds) for r in results)
        tokens = " | ".join(f"{r.usage.forwarded_tokens:,}" for r in results)
        method = options.get("method", "bootstrap")
        print(
            f"| {method}, {name}, {items} items | {tokens} "
            f"| {results[0].usage.prompt_tokens:,} |",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
