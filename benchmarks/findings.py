"""Every finding of the paper on the embedded model: measured, judged, drawn.

    taskset -c 1 python benchmarks/findings.py run --results findings.jsonl [--row NAME ...]
    python benchmarks/findings.py show --results findings.jsonl [--plots docs]

`run` measures row by row and writes each seed as it is known: what is in the file is not
measured again, so a run may be stopped, split by `--row` and `--seeds`, and gone on with.
`show` prints the table from the file and draws the plots. Seconds are of one core.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import findings_measures as measures
import findings_scale as scale
import numpy as np
from findings_measures import Lab, lab
from findings_results import Results
from findings_table import SIZES, TASKS, markdown

ROWS: dict[str, measures.Measure] = {
    **{f"labels {task}": measures.labels_of(task) for task in TASKS},
    "starts": measures.starts,
    "nothing": measures.nothing,
    "diagnoses": measures.diagnoses,
    "another": measures.another,
    "spurious": measures.spurious,
    "rare": measures.rare,
    "mixed": measures.mixed,
    "chains": measures.chains,
    "loo": scale.loo,
    "whole": scale.whole,
    **{f"bootstrap {size}": scale.bootstrapped(size) for size in SIZES},
    **{f"icm {size}": scale.annealed(size) for size in SIZES},
}


def run(results: Results, names: list[str], seeds: range, where: Lab) -> None:
    for name in names:
        for seed in seeds:
            if results.get(name, seed) is not None:
                continue
            start = time.process_time()
            values = ROWS[name](where, seed)
            seconds = time.process_time() - start
            results.add(name, seed, {**values, "seconds": seconds})
            print(f"{name}, seed {seed}: {seconds:.1f} s", flush=True)


def seconds_table(results: Results) -> str:
    """What each row took: seconds of one core a seed, and of all seeds."""
    rows = ["| row | seeds | seconds a seed | seconds |", "| --- | --- | --- | --- |"]
    total = 0.0
    for name in ROWS:
        took = [values["seconds"] for values in results.all(name).values()]
        if took:
            total += sum(took)
            rows.append(f"| {name} | {len(took)} | {np.mean(took):.1f} | {sum(took):.0f} |")
    return "\n".join([*rows, f"| all | | | {total:.0f} |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="measure what the file lacks")
    running.add_argument("--row", action="append", choices=list(ROWS), help="only this one")
    running.add_argument("--seeds", type=int, default=10)
    running.add_argument("--first-seed", type=int, default=0)
    running.add_argument("--threads", type=int, default=1)
    showing = commands.add_parser("show", help="print the table, draw the plots")
    showing.add_argument("--plots", type=Path, help="folder to write SVG files to")
    for command in (running, showing):
        command.add_argument("--results", type=Path, required=True, help="JSON Lines")
    a = parser.parse_args()
    results = Results(a.results)
    if a.command == "run":
        seeds = range(a.first_seed, a.first_seed + a.seeds)
        with lab(a.threads) as where:
            run(results, a.row or list(ROWS), seeds, where)
        return
    print(markdown(results), seconds_table(results), sep="\n\n")
    if a.plots is not None:
        from findings_plots import draw_all

        for path in draw_all(results, a.plots):
            print(path)


if __name__ == "__main__":
    main()
