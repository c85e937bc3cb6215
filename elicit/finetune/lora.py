"""Local LoRA: a model tuned on examples, and made an adapter that llama.cpp loads.

The loss of an example is -log P(label | prompt) in nats, the number that scoring gives, on
the tokens that scoring sees: what is trained is what is measured.

Needs the extra `lora`: torch, transformers, peft, gguf.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elicit.cache.errors import InputError
from elicit.cache.keys import json_digest
from elicit.finetune.adapter import write_adapter
from elicit.finetune.examples import Example, digest_of
from elicit.finetune.huggingface_form import architecture
from elicit.finetune.label_tokens import LabelTokens, label_tokens
from elicit.finetune.lora_settings import LoraSettings
from elicit.finetune.lora_trainer import Figures, Step, Trainer
from elicit.finetune.model_card import model_card
from elicit.finetune.parity import by_llama_cpp
from elicit.providers.base import ModelError
from elicit.providers.llama_cpp.content_hash import content_hash
from elicit.providers.llama_cpp.settings import LlamaSettings
from elicit.whole_file import write_whole

ADAPTER, PEFT, FIGURES, CARD = "adapter.gguf", "peft", "figures.json", "README.md"
CHECKED = 16
"""Examples on which llama.cpp with the adapter is held against what was trained."""
ALLOWED_GAP = 1.0
"""Nats. A float32 model is within some thousandths; what quantisation and bfloat16 do stays
under this, and an adapter that is applied otherwise than it was trained mostly does not."""
_CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True)
class Tuned:
    """A finished job: a GGUF adapter, and beside it `peft/` (the same for PEFT), `README.md`
    and `figures.json`."""

    adapter: Path
    took: Figures

    def figures(self) -> dict[str, Any]:
        """What it took, as JSON can have it."""
        return {**asdict(self.took), "losses": list(self.took.losses)}


def train(
    examples: Sequence[Example],
    base_gguf: Path,
    hf_folder: Path,
    out_folder: Path,
    settings: LoraSettings | None = None,
    on_progress: Callable[[Step], None] | None = None,
    *,
    reading: LlamaSettings | None = None,
) -> Tuned:
    """Tune a model on examples, or take up or tell what came of the same job before.

    Args:
        base_gguf: The model that is scored; its vocabulary makes the tokens.
        hf_folder: The same model in Hugging Face's form (`huggingface_form`).
        out_folder: The job's own folder, made where it is missing.
        reading: How the model is scored: in a chat or not. Where None, as the examples are
            written.

    Raises:
        InputError: the folder is of another job; an example is too long; a loss that is no
            number, which names the setting.
        ModelError: not a model that can be tuned here, or its tokens can't tell labels apart.
    """
    chosen = settings or LoraSettings()
    architecture(base_gguf)
    job = _job(examples, base_gguf, chosen, reading)
    done = _finished(out_folder, job)
    if done is not None:
        return done
    out_folder.mkdir(parents=True, exist_ok=True)
    chat = bool(examples[0].prompt[0].role)
    rows = label_tokens(examples, base_gguf, reading or _as_written(chat))
    with Trainer(rows, hf_folder, out_folder / _CHECKPOINT, job, chosen) as trainer:
        with closing(trainer.steps()) as steps:
            for step in steps:
                if on_progress is not None:
                    on_progress(step)
        trainer.save_adapter(out_folder / PEFT)
        adapter = write_adapter(out_folder / PEFT, base_gguf, out_folder / ADAPTER)
        some = rows[:: max(1, len(rows) // CHECKED)][:CHECKED]
        gap = _gap(trainer.log_probs(some), base_gguf, adapter, some)
        tuned = Tuned(adapter, replace(trainer.figures(), gap=gap))
    told = {
        "base": content_hash(base_gguf),
        "data": digest_of(examples),
        "settings": asdict(chosen),
        "figures": tuned.figures(),
    }
    files = {ADAPTER: "the adapter for llama.cpp", f"{PEFT}/": "the same for PEFT"}
    card = model_card(base_gguf, told, files)
    (out_folder / CARD).write_text(card, "utf-8")
    shutil.copyfile(out_folder / CARD, out_folder / PEFT / CARD)
    write_whole(out_folder / FIGURES, json.dumps({"job": job, **told}, indent=1).encode())
    (out_folder / _CHECKPOINT).unlink(missing_ok=True)
    return tuned


def _gap(
    trained: NDArray[np.float64], base: Path, adapter: Path, rows: Sequence[LabelTokens]
) -> float:
    gap = float(np.abs(by_llama_cpp(base, adapter, rows) - trained).max())
    if not gap <= ALLOWED_GAP:
        raise ModelError(
            f"{adapter}: with it llama.cpp's log-probabilities differ from those trained by "
            f"{gap:.2f} nats, so it is not used; tune {base} on a model file that is less "
            "quantised"
        )
    return gap


def _as_written(chat: bool) -> LlamaSettings:
    return LlamaSettings(chat="on") if chat else LlamaSettings()


def _job(
    examples: Sequence[Example],
    base: Path,
    settings: LoraSettings,
    reading: LlamaSettings | None,
) -> str:
    """Names all that the result depends on."""
    decides = {
        "examples": digest_of(examples),
        "base": content_hash(base),
        "settings": settings.decides(),
        "reading": None if reading is None else [reading.chat, reading.system],
    }
    return json_digest(decides)


def _finished(folder: Path, job: str) -> Tuned | None:
    path = folder / FIGURES
    if not path.exists():
        return None
    told = json.loads(path.read_text("utf-8"))
    if told["job"] != job:
        raise InputError(f"{folder}: holds what another job made; choose another folder")
    figures = {**told["figures"], "losses": tuple(told["figures"]["losses"])}
    return Tuned(folder / ADAPTER, Figures(**figures))
