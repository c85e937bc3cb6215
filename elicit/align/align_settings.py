"""Every setting of an alignment. The defaults are those of the embedded model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields

from elicit.cache.errors import InputError
from elicit.finetune.lora_settings import LoraSettings
from elicit.settings import RunSettings

MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""What adapters change, by Hugging Face's names: all of a layer, and all llama.cpp applies."""

_BOUNDS: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
    (
        ("rank", "epochs", "steps", "batch_size", "longest", "checkpoint_steps", "threads"),
        lambda v: v >= 1,
        "at least 1",
    ),
    (("offered", "sampled", "judged"), lambda v: v >= 1, "at least 1"),
    (("group",), lambda v: v >= 2, "at least 2"),
    (("alpha", "learning_rate", "kl", "temperature"), lambda v: v > 0, "above 0"),
    (("held_out",), lambda v: 0 < v < 1, "a share above 0 and below 1"),
    (("confident",), lambda v: 0 < v <= 1, "a share above 0, at most 1"),
    (("seed",), lambda v: 0 <= v < 2**63, "from 0 to 2^63 - 1"),
)


@dataclass(frozen=True, slots=True)
class Wording:
    """How a prompt and an answer become one text.

    The reward model reads `prompt + before + answer`; the policy writes
    `before + answer + stop` after the prompt.
    """

    before: str = " "
    stop: str = "\n"
    """Ends an answer; one token of the model. Empty for the model's own end of text."""

    def __post_init__(self) -> None:
        _check("wording.", self)

    def read(self, prompt: str, answer: str) -> str:
        """What a reward model reads."""
        return f"{prompt}{self.before}{answer}"

    def written(self, answer: str) -> str:
        """What a policy writes to give this answer."""
        return f"{self.before}{answer}{self.stop}"

    def answer(self, written: str) -> str:
        """The answer in what a policy wrote."""
        return (written.partition(self.stop)[0] if self.stop else written).strip()


@dataclass(frozen=True, slots=True)
class RewardSettings:
    """How a reward model is trained. LoRA as in `LoraSettings`."""

    rank: int = 8
    alpha: float = 16.0
    epochs: int = 8
    batch_size: int = 16
    """Preferences a step."""
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        _check("reward.", self)


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """How a policy is optimised. LoRA as in `LoraSettings`."""

    rank: int = 8
    alpha: float = 16.0
    steps: int = 200
    """On the embedded model the reward has stopped rising by then, whoever gave the labels."""
    batch_size: int = 64
    """Answers a step."""
    group: int = 8
    """Answers to one prompt, each measured against the mean of the others."""
    learning_rate: float = 5e-4
    kl: float = 0.05
    """Reward that is taken away for each nat by which the policy's log-probability of an
    answer is above the starting policy's."""
    temperature: float = 1.0
    longest: int = 8
    """Tokens of an answer at most."""
    checkpoint_steps: int = 20

    def __post_init__(self) -> None:
        _check("policy.", self)
        if self.batch_size % self.group:
            raise InputError(
                f"setting policy.group: is {self.group}; it must divide policy.batch_size "
                f"({self.batch_size})"
            )

    def decides(self) -> dict[str, object]:
        """The settings that the result depends on."""
        return {n: v for n, v in asdict(self).items() if n != "checkpoint_steps"}


@dataclass(frozen=True, slots=True)
class AlignSettings:
    """All settings of an alignment.

    Raises:
        InputError: names the setting that can't be so, and what it can be.
    """

    seed: int = 0
    held_out: float = 1 / 3
    """Share of the prompts, with their comparisons, that nothing is trained on."""
    offered: int = 2
    """Comparisons made for each prompt that had none, of two answers of the starting policy."""
    sampled: int = 6
    """Answers that these are made of."""
    confident: float = 0.75
    """Share of these, the surest, that the first reward model labels for the final one."""
    judged: int = 4
    """Sampled answers to each held-out prompt that policies are compared by."""
    threads: int = 1
    """Of torch. Sums are split over threads, so another number changes the last bits."""
    wording: Wording = field(default_factory=Wording)
    search: RunSettings = field(default_factory=RunSettings)
    """How the first comparisons are labelled, all of it: what the task's file says of a search
    has been joined with it. Its seed is this one's."""
    start: LoraSettings = field(
        default_factory=lambda: LoraSettings(rank=8, alpha=16.0, batch_size=16)
    )
    """How the starting policy is tuned on what a corpus says; its seed is this one's."""
    reward: RewardSettings = field(default_factory=RewardSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)

    def __post_init__(self) -> None:
        _check("", self)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def decides(self) -> dict[str, object]:
        """The settings that the result depends on."""
        parts = {"start": self.start.decides(), "policy": self.policy.decides()}
        return asdict(self) | parts


def _check(
    part: str, settings: Wording | RewardSettings | PolicySettings | AlignSettings
) -> None:
    """Each value is of its kind and within its bounds."""
    for one in fields(settings):
        value = getattr(settings, one.name)
        if one.type == "str" and not isinstance(value, str):
            raise _refused(part, one.name, value, "a text")
        if one.type == "int" and (not isinstance(value, int) or isinstance(value, bool)):
            raise _refused(part, one.name, value, "a whole number")
        if one.type == "float" and not _is_number(value):
            raise _refused(part, one.name, value, "a number")
        for names, fits, wanted in _BOUNDS:
            if one.name in names and not fits(value):
                raise _refused(part, one.name, value, wanted)


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    )


def _refused(part: str, name: str, value: object, wanted: str) -> InputError:
    return InputError(f"setting {part}{name}: is {value!r}; it must be {wanted}")
