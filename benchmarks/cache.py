"""Speed and size of the score store.

    python benchmarks/cache.py [--scores 102400] [--iterations 3000] [--json]

Layouts: `blocks`, contexts of 256 items each, as folds and zero-shot scoring make them;
`leave-one-out`, every score with its own context of --demonstrations segments; `replay`,
with --iterations, a search of so many iterations that visits one block each, some of them
again, first as it fills the store and then as a resumed process reads it. `cold` is a
store just opened (the system's own file cache stays warm), `warm` the same lookups again,
from memory. Sizes count everything but the pages of segment texts, which are given apart.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from elicit.cache.keys import ScoreKey, context_key, prefix_digest, segment_digest
from elicit.cache.store import ScoreRow, ScoreStore, StoredScore

BATCH = 256
LABELS = ("True", "False")
IDENTITY = {"provider": "benchmark", "model": "none", "parameters": {"n_ctx": 4096}}

Segments = list[tuple[bytes, str, str]]


@dataclass(frozen=True, slots=True)
class Measured:
    """Rates in scores a second, sizes in bytes."""

    layout: str
    scores: int
    put_rate: float
    cold_rate: float
    warm_rate: float
    bytes_per_score: float
    text_bytes: int


def segments(count: int, kind: str) -> Segments:
    """Texts as long as a short claim with its answer."""
    texts = [f"Question {i} ({kind}): is it so?\nI think this is " for i in range(count)]
    return [(segment_digest(text), text, "") for text in texts]


def blocks(store: ScoreStore, scores: int, demonstrations: int) -> Iterator[list[ScoreRow]]:
    """Batches of one context each, 256 items after the same demonstrations."""
    rng = random.Random(0)
    items, pool = segments(BATCH, "item"), segments(1024, "demonstration")
    for _ in range(scores // BATCH):
        prefix = rng.sample(pool, demonstrations)
        yield rows(store, [(prefix, item) for item in items], rng)


def leave_one_out(
    store: ScoreStore, scores: int, demonstrations: int
) -> Iterator[list[ScoreRow]]:
    """Batches in which every score has a context of its own."""
    rng = random.Random(1)
    items, pool = segments(1024, "item"), segments(1024, "demonstration")
    for start in range(0, scores, BATCH):
        batch = [items[(start + i) % len(items)] for i in range(min(BATCH, scores - start))]
        yield rows(store, [(rng.sample(pool, demonstrations), item) for item in batch], rng)


def rows(
    store: ScoreStore,
    prompts: Sequence[tuple[Segments, tuple[bytes, str, str]]],
    rng: random.Random,
) -> list[ScoreRow]:
    identity, labels = store.open_identity(IDENTITY), store.open_labels(LABELS)
    made = []
    context, last = b"", None
    for prefix, item in prompts:
        if prefix is not last:
            last = prefix
            context = context_key(identity, labels, prefix_digest([d for d, *_ in prefix]))
        score = StoredScore((-rng.random(), -rng.random()))
        key = ScoreKey(context, item[0])
        made.append(ScoreRow(key, identity, labels, (*prefix, item), score))
    return made


def fill(store: ScoreStore, batches: Iterator[list[ScoreRow]]) -> tuple[list[ScoreKey], float]:
    """Keys put, and the seconds that `put` took."""
    keys: list[ScoreKey] = []
    seconds = 0.0
    for batch in batches:
        start = time.perf_counter()
        store.put(batch)
        seconds += time.perf_counter() - start
        keys += [row.key for row in batch]
    return keys, seconds


def look_up(store: ScoreStore, keys: Sequence[ScoreKey]) -> float:
    """Seconds to find all of `keys`, 256 at a time."""
    start = time.perf_counter()
    for i in range(0, len(keys), BATCH):
        if None in store.get(keys[i : i + BATCH]):
            raise SystemExit("a score that was put is not there")
    return time.perf_counter() - start


def measure(
    path: Path,
    layout: str,
    batches: Callable[[ScoreStore], Iterator[list[ScoreRow]]],
    visits: Callable[[list[ScoreKey]], list[ScoreKey]] = list,
) -> Measured:
    with ScoreStore(path) as store:
        keys, put_seconds = fill(store, batches(store))
    asked = visits(keys)
    with ScoreStore(path) as store:
        cold = look_up(store, asked)
        warm = look_up(store, asked)
        stats = store.stats()
    return Measured(
        layout,
        stats.scores,
        round(len(keys) / put_seconds),
        round(len(asked) / cold),
        round(len(asked) / warm),
        round((stats.file_bytes - stats.text_bytes) / stats.scores, 1),
        stats.text_bytes,
    )


def revisited(keys: list[ScoreKey]) -> list[ScoreKey]:
    """Every block, and one in four of them once more later on, as a search comes back."""
    batches = [keys[i : i + BATCH] for i in range(0, len(keys), BATCH)]
    again = [random.Random(i).choice(batches[: i + 1]) for i in range(0, len(batches), 4)]
    return [key for batch in [*batches, *again] for key in batch]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scores", type=int, default=102_400, help="scores a layout")
    parser.add_argument("--demonstrations", type=int, default=256, help="segments a context")
    parser.add_argument("--iterations", type=int, default=0, help="of the replayed run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    size, shots = options.scores, options.demonstrations
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        table = [
            measure(place / "a.db", "blocks", lambda s: blocks(s, size, shots)),
            measure(place / "b.db", "leave-one-out", lambda s: leave_one_out(s, size, shots)),
        ]
        if options.iterations:
            total = options.iterations * BATCH
            table.append(
                measure(place / "c.db", "replay", lambda s: blocks(s, total, shots), revisited)
            )
    if options.json:
        json.dump([asdict(row) for row in table], sys.stdout)
        sys.stdout.write("\n")
        return
    form = "{:<14} {:>9} {:>9} {:>9} {:>10} {:>12} {:>11}\n"
    names = ("layout", "scores", "put/s", "cold/s", "warm/s", "bytes/score", "text bytes")
    sys.stdout.write(form.format(*names))
    for row in table:
        sys.stdout.write(form.format(*asdict(row).values()))


if __name__ == "__main__":
    main()
