"""How a GGUF model is run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from elicit.cache.errors import InputError
from elicit.providers.model_settings import parse_settings


def available_cores() -> int:
    """Cores this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def has_amx() -> bool:
    """Whether the processor multiplies tiles of integers (Intel's AMX).

    llama.cpp's code for it ends the process on a quantised model, depending on the compiler:
    the tile's configuration is lost (https://github.com/ggml-org/llama.cpp/pull/26954). The
    one way past it is to have no weights of such a model repacked at all, which is slower.
    """
    try:
        return " amx_int8" in Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class LlamaSettings:
    """All settings of a local model. Those that can change a score's bits are in its
    identity; threads are not, as they share out rows and never split a sum, and neither are
    trunks and workers."""

    n_ctx: int = 0
    """Longest prompt in tokens; 0 is what the model was trained for. Memory grows with what
    is asked, not with this."""
    chunk: int = 128
    """Tokens of demonstrations decoded at once; what a changed demonstration re-decodes at
    least."""
    branch_tokens: int = 1024
    """Tokens of items decoded in one unit, at most (a longer single item is its own unit)."""
    sequences: int = 128
    """Items, or paths through multi-token labels, in one unit; llama.cpp allows 255."""
    trunks: int = 2
    """Blocks of demonstrations kept decoded between calls, each with memory of its own."""
    threads: int = 0
    """0 stands for the cores this process may use, or a worker's share of them."""
    workers: int = 1
    """Processes that hold the model, run by Ray; 1 is this process, without Ray."""
    flash_attention: bool = True
    kv_type: Literal["f16", "f32", "q8_0"] = "f16"
    gpu_layers: int = 0
    mode: Literal["shared", "single"] = "shared"
    """`single` puts one item in a unit: a score then depends on its prompt alone."""
    chat: Literal["off", "on"] = "off"
    """`on` asks in a chat, written by the template that the file has."""
    system: Literal["own", "user"] = "own"
    """In a chat: the instruction is a system message of its own, or, for a template that
    takes none, the beginning of the first user message."""

    def __post_init__(self) -> None:
        for name in ("n_ctx", "threads", "gpu_layers"):
            if getattr(self, name) < 0:
                raise InputError(f"model setting {name}: must not be negative")
        if self.workers < 1:
            raise InputError("model setting workers: must be at least 1")
        for name in ("chunk", "branch_tokens"):
            if getattr(self, name) < 2:
                raise InputError(f"model setting {name}: must be at least 2")
        if self.trunks < 1:
            raise InputError("model setting trunks: must be at least 1")
        if not 1 <= self.sequences <= 255:
            raise InputError("model setting sequences: must be from 1 to 255")
        if self.sequences >= max(self.chunk, self.branch_tokens):
            # llama.cpp ends the process where a batch can't hold a token of each sequence.
            raise InputError(
                f"model setting sequences: {self.sequences} must be below branch_tokens or "
                f"chunk, the larger of which is {max(self.chunk, self.branch_tokens)}"
            )
        if self.system != "own" and self.chat == "off":
            raise InputError("model setting system: is of a chat; add chat=on")

    @staticmethod
    def parse(text: str) -> LlamaSettings:
        """Settings as a model's name has them: `threads=4&n_ctx=8192`.

        Raises:
            InputError: names the setting that is unknown or unusable.
        """
        return parse_settings(LlamaSettings, text)

    def identity(self) -> dict[str, str | int | float | bool | None]:
        """What of these can change the last bits of a score, or more."""
        chat = {"chat": "on", "system": self.system} if self.chat == "on" else {}
        return {
            **chat,
            "chunk": self.chunk,
            "branch_tokens": self.branch_tokens if self.mode == "shared" else 0,
            "sequences": self.sequences if self.mode == "shared" else 1,
            "flash_attention": self.flash_attention,
            "kv_type": self.kv_type,
            "gpu_layers": self.gpu_layers,
            "mode": self.mode,
        }
