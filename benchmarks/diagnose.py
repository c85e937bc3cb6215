"""Does `elicit diagnose` warn where the model knows nothing, and nowhere else?

    python benchmarks/diagnose.py [--seeds 100:120] [--tasks marker,claims+sizes+facts]

For each seed and each of the comma-separated entries, the embedded model is asked about 64 to
96 items, drawn and shuffled by seed; of an entry with several tasks the seeds take turns. A
run is right where `marker`, items that nothing the model knows separates, is not salient and
warned of, and where the salient tasks are salient and not warned of. Of other tasks the
verdict is printed and not judged.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from elicit.cli.tasks import open_task
from elicit.diagnose import Diagnosis, diagnose
from elicit.run import pool_of
from elicit.settings import RunSettings
from elicit.task import Task

KNOWS_NOTHING = ("marker",)
SALIENT = ("claims", "sizes", "facts")
FEWEST, MOST = 64, 96


def part_of(task: Task, seed: int) -> Task:
    """So many items as the seed says, whole groups of them, shuffled."""
    rng = np.random.default_rng([seed, 1])
    size = int(rng.integers(FEWEST, MOST + 1))
    chosen = rng.permutation(pool_of(RunSettings(seed=seed, pool=size), task.rules()))
    return task.some(chosen.tolist())


def right(found: Diagnosis) -> bool | None:
    """Whether the verdict is the one known for the task; None where none is."""
    if found.task in KNOWS_NOTHING:
        return found.verdict != "salient" and bool(found.warnings)
    if found.task in SALIENT:
        return found.verdict == "salient" and not found.warnings
    return None


def line(found: Diagnosis, seed: int, seconds: float) -> str:
    """One row of the table."""
    e = found.evidence
    judged = right(found)
    mark = "" if judged is None else "right" if judged else "WRONG"
    codes = ",".join(f.code if f.kind == "warning" else f"({f.code})" for f in found.findings)
    deviations = "" if e.deviations is None else f"{e.deviations:.1f}"
    return (
        f"{found.task:<9}{seed:>5}{found.items:>6}  {found.verdict:<12}{mark:<6}"
        f"{e.reported.information.relative:>6.2f}{e.reported.information.total:>7.1f}"
        f"{e.again:>3}/{len(e.others)}{deviations:>7}"
        f"{found.usage.forwarded_tokens / 1e3:>7.0f}{seconds:>6.1f}  {codes}"
    )


def main() -> None:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="100:120", help="from:to")
    parser.add_argument("--tasks", default="marker,claims+sizes+facts")
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--method", choices=("bootstrap", "icm"), default="bootstrap")
    parser.add_argument("--prior", default="")
    arguments = parser.parse_args()
    first, last = map(int, arguments.seeds.split(":"))
    print(
        "task      seed items  verdict           share   nats again    sds  ktok     s  "
        "warnings, (notes)"
    )
    counts: Counter[tuple[str, bool | None]] = Counter()
    with TemporaryDirectory() as folder:
        for entry in arguments.tasks.split(","):
            names = entry.split("+")
            for seed in range(first, last):
                task = part_of(open_task(names[seed % len(names)]), seed)
                settings = RunSettings(
                    method=arguments.method, seed=seed, prior=arguments.prior
                )
                began = time.perf_counter()
                found = diagnose(
                    task,
                    "tiny",
                    settings=settings,
                    chains=arguments.chains,
                    cache=Path(folder) / "scores.db",
                )
                print(line(found, seed, time.perf_counter() - began), flush=True)
                counts[task.name, right(found)] += 1
    judged = {name for name, verdict in counts if verdict is not None}
    for name in sorted(judged):
        print(
            f"{name}: {counts[name, True]} of {counts[name, True] + counts[name, False]} right"
        )
    good = sum(counts[name, True] for name in judged)
    bad = sum(counts[name, False] for name in judged)
    if judged:
        print(f"all: {good} of {good + bad} right")


if __name__ == "__main__":
    main()
