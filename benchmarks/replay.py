"""Replay a recorded search from the store: the same labels, no token, how many seconds?

    python benchmarks/replay.py --iterations 3000

Runs an embedded task once, then again as new processes (start-up included).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def run(cache: Path, task: str, iterations: int, seed: int) -> tuple[dict[str, Any], float]:
    """One run as a user starts it; returns what it printed and its seconds."""
    code = "from elicit.cli.main import main; main()"
    command = [
        sys.executable,
        "-c",
        code,
        "run",
        task,
        "--method",
        "icm",
        "--json",
        "--cache",
        str(cache),
    ]
    command += ["--seed", str(seed), "--set", f"iterations={iterations}"]
    start = time.perf_counter()
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    return json.loads(done.stdout), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--task", default="sizes")
    parser.add_argument("--iterations", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=5)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "scores.db"
        first, seconds = run(cache, a.task, a.iterations, a.seed)
        again = [run(cache, a.task, a.iterations, a.seed) for _ in range(a.repeats)]
        size = cache.stat().st_size
    if any(found["rows"] != first["rows"] for found, _ in again):
        sys.exit("error: a replayed run found other labels")
    times = [took for _, took in again]
    print(
        json.dumps(
            {
                "items": first["items"],
                "iterations": a.iterations,
                "first": {"seconds": round(seconds, 1), **first["usage"]},
                "replayed": {
                    "median_seconds": round(statistics.median(times), 2),
                    "seconds": [round(t, 2) for t in times],
                    **again[0][0]["usage"],
                },
                "store_bytes": size,
            }
        )
    )


if __name__ == "__main__":
    main()
