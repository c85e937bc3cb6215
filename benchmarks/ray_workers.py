"""Workers on Ray: two with a core each against one, what a task costs, and 64 on paper.

    python benchmarks/ray_workers.py [135m-f16.gguf] --repeats 5 --json ray_workers.json

Without a model the embedded one is asked. All rows answer the same requests, one after another
in the same order, `--repeats` times; demonstrations are new each time, so that nobody holds
them yet. Ratios are of medians. `one process` is this process, without Ray.

The model on paper takes the rate of one worker, what a task costs the process that deals, and
what planning costs it, all measured here; it is checked against the row of two workers before
it says anything of 64. It assumes that a worker is as fast whatever the others do: that holds
for machines, and for the cores of one machine only while its memory keeps up.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from elicit.providers.base import (
    UNBOUNDED,
    LabelScores,
    Provider,
    ScoredUnit,
    ScoreRequest,
    Segment,
    Usage,
)
from elicit.providers.llama_cpp import LlamaCppProvider, LlamaSettings
from elicit.providers.llama_cpp.batch import Unit
from elicit.providers.llama_cpp.model import LlamaModel
from elicit.providers.llama_cpp.planner import Planner
from elicit.providers.ray import RayProvider
from elicit.providers.ray.dealing import Costs, Piece, Post, deal, tokens_of
from elicit.providers.ray.parcel import Parcel
from elicit.providers.ray.round import Round
from elicit.providers.ray.worker import Worker
from elicit.providers.ray.workers import Workers

ORGANISM = Path(str(files("elicit.organism") / "organism.gguf"))
CROWDS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Row:
    """One contender. Seconds are of each repeat; tokens of the first."""

    name: str
    seconds: tuple[float, ...]
    forwarded_tokens: int

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


class Idle(Worker):
    """Answers at once, with numbers of no meaning."""

    def score(self, parcel: Parcel) -> ScoredUnit:
        told = LabelScores((-1.0,) * len(parcel.prompts[0].labels))
        return ScoredUnit(tuple((p.index, told) for p in parcel.prompts), Usage())


def requests(blocks: int, shots: int, items: int, salt: int) -> list[ScoreRequest]:
    """Items after each of several blocks of demonstrations; `salt` makes them new."""
    asked = []
    for block in range(blocks):
        shown = tuple(
            Segment.of(
                f"Claim {salt}.{block}.{k}: the river runs by the town, the hill is {k} miles "
                f"off and the road bends twice. True or false?{' True' if k % 2 else ' False'}"
                "\n\n"
            )
            for k in range(shots)
        )
        asked += [
            ScoreRequest(
                (
                    *shown,
                    Segment.of(
                        f"Claim {i}: the river runs by the town, the hill is {i} miles off and "
                        "the road bends twice. True or false?"
                    ),
                ),
                (" False", " True"),
            )
            for i in range(items)
        ]
    return asked


def timed(provider: Provider, asked: Sequence[ScoreRequest]) -> tuple[float, int]:
    """Seconds and tokens forwarded."""
    begin = time.perf_counter()
    answered, tokens = 0, 0
    for unit in provider.score(asked):
        answered += len(unit.scores)
        tokens += unit.usage.forwarded_tokens
    if answered != len(asked):
        raise AssertionError(f"{answered} of {len(asked)} answered")
    return time.perf_counter() - begin, tokens


def measure(
    path: Path, make: Callable[[int], list[ScoreRequest]], repeats: int
) -> dict[str, Row]:
    """All rows, taken in turn."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    settings = {
        "one process, 1 thread": LlamaSettings(threads=1),
        "one process, 2 threads": LlamaSettings(threads=2),
        "Ray, 1 worker of 1 thread": LlamaSettings(threads=1),
        "Ray, 2 workers of 1 thread": LlamaSettings(threads=1, workers=2),
    }
    providers: dict[str, Provider] = {
        name: RayProvider(path, settings=chosen)
        if name.startswith("Ray")
        else LlamaCppProvider(path, settings=chosen)
        for name, chosen in settings.items()
    }
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in providers}
    os.sched_setaffinity(0, cores)
    try:
        for name, provider in providers.items():
            timed(provider, make(-1)[:1])  # Workers are started, weights are read.
            print(f"{name}: ready", flush=True)
        for repeat in range(repeats):
            for name, provider in providers.items():
                found[name].append(timed(provider, make(repeat)))
                print(f"{name}: {found[name][-1][0]:.2f} s", flush=True)
    finally:
        for provider in providers.values():
            provider.close()
    return {
        name: Row(name, tuple(seconds for seconds, _ in pairs), pairs[0][1])
        for name, pairs in found.items()
    }


@dataclass(frozen=True)
class Overhead:
    """Seconds, medians."""

    call: float
    """Asking a worker for nothing and waiting for it."""
    task: float
    """Of the dealing process, for each unit of a batch that takes the workers no time."""
    planning: float
    """Of the same, for each request: its tokens, and the units."""


def overhead(path: Path, asked: list[ScoreRequest], repeats: int) -> Overhead:
    """What a task costs beside its decoding, with two workers that answer at once."""
    chosen = LlamaSettings(workers=2, threads=1)
    with closing(LlamaModel(path, chosen, None, vocabulary_only=True)) as model:
        planner = Planner(model, path, None, chosen)
        planner.units(asked)
        begin = time.perf_counter()
        units = planner.units(asked)
        planning = (time.perf_counter() - begin) / len(asked)
    many = units * max(1, 400 // len(units))
    with closing(Workers(path, None, chosen, planner.identity, planner.name, Idle)) as crew:
        import ray  # Not before: what it reads from the environment is there now.

        actor = crew.places[0].actor
        calls = []
        for _ in range(200):
            begin = time.perf_counter()
            ray.get(actor.pid.remote())
            calls.append(time.perf_counter() - begin)
        tasks = [_drained(crew, many, chosen) / len(many) for _ in range(repeats)]
    return Overhead(statistics.median(calls), statistics.median(tasks), planning)


def _drained(crew: Workers, units: Sequence[Unit], settings: LlamaSettings) -> float:
    begin = time.perf_counter()
    for _ in Round(crew, units, UNBOUNDED, settings).scored():
        pass
    return time.perf_counter() - begin


@dataclass(frozen=True)
class Crowd:
    """So many workers on paper."""

    workers: int
    seconds: float
    speed_up: float
    forwarded_tokens: int
    dealing_seconds: float
    """Of the process that deals: it bounds what workers can do."""


def on_paper(
    blocks: int, trunk: int, items: int, item: int, rate: float, cost: Overhead
) -> list[Crowd]:
    """A batch of `items` of `item` tokens after each of `blocks` blocks of `trunk` tokens, by
    workers that forward `rate` tokens a second."""
    costs = Costs(LlamaSettings().chunk, LlamaSettings().trunks)
    size = max(1, LlamaSettings().branch_tokens // item)
    pieces = [
        Piece(
            costs.number(tuple(range(b * trunk, (b + 1) * trunk))),
            min(size, items - first) * item,
        )
        for b in range(blocks)
        for first in range(0, items, size)
    ]
    found: list[Crowd] = []
    for crowd in CROWDS:
        hands = deal(pieces, {n: Post() for n in range(crowd)}, costs)
        each = [tokens_of([pieces[n] for n in hand], (), costs)[0] for hand in hands.values()]
        dealing = len(pieces) * cost.task + blocks * items * cost.planning
        # Planning comes before the first task, dealing goes on beside the work.
        seconds = blocks * items * cost.planning + max(
            max(each) / rate, len(pieces) * cost.task
        )
        first = found[0].seconds if found else seconds
        found.append(Crowd(crowd, seconds, first / seconds, sum(each), dealing))
    return found


def machine() -> str:
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    load = os.getloadavg()[0]
    return f"{model}, {len(os.sched_getaffinity(0))} cores, load {load:.1f} at the start"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?", default=ORGANISM)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--items", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, dest="out")
    arguments = parser.parse_args()
    print(
        f"{arguments.model.name}; {machine()}; "
        + ", ".join(f"{name} {version(name)}" for name in ("llama-cpp-python", "ray"))
    )

    def make(salt: int) -> list[ScoreRequest]:
        return requests(arguments.blocks, arguments.shots, arguments.items, salt)

    cost = overhead(arguments.model, make(0), arguments.repeats)
    rows = measure(arguments.model, make, arguments.repeats)
    one, two = rows["Ray, 1 worker of 1 thread"], rows["Ray, 2 workers of 1 thread"]
    rate = one.forwarded_tokens / one.median
    # As many tokens a block and item as were measured.
    with closing(LlamaCppProvider(arguments.model)) as provider:
        counts = provider.count_tokens(make(0)[:1]) or [0]
        whole = counts[0]
        bare = (provider.count_tokens([_bare(make(0)[0])]) or [0])[0]
    paper = on_paper(arguments.blocks, whole - bare, arguments.items, bare, rate, cost)
    large = on_paper(2, 128 * bare, 10_000, bare, rate, cost)
    print(_tables(rows, cost, paper, large))
    print(
        f"2 workers: {one.median / two.median:.2f} times one worker measured, "
        f"{paper[1].speed_up:.2f} on paper"
    )
    if arguments.out:
        arguments.out.write_text(
            json.dumps(
                {
                    "machine": machine(),
                    "model": arguments.model.name,
                    "rows": [asdict(row) for row in rows.values()],
                    "overhead": asdict(cost),
                    "measured_batch_on_paper": [asdict(crowd) for crowd in paper],
                    "20000_items_on_paper": [asdict(crowd) for crowd in large],
                },
                indent=1,
            )
        )


def _bare(request: ScoreRequest) -> ScoreRequest:
    return ScoreRequest(request.prompt[-1:], request.labels)


def _tables(
    rows: dict[str, Row], cost: Overhead, paper: Sequence[Crowd], large: Sequence[Crowd]
) -> str:
    base = rows["one process, 1 thread"].median
    lines = ["", "| | seconds: median (min to max) | times | tokens forwarded |", "|-|-|-|-|"]
    lines += [
        f"| {row.name} | {row.median:.2f} ({min(row.seconds):.2f} to {max(row.seconds):.2f}) "
        f"| {base / row.median:.2f} | {row.forwarded_tokens:,} |"
        for row in rows.values()
    ]
    lines.append("")
    lines.append(
        f"An empty call {cost.call * 1e3:.2f} ms; a task {cost.task * 1e3:.2f} ms of the "
        f"dealing process; planning {cost.planning * 1e6:.0f} µs a request."
    )
    for title, crowds in (
        ("the batch measured", paper),
        ("20,000 items, 2 blocks of 128 demonstrations", large),
    ):
        lines += ["", f"On paper, {title}:", ""]
        lines += ["| workers | seconds | times one | tokens forwarded | dealing, s |"]
        lines += ["|-|-|-|-|-|"]
        lines += [
            f"| {c.workers} | {c.seconds:.1f} | {c.speed_up:.1f} | {c.forwarded_tokens:,} | "
            f"{c.dealing_seconds:.1f} |"
            for c in crowds
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
