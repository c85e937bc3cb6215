"""A reward model: a number for each answer, so that of two answers the better has the larger.

It is the base model with a head and an adapter, trained by TRL on what is preferred over what;
the loss is -log sigmoid(r(preferred) - r(rejected)), Bradley and Terry's. Differences of
rewards are log-odds, in nats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from elicit.align.align_settings import RewardSettings, Wording
from elicit.align.comparisons import Comparison, Preference
from elicit.align.file_errors import clear_file_errors
from elicit.align.loading import device, lora, tokeniser, training
from elicit.align.trl_run import (
    common_arguments,
    drop_checkpoints,
    rounds,
    run,
    whole_checkpoint,
)
from elicit.cache.errors import InputError
from elicit.scorer import FloatArray

ADAPTER = "reward"
AT_ONCE = 64
"""Answers that are read at once."""


def train_reward(
    preferences: Sequence[Preference],
    form: Path,
    out: Path,
    wording: Wording,
    settings: RewardSettings,
    seed: int,
    threads: int,
    told: Callable[[str], None],
) -> dict[str, object]:
    """Train a reward model into the folder `out`; returns figures.

    Args:
        form: The base model in Hugging Face's form.

    Raises:
        InputError: there is nothing to train on.
    """
    if not preferences:
        raise InputError("no comparison has a label: a reward model has nothing to learn from")
    with training((seed, 2), threads) as one:
        from datasets import Dataset
        from trl import RewardConfig, RewardTrainer

        words = tokeniser(form, wording.stop)
        rows = [
            {"chosen_ids": words(good)["input_ids"], "rejected_ids": words(bad)["input_ids"]}
            for good, bad in _texts(preferences, wording)
        ]
        ordered = rounds(rows, settings.epochs * len(rows), one)
        checkpoint = whole_checkpoint(out)
        trainer = RewardTrainer(
            model=_with_head(form, words),
            args=RewardConfig(
                **common_arguments(out, one),
                num_train_epochs=1,
                train_sampling_strategy="sequential",
                per_device_train_batch_size=settings.batch_size,
                learning_rate=settings.learning_rate,
                max_length=None,
                save_steps=100,
            ),
            train_dataset=Dataset.from_list(ordered),
            processing_class=words,
            peft_config=lora(settings.rank, settings.alpha, "SEQ_CLS"),
        )
        steps = -(-len(ordered) // settings.batch_size)
        history = run(trainer, checkpoint, lambda n, _logs: told(f"step {n} of {steps}"))
        trainer.model.save_pretrained(out / ADAPTER)
    _forget_place(out / ADAPTER)
    drop_checkpoints(out)
    return {"preferences": len(preferences), "losses": [row["loss"] for row in history]}


class RewardModel:
    """A trained reward model, while `reward_model` has it open."""

    def __init__(self, model: Any, words: Any, wording: Wording) -> None:
        self._model, self._words, self._wording = model, words, wording

    def rewards(self, prompts: Sequence[str], answers: Sequence[str]) -> FloatArray:
        """(n,), the reward of each answer to its prompt."""
        import torch

        pairs = zip(prompts, answers, strict=True)
        texts = [self._wording.read(prompt, answer) for prompt, answer in pairs]
        # What stands together changes the last bits, so equal texts are read once.
        distinct = sorted(set(texts), key=lambda text: (len(text), text))
        found: dict[str, float] = {}
        for start in range(0, len(distinct), AT_ONCE):
            part = distinct[start : start + AT_ONCE]
            batch = self._words(part, return_tensors="pt", padding=True, padding_side="right")
            with torch.inference_mode():
                logits = self._model(**batch.to(device())).logits[:, 0]
            found.update(zip(part, logits.double().tolist(), strict=True))
        return np.array([found[text] for text in texts])

    def compare(self, comparisons: Sequence[Comparison]) -> tuple[FloatArray, FloatArray]:
        """The rewards of the first and of the second answers, each (n,)."""
        prompts = [c.prompt for c in comparisons]
        both = self.rewards(
            [*prompts, *prompts],
            [*(c.first for c in comparisons), *(c.second for c in comparisons)],
        )
        return both[: len(prompts)], both[len(prompts) :]


@contextmanager
def reward_model(
    form: Path, folder: Path, wording: Wording, threads: int
) -> Iterator[RewardModel]:
    """Open what `train_reward` made in a folder.

    Raises:
        InputError: its files can't be read.
    """
    from peft import PeftModel

    with training((0,), threads):
        with clear_file_errors(folder):
            words = tokeniser(form, wording.stop)
            model = PeftModel.from_pretrained(_with_head(form, words), folder / ADAPTER)
        yield RewardModel(model.to(device()).eval(), words, wording)


def _texts(preferences: Sequence[Preference], wording: Wording) -> Iterator[tuple[str, str]]:
    for p in preferences:
        yield wording.read(p.prompt, p.preferred), wording.read(p.prompt, p.rejected)


def _with_head(form: Path, words: Any) -> Any:
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(
        form, num_labels=1, dtype=torch.float32, local_files_only=True
    )
    model.config.pad_token_id = words.pad_token_id
    return model


def _forget_place(adapter: Path) -> None:
    """Where the model lay on this machine means nothing on another."""
    path = adapter / "adapter_config.json"
    told = json.loads(path.read_text("utf-8")) | {"base_model_name_or_path": None}
    path.write_text(json.dumps(told, indent=1, sort_keys=True), "utf-8")
