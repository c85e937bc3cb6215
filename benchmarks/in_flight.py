"""Many requests in flight at once: what a server with a rate limit sees of them.

    python benchmarks/in_flight.py

The server (`rate_server.py`) and the client are processes of their own. The client imports
what `elicit run` imports, scores prompts that share 16 demonstrations into an empty store, and
tells the peak of its memory. Times and rates are the server's.

By Little's law, requests at once are rate times latency: at 6,000 a minute and one second no
more than 100 can be in flight, so 200 are only reached with a longer latency or a higher rate.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SETTINGS = ((6_000, 1.0), (6_000, 2.5), (3_000, 4.5), (30_000, 1.0))
"""Requests a minute, and seconds that each takes."""
SERVER = Path(__file__).resolve().parent / "rate_server.py"
CLIENT = """
import json, resource, sys, time
from pathlib import Path
import elicit.cli.main
from elicit.labelling import metered, open_store
from elicit.providers.base import ScoreRequest, Segment
url, concurrency, n, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
model = f"compatible:{url}#m?scorer=completions&concurrency={concurrency}"
shown = tuple(Segment.of(f"example {i}: yes\\n") for i in range(16))
asked = [ScoreRequest((*shown, Segment.of(f"item {i}:")), (" yes", " no")) for i in range(n)]
with open_store(Path(folder) / "e.db") as store, metered(model, store) as meter:
    begin = time.perf_counter()
    answered = sum(len(unit.scores) for unit in meter.score(asked))
    seconds = time.perf_counter() - begin
    kept = store.stats().scores
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"answered": answered, "stored": kept, "calls": meter.usage.calls,
    "seconds": round(seconds, 2), "peak_mib": round(peak, 1)}))
"""


@dataclass(frozen=True)
class Row:
    """What both sides say of one setting."""

    rate: int
    latency: float
    concurrency: int
    answered: int
    stored: int
    seconds: float
    most_at_once: int
    most_in_1_s: int
    most_in_60_s: int
    refused: int
    connections: int
    peak_mib: float


def measure(rate: int, latency: float, requests: int, concurrency: int) -> Row:
    """Start both processes, and end both."""
    command = [sys.executable, str(SERVER), "--rate", str(rate), "--latency", str(latency)]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        if server.stdout is None:
            raise AssertionError("its output is a pipe")
        url = server.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as folder:
            given = [url, str(concurrency), str(requests), folder]
            client = subprocess.run(
                [sys.executable, "-c", CLIENT, *given],
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            )
        counted, _ = server.communicate("", timeout=30)
    finally:
        server.kill()
        server.wait()
    told, count = json.loads(client.stdout), json.loads(counted)
    return Row(
        rate=rate,
        latency=latency,
        concurrency=concurrency,
        answered=told["answered"],
        stored=told["stored"],
        seconds=told["seconds"],
        peak_mib=told["peak_mib"],
        **{k: count[k] for k in ("most_at_once", "most_in_1_s", "most_in_60_s")},
        refused=count["refused"],
        connections=count["connections"],
    )


def table(rows: Sequence[Row]) -> str:
    columns = ["stated a minute", "latency", "at once, allowed", "at once, most"]
    columns += ["in any 1 s (stated)", "in any 60 s (stated)", "429", "seconds"]
    columns += ["connections", "peak memory"]
    lines = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    lines += [
        f"| {row.rate:,} | {row.latency:g} s | {row.concurrency} | {row.most_at_once} "
        f"| {row.most_in_1_s} ({row.rate / 60:,.0f}) | {row.most_in_60_s:,} ({row.rate:,}) "
        f"| {row.refused} | {row.seconds:.1f} | {row.connections} | {row.peak_mib:.0f} MiB |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=5_000)
    parser.add_argument("--concurrency", type=int, default=200)
    parser.add_argument("--rate", type=int, help="requests a minute; with --latency, alone")
    parser.add_argument("--latency", type=float, help="seconds")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    settings = SETTINGS if a.rate is None else ((a.rate, a.latency or 1.0),)
    rows = [measure(rate, wait, a.requests, a.concurrency) for rate, wait in settings]
    print(json.dumps([asdict(row) for row in rows]) if a.json else table(rows))


if __name__ == "__main__":
    main()
