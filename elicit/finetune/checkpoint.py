"""Where a tuning job is: one file, that is the last whole one whenever the process ends."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from elicit.cache.errors import InputError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A job after `len(losses)` steps."""

    job: str
    """The digest of all that its result depends on."""
    losses: tuple[float, ...]
    seconds: float
    """Spent until then."""
    threads: int
    """That torch shared sums out to, which the last bits depend on."""
    tensors: Mapping[str, torch.Tensor]
    """The weights that are trained and the optimiser's state."""


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Put it in the last one's place, in one step."""
    from safetensors.torch import save_file

    told = {
        "job": checkpoint.job,
        "losses": checkpoint.losses,
        "seconds": checkpoint.seconds,
        "threads": checkpoint.threads,
    }
    partial = path.with_name(f".{path.name}.partial")
    tensors = {name: t.cpu().contiguous() for name, t in checkpoint.tensors.items()}
    save_file(tensors, partial, metadata={"checkpoint": json.dumps(told)})
    os.replace(partial, path)


def read_checkpoint(path: Path, job: str) -> Checkpoint | None:
    """The last one of the job; None where there is none.

    Raises:
        InputError: the file is of another job.
    """
    from safetensors import safe_open

    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        told = json.loads(file.metadata()["checkpoint"])
        if told["job"] != job:
            raise InputError(
                f"{path}: is of another job, by its examples, its model or its settings; "
                "choose another folder, or remove the file to begin anew"
            )
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    return Checkpoint(job, tuple(told["losses"]), told["seconds"], told["threads"], tensors)
