"""What a policy answers: sampled, and its likeliest answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elicit.align.align_settings import Wording
from elicit.align.loading import causal_model, device, tokeniser, training

AT_ONCE = 64
"""Prompts that are answered at once."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, how many tokens it took, and whether it ended by itself."""

    text: str
    tokens: int
    ended: bool


def sample_answers(
    form: Path,
    adapter: Path | None,
    prompts: Sequence[str],
    count: int,
    wording: Wording,
    *,
    longest: int,
    temperature: float,
    seed: Sequence[int],
    threads: int,
) -> list[list[Answer]]:
    """`count` answers to each prompt, the likeliest token at each place where `temperature`
    is 0.

    Args:
        longest: Tokens of an answer at most, the stop included.
    """
    import torch

    how: dict[str, Any] = {"do_sample": temperature > 0, "num_return_sequences": count}
    if temperature > 0:
        how |= {"temperature": temperature, "top_k": 0, "top_p": 1.0}
    given: list[list[Answer]] = []
    with training(seed, threads):
        words = tokeniser(form, wording.stop)
        model = causal_model(form, adapter)
        for start in range(0, len(prompts), AT_ONCE):
            part = list(prompts[start : start + AT_ONCE])
            batch = words(part, return_tensors="pt", padding=True).to(device())
            with torch.inference_mode():
                out = model.generate(
                    **batch,
                    **how,
                    max_new_tokens=longest,
                    eos_token_id=words.eos_token_id,
                    pad_token_id=words.pad_token_id,
                )
            made = [
                _answer(ids, words, wording)
                for ids in out[:, batch["input_ids"].shape[1] :].tolist()
            ]
            given += [made[i : i + count] for i in range(0, len(made), count)]
    return given


def _answer(ids: list[int], words: Any, wording: Wording) -> Answer:
    ended = words.eos_token_id in ids
    kept = ids[: ids.index(words.eos_token_id)] if ended else ids
    text = wording.answer(words.decode(kept, skip_special_tokens=True))
    return Answer(text, len(kept), ended)
