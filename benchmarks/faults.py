"""A run against a server of which 30 % of the requests fail, beside the same run without.

    python benchmarks/faults.py

The server (`tests/chaos_server.py`) is asked for completions over HTTP and fails in eight ways,
drawn by seed. The model's settings are the defaults but for the timeout, which is below the
time that a hanging request takes. Where a prompt fails as often as it is tried, the run stops
and is resumed; the number of such stops is told.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from chaos_server import Chaos, chaos_server

import elicit
from elicit.cache.runs import RunStore
from elicit.cache.store import ScoreStore
from elicit.cli.tasks import open_task
from elicit.labelling import Result, resume
from elicit.providers.retry import CallFailed
from elicit.search.icm import ICMSettings
from elicit.settings import RunSettings


@dataclass(frozen=True)
class Found:
    """What came of a run; `calls` is this side's count, `requests` the server's."""

    share: float
    prompts: int
    calls: int
    requests: int
    outcomes: dict[str, int]
    stored: int
    prompts_answered: int
    answered_again: int
    stops: int
    seconds: float

    @property
    def ratio(self) -> float:
        return self.calls / self.prompts


def run(
    chaos: Chaos, share: float, seed: int, items: int, settings: RunSettings, cache: Path
) -> tuple[Result, Found]:
    """The run from an empty store to its end, however often it stops."""
    chaos.begin(share, seed)
    how = "scorer=completions" + ("&timeout=1" if share else "")
    model = f"compatible:{chaos.url}#tiny?{how}"
    begin = time.perf_counter()
    stops, result = 0, None
    while result is None:
        try:
            if stops:
                result = resume("r", open_task, cache=cache)
            else:
                result = elicit.label(
                    open_task("claims", items),
                    model,
                    name="r",
                    cache=cache,
                    settings=settings,
                )
        except CallFailed as failure:
            stops += 1
            print(f"stop {stops}: {failure}", file=sys.stderr)
    seconds = time.perf_counter() - begin
    with ScoreStore(cache) as store:
        stored, usage = store.stats().scores, RunStore(store).get("r").usage
    found = Found(
        share=share,
        # Less what was asked to open the model: one question, and the list of models.
        prompts=int(usage["requests"]) - 1,
        calls=int(usage["calls"]) - 2,
        requests=chaos.requests,
        outcomes=dict(chaos.outcomes.most_common()),
        stored=stored,
        prompts_answered=len(chaos.answered),
        answered_again=sum(chaos.answered.values()) - len(chaos.answered),
        stops=stops,
        seconds=round(seconds, 1),
    )
    return result, found


def table(calm: Found, faulty: Found, same_labels: bool, same_odds: bool) -> str:
    rows: list[tuple[str, object, object]] = [
        ("prompts of the run", f"{calm.prompts:,}", f"{faulty.prompts:,}"),
        ("requests sent, by the client", f"{calm.calls:,}", f"{faulty.calls:,}"),
        ("requests a prompt", f"{calm.ratio:.3f}", f"{faulty.ratio:.3f}"),
        ("requests, by the server", f"{calm.requests:,}", f"{faulty.requests:,}"),
        ("scores stored", f"{calm.stored:,}", f"{faulty.stored:,}"),
        ("answered in full before", calm.answered_again, faulty.answered_again),
        ("stops, each resumed", calm.stops, faulty.stops),
        ("labels equal", "", same_labels),
        ("log-odds equal to the last bit", "", same_odds),
        ("seconds", calm.seconds, faulty.seconds),
    ]
    rows += [
        (f"outcome: {kind}", calm.outcomes.get(kind, 0), count)
        for kind, count in faulty.outcomes.items()
    ]
    lines = [f"| | none fails | {faulty.share:.0%} fail |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {name} | {a} | {b} |" for name, a, b in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=216)
    parser.add_argument("--iterations", type=int, default=12)
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    # All items are labelled from the start, so that each step asks about as many as there are.
    annealing = ICMSettings(initial=a.items, iterations=a.iterations, repairs=1)
    settings = RunSettings(method="icm", icm=annealing)
    with tempfile.TemporaryDirectory() as folder, chaos_server(0.0) as chaos:
        first, calm = run(chaos, 0.0, a.seed, a.items, settings, Path(folder) / "calm.db")
        again, faulty = run(chaos, a.share, a.seed, a.items, settings, Path(folder) / "e.db")
    labels = first.labels.tolist() == again.labels.tolist()
    odds = first.log_odds.tolist() == again.log_odds.tolist()
    if a.json:
        figures = {"labels_equal": labels, "log_odds_equal": odds}
        print(json.dumps({**figures, "calm": asdict(calm), "faulty": asdict(faulty)}))
        return
    print(table(calm, faulty, labels, odds))


if __name__ == "__main__":
    main()
