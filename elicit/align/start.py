"""The policy before it is aligned: the base model, tuned to what a corpus says or as it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from elicit.align.align_settings import Wording
from elicit.cache.errors import InputError
from elicit.finetune.examples import Example
from elicit.finetune.lora import train
from elicit.finetune.lora_settings import LoraSettings
from elicit.finetune.merged import GGUF, merged
from elicit.providers.base import Segment


@dataclass(frozen=True, slots=True)
class Model:
    """One model in both forms: for llama.cpp, and the folder of Hugging Face's loaders."""

    gguf: Path
    form: Path


_TUNED, _MERGED = "tuned", "merged"


def train_start(
    said: Mapping[str, Sequence[str]],
    base: Model,
    out: Path,
    wording: Wording,
    settings: LoraSettings,
    told: Callable[[str], None],
) -> dict[str, object]:
    """Tune the base model to give what is said to each prompt, into the folder `out`.

    Raises:
        InputError: see `check_stop`.
    """
    check_stop(said, wording)
    examples = [
        Example(f"{prompt} {number}", (Segment.of(prompt),), wording.written(answer))
        for prompt, answers in said.items()
        for number, answer in enumerate(answers)
    ]
    tuned = train(
        examples,
        base.gguf,
        base.form,
        out / _TUNED,
        settings,
        lambda step: told(f"step {step.step} of {step.steps}"),
    )
    shutil.rmtree(out / _MERGED, ignore_errors=True)
    merged(out / _TUNED, base.gguf, base.form, out / _MERGED)
    return {"examples": len(examples), "losses": list(tuned.took.losses)}


def check_stop(said: Mapping[str, Sequence[str]], wording: Wording) -> None:
    """Raises:
    InputError: something is said, and nothing ends it.
    """
    if said and not wording.stop:
        raise InputError(
            "setting wording.stop: is empty, and a starting policy that is tuned on a corpus "
            "has to learn where an answer ends; name a token that ends one"
        )


def started(folder: Path) -> Model:
    """What `train_start` made in a folder."""
    return Model(folder / _MERGED / GGUF, folder / _MERGED)
