"""The steps of a local tuning job: LoRA by AdamW, the loss on the label's tokens alone.

Whatever is random in a step follows from the seed and the step's number. So a job that is
killed and taken up again does the same steps, and on a CPU makes the same bytes.
"""

from __future__ import annotations

import json
import math
import resource
import shutil
import sys
import time
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from elicit.cache.errors import InputError
from elicit.finetune.adapter import PEFT_CONFIG
from elicit.finetune.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from elicit.finetune.label_tokens import LabelTokens
from elicit.finetune.lora_settings import LoraSettings
from elicit.finetune.parity import by_torch, label_losses
from elicit.providers.llama_cpp.settings import available_cores

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Step:
    """A step that is done: its number from 1, of how many, and the mean over its examples of
    -log P(label | prompt), nats, before it."""

    step: int
    steps: int
    loss: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What a job took and how it went."""

    examples: int
    steps: int
    tokens: int
    """Tokens of all examples in all epochs, without padding."""
    losses: tuple[float, ...]
    """Of each step, as in `Step`."""
    seconds: float
    """Of all processes that worked on it, loading left out."""
    peak_memory: int
    """Of the last process, bytes: the most that it held in main memory at once."""
    peak_gpu_memory: int
    """The most that torch held on the GPU at once, bytes; 0 without one."""
    device: str
    gap: float = math.nan
    """The most that log P(label | prompt) with the adapter differs between torch and
    llama.cpp, nats, over up to `CHECKED` of the examples."""


def batches(n: int, settings: LoraSettings) -> Iterator[list[int]]:
    """The examples of each step. In each epoch every example comes once, in an order that
    follows from the seed; the last batch of an epoch may be smaller."""
    for epoch in range(settings.epochs):
        order = np.random.default_rng((settings.seed, epoch)).permutation(n).tolist()
        for start in range(0, n, settings.batch_size):
            yield order[start : start + settings.batch_size]


class Trainer:
    """The model, its optimiser and where they are; entered once, in one thread."""

    def __init__(
        self,
        rows: Sequence[LabelTokens],
        hf_folder: Path,
        checkpoint: Path,
        job: str,
        settings: LoraSettings,
    ) -> None:
        import torch

        self._torch = torch
        self._rows = rows
        self._settings = settings
        self._path = checkpoint
        self._job = job
        self._batches = list(batches(len(rows), settings))
        self._of = len(self._batches)
        self._found = read_checkpoint(checkpoint, job)
        self._losses = [] if self._found is None else list(self._found.losses)
        self._spent = 0.0 if self._found is None else self._found.seconds
        self._threads = available_cores() if self._found is None else self._found.threads
        self._hf_folder = hf_folder
        self._device = "cuda" if torch.cuda.is_available() else "cpu"

    def __enter__(self) -> Trainer:
        torch = self._torch
        self._threads_before = torch.get_num_threads()
        # Sums are split over threads, so another number of them would change the last bits.
        torch.set_num_threads(self._threads)
        with _seeded(self._settings.seed):
            self._model = _with_adapter(self._hf_folder, self._device, self._settings)
        self._trained = {
            name: p for name, p in self._model.named_parameters() if p.requires_grad
        }
        self._optimiser = torch.optim.AdamW(
            self._trained.values(), lr=0.0, weight_decay=self._settings.weight_decay
        )
        if self._found is not None:
            self._restore(self._found)
        self._began = time.monotonic()
        return self

    def __exit__(self, *_error: object) -> None:
        self._torch.set_num_threads(self._threads_before)

    def steps(self) -> Generator[Step, None, None]:
        """Do what is left to do; tells of each step that is done."""
        saved = time.monotonic()
        for step in range(len(self._losses), self._of):
            self._losses.append(self._step(step))
            if time.monotonic() - saved >= self._settings.checkpoint_seconds:
                self._save()
                saved = time.monotonic()
            try:
                yield Step(step + 1, self._of, self._losses[-1])
            except GeneratorExit:
                # Whoever leaves between two steps loses none.
                self._save()
                raise

    def save_adapter(self, folder: Path) -> None:
        """Write the adapter as PEFT has it."""
        shutil.rmtree(folder, ignore_errors=True)
        self._model.save_pretrained(folder)
        # Where the model lay on this machine means nothing on another, and a set has no order.
        config = json.loads((folder / PEFT_CONFIG).read_text("utf-8"))
        config["base_model_name_or_path"] = None
        config["target_modules"] = sorted(config["target_modules"])
        (folder / PEFT_CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True), "utf-8")

    def log_probs(self, rows: Sequence[LabelTokens]) -> NDArray[np.float64]:
        """log P(label | prompt) of each row as the model is now, nats."""
        return by_torch(self._model.get_base_model(), rows)

    def figures(self) -> Figures:
        """What the job took up to now."""
        on_gpu = self._device == "cuda"
        torch = self._torch
        return Figures(
            examples=len(self._rows),
            steps=len(self._losses),
            tokens=sum(len(row.ids) for row in self._rows) * self._settings.epochs,
            losses=tuple(self._losses),
            seconds=self._seconds(),
            peak_memory=_peak_memory(),
            peak_gpu_memory=int(torch.cuda.max_memory_allocated()) if on_gpu else 0,
            device=str(torch.cuda.get_device_name()) if on_gpu else "cpu",
        )

    def _step(self, step: int) -> float:
        torch, settings = self._torch, self._settings
        members = [self._rows[i] for i in self._batches[step]]
        total = 0.0
        with _seeded(settings.seed, step):
            for part in parts(members, settings.forward_tokens):
                model = self._model.get_base_model()
                loss = label_losses(model, part).sum() / len(members)
                loss.backward()
                total += float(loss.detach())
        norm = torch.nn.utils.clip_grad_norm_(self._trained.values(), settings.gradient_norm)
        if not (np.isfinite(total) and bool(torch.isfinite(norm))):
            raise InputError(
                f"local tuning: step {step + 1} has a loss or gradient that is no number; "
                f"choose a learning_rate below {settings.learning_rate:g}"
            )
        for group in self._optimiser.param_groups:
            group["lr"] = settings.rate(step, self._of)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return total

    def _seconds(self) -> float:
        return self._spent + time.monotonic() - self._began

    def _save(self) -> None:
        tensors = {f"weight {name}": p.detach() for name, p in self._trained.items()}
        for name, parameter in self._trained.items():
            for kind, value in self._optimiser.state[parameter].items():
                tensors[f"{kind} {name}"] = value
        found = Checkpoint(
            self._job, tuple(self._losses), self._seconds(), self._threads, tensors
        )
        write_checkpoint(self._path, found)

    def _restore(self, found: Checkpoint) -> None:
        torch = self._torch
        with torch.no_grad():
            for name, parameter in self._trained.items():
                parameter.copy_(found.tensors[f"weight {name}"])
                self._optimiser.state[parameter] = {
                    kind: found.tensors[f"{kind} {name}"].to(
                        "cpu" if kind == "step" else self._device
                    )
                    for kind in ("step", "exp_avg", "exp_avg_sq")
                }


def parts(rows: Sequence[LabelTokens], tokens: int) -> Iterator[Sequence[LabelTokens]]:
    """Neighbours that go through the model at once: no more than `tokens` with padding, but
    one at least."""
    start, longest = 0, 0
    for end, row in enumerate(rows):
        length = max(longest, len(row.ids))
        if end > start and length * (end + 1 - start) > tokens:
            yield rows[start:end]
            start, length = end, len(row.ids)
        longest = length
    yield rows[start:]


def _with_adapter(folder: Path, device: str, settings: LoraSettings) -> torch.nn.Module:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=sorted(f"{name}_proj" for name in settings.matrices),
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        # What peft asks of transformers by a name that will go.
        warnings.simplefilter("ignore", FutureWarning)
        adapted = get_peft_model(model.to(device), config)
    adapted.train()
    return adapted


@contextmanager
def _seeded(*seeds: int) -> Iterator[None]:
    """torch's random numbers follow from the seeds, and are as before afterwards."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1)[0]))
        yield


def _peak_memory() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
