"""What llama.cpp complains of: its last words are kept for our errors, off stderr."""

from __future__ import annotations

import ctypes

import llama_cpp as c

_ERROR_LEVELS = (3, 4)  # ggml's warning and error
complaints: list[str] = []
"""The last lines; whoever begins something clears them."""


@c.llama_log_callback  # type: ignore[untyped-decorator]  # a ctypes function type
def _keep(level: int, text: bytes, _data: ctypes.c_void_p) -> None:
    if level in _ERROR_LEVELS:
        complaints.append(text.decode("utf-8", "replace").strip())
        del complaints[:-20]


def listen() -> None:
    """Keep complaints from now on, in place of their going to stderr."""
    c.llama_log_set(_keep, ctypes.c_void_p(0))


def complaint() -> str:
    """The last one, on one line."""
    return complaints[-1].replace("\n", " ") if complaints else "it gave no reason"
