"""Drives a search: budget, checkpoints, events, several chains, resume.

The law (DESIGN: interrupted at any instant and resumed = never interrupted) holds because
a search is a function of its state and of scores, a state is saved with its trace in one
transaction, and every score is in the store before the search sees it: what is repeated
after a crash is repeated from the store.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from elicit.cache.errors import InputError
from elicit.cache.runs import Run, RunStore
from elicit.constraints import Rules
from elicit.objective import log_odds
from elicit.outcome import Chain, Outcome, answer_of, summary_of
from elicit.prior import parse_prior, with_mean
from elicit.providers.base import Usage
from elicit.providers.registry import lasting_name
from elicit.providers.usage import BudgetReached, Meter
from elicit.repair import repair
from elicit.scorer import IntArray, Scorer
from elicit.search.methods import most_iterations, search
from elicit.search.problem import Problem
from elicit.search.state import State
from elicit.search.trace import trace_row
from elicit.settings import RunSettings, settings_from
from elicit.task import Task

_log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 0.5
FACTS = ("items", "identity", "batch", "searches")
"""What a run's record holds beside its settings."""
SEARCHES = 3
"""Raised whenever a search of equal settings would go another way than before."""
SETTLED = 1e3
"""Nats added for a label the search found: above any difference of log-probabilities."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One event of a run, for whoever shows it."""

    chain: int
    chains: int
    iterations: int
    """Iterations of one chain in all."""
    state: State
    usage: Usage
    """Spent since this process took up the run."""


def begin(
    runs: RunStore,
    task: Task,
    meter: Meter,
    model: str,
    settings: RunSettings,
    name: str | None = None,
    *,
    batch: bool = False,
) -> Run:
    """Record a new run, once it is sure that the task's constraints can be met.

    `batch` is kept for whoever resumes it: that its requests go through a batch endpoint.

    Raises:
        InputError: they can't, the prior is not one of these labels, or the name is taken.
    """
    repair(np.zeros((len(task.items), len(task.labels))), task.rules())
    parse_prior(settings.prior, task.labels)
    if settings.predictability == "prequential" and meter.capabilities.items_per_call > 1:
        raise InputError(
            f"setting predictability: prequential asks about one item after each context, and "
            f"a call to {meter.name} takes many; give --set predictability=folds"
        )
    if settings.method == "icm" and meter.capabilities.evidence == "sampled":
        _log.warning(
            "%s tells no probabilities, so each prompt is asked %d times: annealing takes many "
            "requests. --method bootstrap finds much the same labels for about a tenth.",
            meter.name,
            meter.capabilities.samples,
        )
    identity = meter.identity.digest().hex()
    facts = {
        "items": len(task.items),
        "identity": identity,
        "batch": batch,
        "searches": SEARCHES,
    }
    return runs.create(
        name,
        task_digest=task.digest(),
        task_path=task.path,
        model=lasting_name(model),
        method=settings.method,
        settings={**settings.as_dict(), **facts},
        seed=settings.seed,
        chains=settings.chains,
    )


def settings_of(run: Run) -> RunSettings:
    """The settings a run was begun with."""
    return settings_from({k: v for k, v in run.settings.items() if k not in FACTS})


def drive(
    run: Run,
    runs: RunStore,
    task: Task,
    meter: Meter,
    on_progress: Callable[[Progress], None] = lambda _: None,
    *,
    force: bool = False,
) -> Outcome:
    """Take a run from where it stands to its end, and record how it ended.

    `force` takes it over from a process on another machine, which can't be asked whether
    it is alive.

    Raises:
        InputError: another process works on it, or the model is another than it began with.
        BudgetReached: the run is saved as `budget`; take it up again with a larger one.
        KeyboardInterrupt: it is saved as `interrupted`.
        ElicitError: a score could not be had; it is saved as `failed`, and can be resumed.
    """
    if meter.identity.digest().hex() != run.settings["identity"]:
        raise InputError(
            f"run {run.name!r}: {run.model} is not the model it began with (another file, "
            "other settings or another llama.cpp). Give that model back, or start a new run."
        )
    if run.settings.get("searches") != SEARCHES:
        raise InputError(
            f"run {run.name!r} was begun by another version of elicit, whose searches go "
            "another way. Start a new run: the scores it has paid for are kept."
        )
    with runs.claim(run.id, force=force):
        status = "failed"
        booked = _Booked(runs, run.id, meter)
        try:
            outcome = _chains(run, runs, task, meter, booked, on_progress)
            runs.finish(run.id, "done", summary_of(outcome, task))
            status = "done"
        except BudgetReached as reached:
            status = "budget"
            raise BudgetReached(f"{reached} Go on: elicit resume {run.name}") from reached
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        finally:
            booked.book()
            if status != "done":
                runs.finish(run.id, status)
    return outcome


def _chains(
    run: Run,
    runs: RunStore,
    task: Task,
    meter: Meter,
    booked: _Booked,
    on_progress: Callable[[Progress], None],
) -> Outcome:
    settings = settings_of(run)
    writing = settings.writing_for(meter.capabilities.form)
    rendered = task.render(writing)
    scorer = Scorer(rendered, meter)
    rules = task.rules()
    pool = pool_of(settings, rules)
    chains: list[Chain] = []
    finals: list[Scorer] = []
    for number in range(settings.chains):
        problem, rng = chain_of(settings, number, scorer, rules, pool)
        saved = _saved(runs, run.id, number)
        states = search(problem, settings.search, rng, saved)
        iterations = most_iterations(settings.search, pool.size)
        final = None
        for final in _checkpointed(states, runs, run.id, number, saved, booked):
            on_progress(Progress(number, settings.chains, iterations, final, meter.usage))
        final = final or _saved(runs, run.id, number)
        if final is None:
            raise AssertionError("a search yields at least one state")
        # A scorer that has read nothing yet, so that the coverage told is that of the final
        # scores, and the same however often the run was taken up.
        last = Scorer(rendered, meter)
        chains.append(finish(replace(problem, scorer=last), final))
        finals.append(last)
    return Outcome(
        tuple(chains),
        answer_of(chains, settings, rules),
        meter.usage,
        _mean([scorer.mean_coverage for scorer in finals]),
        _mean([scorer.bounded_share for scorer in finals]),
        writing,
        settings.limit_for(scorer),
    )


def chain_of(
    settings: RunSettings, number: int, scorer: Scorer, rules: Rules, pool: IntArray
) -> tuple[Problem, np.random.Generator]:
    """What the chain of this number works on, and the generator that it begins with."""
    seed, drawn = seeds_of(settings, number)
    problem = Problem(scorer, settings.objective_for(scorer, rules, drawn), pool)
    return problem, np.random.Generator(np.random.PCG64(seed))


def seeds_of(
    settings: RunSettings, number: int
) -> tuple[np.random.SeedSequence, np.random.Generator]:
    """What the chain of this number draws from: its search by the seed, and its measure of
    predictability by the generator."""
    seed = np.random.SeedSequence([settings.seed, number])
    return seed, np.random.default_rng(seed.spawn(1)[0])


def pool_of(settings: RunSettings, rules: Rules) -> IntArray:
    """The items searched: all, or some drawn by seed, each with all it is connected to."""
    if not 0 < settings.pool < rules.n_items:
        return np.arange(rules.n_items)
    parts = rules.parts()
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(3,)))
    order = rng.permutation(int(parts.max()) + 1)
    sizes = np.bincount(parts)[order].cumsum()
    enough = int(np.searchsorted(sizes, settings.pool)) + 1
    found: IntArray = np.flatnonzero(np.isin(parts, order[:enough]))
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _saved(runs: RunStore, run_id: int, chain: int) -> State | None:
    text = runs.load_checkpoint(run_id, chain)
    return None if text is None else State.loads(text)


class _Booked:
    """What a process used for a run, told to the run's record as it goes on: whoever looks at
    it then, and after a kill, sees what was spent up to the last checkpoint."""

    def __init__(self, runs: RunStore, run_id: int, meter: Meter) -> None:
        self._runs, self._run_id, self._meter = runs, run_id, meter
        self._told = Usage()

    def book(self) -> None:
        """Tell what was used since the last time."""
        now = self._meter.usage
        if now != self._told:
            self._runs.add_usage(self._run_id, asdict(now - self._told))
            self._told = now


def _checkpointed(
    states: Iterator[State],
    runs: RunStore,
    run_id: int,
    chain: int,
    saved: State | None,
    booked: _Booked,
) -> Iterator[State]:
    """Pass states on, saving the newest with the trace up to it now and then and at the end.
    `saved` is the state that they go on from."""
    trace: list[tuple[object, ...]] = []
    before = saved
    newest: State | None = None
    saved_at = -CHECKPOINT_SECONDS

    def save() -> None:
        if newest is not None:
            runs.checkpoint(run_id, chain, newest.dumps(), newest.iteration, trace)
            trace.clear()
            booked.book()

    try:
        for state in states:
            trace.append(trace_row(before, state))
            before = newest = state
            if time.monotonic() - saved_at >= CHECKPOINT_SECONDS:
                save()
                saved_at = time.monotonic()
            yield state
    finally:
        save()


def finish(problem: Problem, state: State) -> Chain:
    """Label what the search left unlabelled, and repair what it left inconsistent.

    Labels the search found stand wherever the constraints allow it: they are given up only
    in a component that is inconsistent.
    """
    scorer, objective, labelling = problem.scorer, problem.objective, state.labelling
    rules = objective.rules
    everything = np.arange(scorer.n_items)
    log_probs = problem.predict(labelling, everything)
    if objective.prior is not None:
        log_probs = with_mean(log_probs, objective.prior)
    scores = log_probs.copy()
    broken = {item for items in rules.violations(labelling.labels) for item in items}
    settled = [i for i in labelling.order.tolist() if i not in broken]
    # So that a settled label only moves where no consistent labelling has it.
    scores[settled, labelling.labels[settled]] += SETTLED
    labels = repair(scores, rules)
    return Chain(
        labels=labels,
        log_odds=log_odds(log_probs, labels),
        objective=state.objective,
        inconsistency=rules.count(labels),
        log_probs=log_probs,
    )
