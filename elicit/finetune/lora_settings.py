"""How a model is tuned on this machine."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from elicit.cache.errors import InputError

Schedule = Literal["linear", "cosine", "constant"]
"""How the learning rate falls after its warm-up: to nothing, in a line or half a cosine, or
not at all."""

TARGETS = ("q", "k", "v", "o", "gate", "up", "down")
"""Matrices of a layer that llama.cpp can put an adapter on: attention and feed-forward."""

_BOUNDS: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
    (("rank", "epochs", "batch_size", "forward_tokens"), lambda v: v >= 1, "at least 1"),
    (("alpha", "learning_rate", "gradient_norm"), lambda v: v > 0, "above 0"),
    (("seed", "weight_decay", "checkpoint_seconds"), lambda v: v >= 0, "0 or more"),
    (("warmup", "dropout"), lambda v: 0 <= v < 1, "from 0 up to, not with, 1"),
)


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """All settings of a local tuning job.

    The matrix of a target becomes W + (alpha / rank) B A, with A (rank, in) and B (out, rank).

    Raises:
        InputError: names the setting that can't be so, and what it can be.
    """

    rank: int = 16
    alpha: float = 32.0
    targets: str = ",".join(TARGETS)
    """Which matrices of a layer, of `TARGETS`, with commas."""
    epochs: int = 4
    batch_size: int = 8
    learning_rate: float = 5e-4
    schedule: Schedule = "linear"
    warmup: float = 0.1
    """Share of the steps over which the learning rate rises from nothing."""
    weight_decay: float = 0.0
    gradient_norm: float = 1.0
    """A step's gradient is scaled down to this norm where it is longer."""
    dropout: float = 0.0
    seed: int = 0
    """Of the first A, the order of examples and what dropout drops."""
    forward_tokens: int = 8192
    """Tokens with padding that go through the model at once; a batch of more goes in parts.
    Bounds the memory, and changes a result by rounding only."""
    checkpoint_seconds: float = 30.0
    """A checkpoint is written at the end of a step where the last one is older than this."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and not _whole(value):
                raise _refused(field.name, value, "a whole number")
            if field.type == "float" and not _number(value):
                raise _refused(field.name, value, "a number")
        for names, fits, wanted in _BOUNDS:
            for name in names:
                if not fits(getattr(self, name)):
                    raise _refused(name, getattr(self, name), wanted)
        if self.schedule not in get_args(Schedule):
            raise _refused("schedule", self.schedule, f"one of {', '.join(get_args(Schedule))}")
        names = self.matrices if isinstance(self.targets, str) else ()
        if not names or set(names) - set(TARGETS) or len(set(names)) < len(names):
            raise _refused("targets", self.targets, f"some of {','.join(TARGETS)}, each once")

    @staticmethod
    def parse(chosen: Mapping[str, float | int | str]) -> LoraSettings:
        """The defaults, but for what is chosen.

        Raises:
            InputError: no such setting, or a value that it can't have.
        """
        known = [field.name for field in fields(LoraSettings)]
        for name in chosen:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise InputError(
                    f"local tuning has no setting {name}{hint} (known: {', '.join(known)})"
                )
        made: dict[str, Any] = dict(chosen)
        return LoraSettings(**made)

    @property
    def matrices(self) -> tuple[str, ...]:
        """The targets, one by one."""
        return tuple(name.strip() for name in self.targets.split(","))

    def decides(self) -> dict[str, object]:
        """The settings that the result depends on."""
        return {n: v for n, v in asdict(self).items() if n != "checkpoint_seconds"}

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of step `step`, counted from 0, of `steps`."""
        rising = math.ceil(self.warmup * steps)
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        left = 1 - (step - rising) / max(1, steps - rising)
        if self.schedule == "linear":
            return self.learning_rate * left
        if self.schedule == "cosine":
            return self.learning_rate * (1 - math.cos(math.pi * left)) / 2
        return self.learning_rate


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    )


def _refused(name: str, value: object, wanted: str) -> InputError:
    return InputError(f"local tuning, setting {name}: is {value!r}; it must be {wanted}")
