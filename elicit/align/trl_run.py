"""What both trainers of TRL are given alike: quiet, checkpoints, taken up where one is left."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from elicit.align.loading import device

CHECKPOINTS = "checkpoints"
_LEAVING = ".checkpoints-leaving"
_PARTS = ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth")
"""What a trainer needs, beside its own state, to go on as if it had not stopped."""
T = TypeVar("T")


def common_arguments(folder: Path, seed: int) -> dict[str, Any]:
    """Arguments of a trainer whose checkpoints are in `folder`."""
    return {
        "output_dir": str(folder / CHECKPOINTS),
        "seed": seed,
        "use_cpu": device() == "cpu",
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": [],
        "disable_tqdm": True,
        "logging_steps": 1,
        "save_strategy": "steps",
        # The one before stays until the newest is whole.
        "save_total_limit": 1,
    }


def rounds(rows: Sequence[T], count: int, seed: int) -> list[T]:
    """`count` rows: all of them in an order drawn by the seed, then all in another, and so on.

    A trainer is given them as one epoch in this order. In one of several epochs it would, when
    taken up from a checkpoint, draw the order of a later epoch anew.
    """
    made: list[T] = []
    for number in range(-(-count // len(rows))):
        order = np.random.default_rng((seed, number)).permutation(len(rows)).tolist()
        made += [rows[i] for i in order]
    return made[:count]


def whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole; None where there is none."""
    found = sorted(
        (folder / CHECKPOINTS).glob("checkpoint-*"), key=lambda p: -int(p.name.split("-")[1])
    )
    return next((path for path in found if _is_whole(path)), None)


def drop_checkpoints(folder: Path) -> None:
    """Remove the checkpoints: none is left to be found from the moment that any file of them
    goes."""
    shutil.rmtree(folder / _LEAVING, ignore_errors=True)
    if (folder / CHECKPOINTS).exists():
        os.rename(folder / CHECKPOINTS, folder / _LEAVING)
        shutil.rmtree(folder / _LEAVING)


def step_of(checkpoint: Path | None) -> int:
    """Steps that are done there."""
    return 0 if checkpoint is None else int(checkpoint.name.split("-")[1])


def run(
    trainer: Any, checkpoint: Path | None, on_log: Callable[[int, dict[str, float]], None]
) -> list[dict[str, float]]:
    """Train to the end; returns what was logged of each step, those before it was taken up
    among them. `on_log` is told of each new step, once."""
    from transformers import PrinterCallback, TrainerCallback

    class Telling(TrainerCallback):  # type: ignore[misc]  # transformers is not type-checked
        def on_log(
            self, _args: Any, state: Any, _control: Any, logs: Any = None, **_rest: Any
        ) -> None:
            # At the end a summary is logged too, under the number of the last step.
            if logs is not None and "loss" in logs:
                on_log(int(state.global_step), dict(logs))

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Telling())
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    history: list[dict[str, float]] = trainer.state.log_history
    return [row for row in history if "loss" in row]


def _is_whole(checkpoint: Path) -> bool:
    if not all((checkpoint / part).exists() for part in _PARTS):
        return False
    # Written last.
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return bool(state["global_step"] == step_of(checkpoint))
