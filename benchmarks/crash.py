"""Kill a search at random instants, resume it each time, compare with one that ran through.

    python benchmarks/crash.py --kills 20

Counts tokens: those forwarded in all processes, less those of the uninterrupted run, is
what the kills cost. Every forwarded unit is logged by the child before it is stored.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from elicit.cache.runs import RunStore
from elicit.cache.store import ScoreStore

CHILD = """
import sys
from elicit.providers import registry
from elicit.providers.llama_cpp import LlamaCppProvider
log = open({log!r}, "a", buffering=1)
inner = LlamaCppProvider.score
def score(self, requests, budget):
    for unit in inner(self, requests, budget):
        for index, _ in unit.scores:
            key = b"".join(s.digest for s in requests[index].prompt)
            log.write(__import__("hashlib").blake2b(key, digest_size=16).hexdigest() + "\\n")
        yield unit
LlamaCppProvider.score = score
from elicit.cli.main import main
sys.argv = ["elicit", *{arguments!r}]
main()
"""


def child(cache: Path, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    code = CHILD.format(log=str(log), arguments=arguments)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"ELICIT_CACHE": str(cache)},
    )


def outcome(cache: Path) -> tuple[object, object]:
    with ScoreStore(cache) as store:
        runs = RunStore(store)
        run = runs.get("r")
        return run.result, runs.trace(run.id, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--items", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    start = ("run", "claims", "--limit", str(a.items), "--method", "icm", "--name", "r")
    rng = random.Random(a.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        if child(folder / "whole.db", folder / "whole.log", *start).wait():
            sys.exit("error: the uninterrupted run failed")
        seconds = time.perf_counter() - began
        kills = 0
        arguments: tuple[str, ...] = start
        while True:
            process = child(folder / "killed.db", folder / "killed.log", *arguments)
            try:
                # Past start-up, so that a kill falls into the search.
                process.wait(
                    timeout=None
                    if kills == a.kills
                    else 1.2 + rng.uniform(0, seconds / a.kills)
                )
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
                if (folder / "killed.db").exists():
                    arguments = ("resume", "r")
        whole = (folder / "whole.log").read_text().split()
        killed = (folder / "killed.log").read_text().split()
        repeated = len(killed) - len(set(killed))
        same = outcome(folder / "whole.db") == outcome(folder / "killed.db")
    print(
        json.dumps(
            {
                "kills": kills,
                "same_labels_and_trace": same,
                "requests_uninterrupted": len(whole),
                "requests_with_kills": len(killed),
                "requests_forwarded_twice": repeated,
                "seconds_uninterrupted": round(seconds, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
