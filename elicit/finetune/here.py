"""Tuning on this machine from Python: a result's labels in, a model's name out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from elicit.cache.jobs import JobEvent, JobStore
from elicit.finetune.local import form_of, local_job, model_of, tuned_here
from elicit.finetune.of_run import examples_of_run
from elicit.labelling import Result, open_store
from elicit.run import settings_of


def tune(
    result: Result,
    model: str | None = None,
    *,
    cache: str | Path | None = None,
    folder: Path | None = None,
    base: Path | None = None,
    on_event: Callable[[JobEvent], None] = lambda _: None,
    **settings: float | int | str,
) -> str:
    """Tune a local model on the labels of a result by LoRA, and give the tuned one's name.

    Given again it gives the same name, and trains nothing; stopped, it goes on.

    Args:
        result: What `elicit.label` gave.
        model: The model to tune; the one that gave the labels where it is left out.
        cache: The store that keeps the job.
        folder: Where models are kept; beside the store where it is left out.
        base: The model in Hugging Face's form, where it can't be made from its GGUF file.
        on_event: Told of every step.
        settings: Of the tuning, by name: `epochs`, `learning_rate` and so on.

    Raises:
        ElicitError: a package is missing, the model is no local one, or can't be tuned.
    """
    run = result.run
    chosen = model or run.model
    wanted = local_job(chosen, run.name, base, settings)
    writing = settings_of(run).writing_for(form_of(chosen))
    examples = examples_of_run(run, result.task, writing)
    with open_store(cache) as store:
        place = folder or Path(store.path).parent / "tuned"
        return model_of(tuned_here(JobStore(store), wanted, examples, place, on_event))
