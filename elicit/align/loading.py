"""Models and tokenisers for training and sampling, and the state around them: quiet, seeded."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elicit.align.align_settings import MATRICES
from elicit.cache.errors import InputError

if TYPE_CHECKING:
    import torch


@contextmanager
def training(seed: Sequence[int], threads: int) -> Iterator[int]:
    """A stretch of work with models: random numbers follow from the seed, and are as before
    afterwards; no progress bars, no notices of what will change in a library, and no library
    tells its makers of the work. Gives the seed as one number.
    """
    import torch
    from huggingface_hub import constants
    from transformers.utils import logging

    one = int(np.random.SeedSequence(tuple(seed)).generate_state(1)[0])
    kept = random.getstate(), np.random.get_state(), torch.get_num_threads()
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    tells, constants.HF_HUB_DISABLE_TELEMETRY = constants.HF_HUB_DISABLE_TELEMETRY, True
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            for kind in (FutureWarning, DeprecationWarning, UserWarning):
                warnings.simplefilter("ignore", kind)
            torch.manual_seed(one)
            yield one
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
        torch.set_num_threads(kept[2])
        constants.HF_HUB_DISABLE_TELEMETRY = tells
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def tokeniser(form: Path, stop: str) -> Any:
    """The tokeniser of a model, with the stop as its end of text, padding on the left.

    Raises:
        InputError: the stop is not one token of this model.
    """
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(form, local_files_only=True, padding_side="left")
    own = found.eos_token
    if stop:
        ids = found(stop, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise InputError(
                f"setting wording.stop: {stop!r} is {len(ids)} tokens of this model; it must "
                "be one, or empty for the model's own end of text"
            )
        found.eos_token = found.convert_ids_to_tokens(ids[0])
    if found.pad_token is None:
        found.pad_token = own or found.eos_token
    return found


def causal_model(form: Path, adapter: Path | None = None) -> Any:
    """A language model in float32, with an adapter of PEFT where there is one."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(form, dtype=_float32(), local_files_only=True)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    return model.to(device()).eval()


def lora(rank: int, alpha: float, task: str) -> Any:
    """PEFT's settings of an adapter. A reward model's head is trained as a whole."""
    from peft import LoraConfig

    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=list(MATRICES),
        task_type=task,
        modules_to_save=["score"] if task == "SEQ_CLS" else None,
    )


def device() -> str:
    """Where models are."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _float32() -> torch.dtype:
    import torch

    return torch.float32
