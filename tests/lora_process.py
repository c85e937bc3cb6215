"""A tuning job in a process of its own, that tells its steps and can be killed at any.

What it imports takes seconds: a server of processes imports it once, and forks.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from elicit.finetune.examples import Example, examples_of
from elicit.finetune.lora import train
from elicit.finetune.lora_settings import LoraSettings
from elicit.gold import load_gold
from elicit.organism import model_path, tasks_path
from elicit.task_file import load_task

Settings = Mapping[str, float | int | str]
_ONCE = ["peft", "transformers.models.llama.modeling_llama", "elicit.finetune.lora"]


def gold_examples(task: str, first: int) -> tuple[Example, ...]:
    """The first items of an embedded task with their true labels."""
    path = tasks_path() / f"{task}.toml"
    ids = [item.id for item in load_task(path).items]
    gold = load_gold(path, ids)
    assert gold is not None
    return examples_of(
        load_task(path).render("text"), ids, np.where(np.arange(len(ids)) < first, gold, -1)
    )


def steps_until(out: Path, form: Path, settings: Settings, kill_at: int | None) -> list[int]:
    """Run a job, killed once it tells the step `kill_at`; the steps that it told."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_ONCE)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_job, args=(theirs, out, form, settings))
    process.start()
    theirs.close()
    steps: list[int] = []
    try:
        while kill_at is None or kill_at not in steps:
            assert ours.poll(60), "the job says nothing"
            steps.append(ours.recv())
    except EOFError:
        assert kill_at is None, f"it ended before step {kill_at}"
    finally:
        if kill_at is not None:
            process.kill()
        process.join(60)
        ours.close()
    assert process.exitcode == (0 if kill_at is None else -9)
    return steps


def _job(told: Connection, out: Path, form: Path, settings: Settings) -> None:
    train(
        gold_examples("claims", 48),
        model_path(),
        form,
        out,
        LoraSettings.parse(settings),
        lambda step: told.send(step.step),
    )
