"""A small alignment of the embedded model, also as a process of its own that can be killed:
`python align_process.py FOLDER` tells each event on a line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from elicit.align.align_settings import AlignSettings, PolicySettings, RewardSettings
from elicit.align.pipeline import Alignment, align
from elicit.align.questions import Questions, read_questions
from elicit.align.stages import StageEvent
from elicit.align.start import Model
from elicit.finetune.huggingface_form import huggingface_form
from elicit.finetune.lora_settings import LoraSettings
from elicit.organism import model_path, tasks_path
from elicit.scorer import IntArray
from elicit.task import Task
from elicit.task_file import load_task

SETTINGS = AlignSettings(
    seed=3,
    sampled=3,
    offered=1,
    judged=2,
    start=LoraSettings(rank=4, alpha=8.0, batch_size=32, epochs=1),
    reward=RewardSettings(epochs=2),
    policy=PolicySettings(steps=6, batch_size=32, longest=3, checkpoint_steps=2),
)


def task() -> Task:
    """Every embedded comparison."""
    return load_task(tasks_path() / "preferences.toml")


def questions(of: Task) -> Questions:
    """The questions of these comparisons, and 40 others."""
    every = read_questions(tasks_path() / "preferences.questions.jsonl")
    asked = {str(item.fields["question"]) for item in of.items}
    others = [prompt for prompt in every.prompts if prompt not in asked][:40]
    prompts = tuple(p for p in every.prompts if p in asked or p in others)
    return Questions(prompts, every.said, every.known, every.kinds)


def base(folder: Path) -> Model:
    """The embedded model in both forms."""
    return Model(model_path(), huggingface_form(model_path(), folder))


def aligned(
    folder: Path,
    others: dict[str, IntArray] | None = None,
    on_event: Callable[[StageEvent], None] = lambda _: None,
    *,
    known: bool = True,
) -> Alignment:
    """The alignment in a folder."""
    loaded = task()
    asked = questions(loaded)
    if not known:
        asked = Questions(asked.prompts, asked.said, kinds=asked.kinds)
    return align(
        folder,
        base(folder.parent / "forms"),
        loaded,
        asked,
        others or {},
        SETTINGS,
        model="tiny",
        cache=folder.parent / "scores.db",
        on_event=on_event,
    )


def result(done: Alignment) -> dict[str, bytes | list[int]]:
    """All that came of it, but for the time that it took."""
    made: dict[str, bytes | list[int]] = {"labels": np.asarray(done.elicited).tolist()}
    for name, one in done.by.items():
        for stage in (one.first_reward, one.reward, one.policy, one.answers):
            for path in stage.record.outputs:
                # PEFT's card tells of versions; the rest is the result.
                if path.endswith((".jsonl", ".safetensors", ".gguf")):
                    made[f"{name} {stage.record.stage} {path}"] = (
                        stage.folder / path
                    ).read_bytes()
    return made


def main() -> None:
    """Align in the folder that is named."""

    def tell(event: StageEvent) -> None:
        print(f"{event.stage}: {event.message}", flush=True)  # noqa: T201  # its parent reads it

    aligned(Path(sys.argv[1]), on_event=tell)


if __name__ == "__main__":
    main()
