"""All that the store holds of a run: what a report is made of, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from elicit.cache.runs import Run, RunStore
from elicit.search.state import State
from elicit.search.trace import TraceRow, read_trace

DIAGNOSES = "diagnose-"
"""What the names of runs begin with that are the searches of a diagnosis."""
DIAGNOSIS = "diagnosis"
"""Under this name the diagnosis stands in the result of its run."""


@dataclass(frozen=True, slots=True)
class Search:
    """One chain's search up to now."""

    trace: tuple[TraceRow, ...]
    state: State | None
    """The last that was saved; None before the first."""


@dataclass(frozen=True, slots=True)
class KeptDiagnosis:
    """A diagnosis, as its `as_dict` gave it, and when it was made (Unix time, seconds)."""

    found: Mapping[str, Any]
    when: float


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run, its searches, and the newest diagnosis of the same task and model."""

    run: Run
    searches: tuple[Search, ...]
    diagnosis: KeptDiagnosis | None


def record_of(runs: RunStore, run: Run) -> RunRecord:
    """Everything kept of a run.

    Raises:
        StoreDamaged: a saved state is not what was saved.
    """
    return RunRecord(
        run,
        tuple(_search(runs, run.id, number) for number in range(run.chains)),
        _diagnosis(runs, run),
    )


def _search(runs: RunStore, run_id: int, chain: int) -> Search:
    text = runs.load_checkpoint(run_id, chain)
    state = None if text is None else State.loads(text)
    return Search(tuple(read_trace(runs.trace(run_id, chain))), state)


def _diagnosis(runs: RunStore, run: Run) -> KeptDiagnosis | None:
    made = [
        KeptDiagnosis(other.result[DIAGNOSIS], other.updated)
        for other in runs.list(run.task_digest)
        if other.name.startswith(DIAGNOSES)
        and other.settings["identity"] == run.settings["identity"]
        and other.result is not None
        and DIAGNOSIS in other.result
    ]
    return max(made, key=lambda kept: kept.when, default=None)
