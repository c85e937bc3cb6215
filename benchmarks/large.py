"""A task of 20,000 items: time, memory, store and accuracy, whole and from a pool.

    python benchmarks/large.py --items 20000 --pool 512

Statements of the embedded world, known creatures and sizes, with and without a word of no
weight; half of them true. Each way is a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

import elicit
from elicit.organism.vocabulary import ADVERBS
from elicit.organism.world import FAMILIES, N_SIZED, ORDER, make_world
from elicit.prompt import Template
from elicit.scorer import IntArray
from elicit.task import Task

ENDINGS = ("", *(f" {word}" for word in ADVERBS))


def statements(items: int, seed: int = 0) -> tuple[Task, IntArray]:
    """So many statements in random order, and whether each is true."""
    world, rng = make_world(), np.random.default_rng(seed)
    rows: dict[bool, list[str]] = {True: [], False: []}
    for ending in ENDINGS:
        for family, (verb, words) in enumerate(FAMILIES.items()):
            for creature, name in enumerate(world.known):
                true = int(world.values[family, creature])
                for value, word in enumerate(words):
                    rows[value == true].append(f"{name} {verb} {word}{ending}")
        for left in range(N_SIZED):
            for right in range(N_SIZED):
                if left != right:
                    said = f"{world.known[left]} {ORDER} {world.known[right]}{ending}"
                    rows[bool(world.rank[left] > world.rank[right])].append(said)
    truths = rng.random(items) < 0.5
    # There are fewer true statements than are asked for: the same may stand twice.
    claims = [rows[bool(truth)][rng.integers(len(rows[bool(truth)]))] for truth in truths]
    task = Task(
        labels=["False", "True"],
        items=[{"claim": claim} for claim in claims],
        template=Template("{{ claim }}:", (" False", " True"), "\n"),
    )
    return task, truths.astype(np.int64)


@dataclass(frozen=True)
class Taken:
    """What one way took."""

    accuracy: float
    requests: int
    forwarded: int
    seconds: float
    again: float
    """Seconds of the same run repeated from the store."""
    megabytes: float
    """Peak memory of the process."""
    store: float
    """Size of the store, MiB."""


def taken(items: int, options: Mapping[str, object]) -> Taken:
    task, gold = statements(items)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "scores.db"
        began = time.monotonic()
        first = elicit.label(task, "tiny?threads=1", cache=store, **options)  # type: ignore[arg-type] # by name
        middle = time.monotonic()
        elicit.label(task, "tiny?threads=1", cache=store, **options)  # type: ignore[arg-type] # by name
        ended = time.monotonic()
        return Taken(
            float((first.labels == gold).mean()),
            first.usage.requests,
            first.usage.forwarded_tokens,
            middle - began,
            ended - middle,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            store.stat().st_size / 2**20,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--pool", type=int, default=512)
    parser.add_argument("--demonstrations", default="64")
    a = parser.parse_args()
    shown = {"demonstrations": a.demonstrations}
    ways: dict[str, dict[str, object]] = {
        "bootstrap": shown,
        f"bootstrap, pool of {a.pool}": {**shown, "pool": a.pool},
        f"icm, pool of {a.pool // 4}": {**shown, "method": "icm", "pool": a.pool // 4},
    }
    columns = ["way", "accuracy", "requests", "tokens", "seconds", "again", "MiB", "store, MiB"]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for name, options in ways.items():
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            found = process.submit(taken, a.items, options).result()
        print(
            f"| {name} | {found.accuracy:.1%} | {found.requests:,} | {found.forwarded:,} "
            f"| {found.seconds:.1f} | {found.again:.1f} | {found.megabytes:.0f} "
            f"| {found.store:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
