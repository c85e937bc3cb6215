"""A policy optimised against a reward: TRL's RLOO, with a penalty for leaving the start.

Of several sampled answers to one prompt each is measured against the mean reward of the
others (Ahmadian et al., arXiv 2402.14740), and made likelier or less so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from elicit.align.align_settings import PolicySettings, Wording
from elicit.align.loading import causal_model, lora, tokeniser, training
from elicit.align.stages import read_written, write_rows
from elicit.align.start import Model
from elicit.align.trl_run import (
    common_arguments,
    drop_checkpoints,
    rounds,
    run,
    step_of,
    whole_checkpoint,
)
from elicit.finetune.adapter import write_adapter
from elicit.scorer import FloatArray

PEFT, ADAPTER = "peft", "adapter.gguf"
CURVE, SAMPLES = "curve.jsonl", "samples.jsonl"
Reward = Callable[[Sequence[str], Sequence[str]], FloatArray]
"""(prompts, answers) → (n,) rewards."""


def train_policy(
    prompts: Sequence[str],
    reward: Reward,
    start: Model,
    out: Path,
    wording: Wording,
    settings: PolicySettings,
    seed: int,
    threads: int,
    told: Callable[[str], None],
) -> dict[str, object]:
    """Optimise a policy into the folder `out`, from a checkpoint where there is one.

    It writes the adapter as PEFT has it and for llama.cpp, on the weights of `start`; the
    curve, and every sampled answer with its reward. Returns figures.
    """
    checkpoint = whole_checkpoint(out)
    asked = _Asked(reward, wording, out / SAMPLES, step_of(checkpoint))
    needed = settings.steps * settings.batch_size // settings.group
    with training((seed, 3), threads) as one:
        from datasets import Dataset
        from trl import RLOOConfig, RLOOTrainer

        trainer = RLOOTrainer(
            model=causal_model(start.form),
            reward_funcs=[asked.reward],
            args=RLOOConfig(
                **common_arguments(out, one),
                max_steps=settings.steps,
                per_device_train_batch_size=settings.batch_size,
                num_generations=settings.group,
                learning_rate=settings.learning_rate,
                beta=settings.kl,
                temperature=settings.temperature,
                max_completion_length=settings.longest,
                shuffle_dataset=False,
                save_steps=settings.checkpoint_steps,
            ),
            train_dataset=Dataset.from_dict({"prompt": rounds(prompts, needed, one)}),
            processing_class=tokeniser(start.form, wording.stop),
            peft_config=lora(settings.rank, settings.alpha, "CAUSAL_LM"),
        )

        def on_log(step: int, logs: dict[str, float]) -> None:
            told(f"step {step} of {settings.steps}, reward {logs['reward']:.3f}")

        history = run(trainer, checkpoint, on_log)
        trainer.model.save_pretrained(out / PEFT)
    write_rows(out / CURVE, curve := [_point(row) for row in history])
    write_adapter(out / PEFT, start.gguf, out / ADAPTER)
    drop_checkpoints(out)
    return {"steps": len(curve), "first": curve[0], "last": curve[-1]}


class _Asked:
    """The reward as TRL asks for it, once a step; keeps what was asked."""

    def __init__(self, reward: Reward, wording: Wording, path: Path, step: int) -> None:
        self._reward, self._wording, self._path, self._step = reward, wording, path, step
        # What a process wrote after the checkpoint that is gone on from is made again.
        kept = read_written(path) if path.exists() and step else []
        write_rows(path, [row for row in kept if row["step"] <= step])

    def reward(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
        **_rest: object,
    ) -> list[float]:
        answers = [self._wording.answer(text) for text in completions]
        rewards: list[float] = self._reward(prompts, answers).tolist()
        self._step += 1
        rows = [
            {"step": self._step, "prompt": p, "answer": a, "tokens": len(ids), "reward": r}
            for p, a, ids, r in zip(prompts, answers, completion_ids, rewards, strict=True)
        ]
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(row)}\n" for row in rows)
        return rewards


def _point(row: dict[str, float]) -> dict[str, float]:
    """One step of the curve: mean reward without the penalty, KL to the start in nats a token,
    tokens of an answer, share that was cut, entropy in nats a token."""
    names = {
        "step": "step",
        "reward": "reward",
        "kl": "kl",
        "tokens": "completions/mean_length",
        "cut": "completions/clipped_ratio",
        "entropy": "entropy",
    }
    return {name: row[column] for name, column in names.items()}
