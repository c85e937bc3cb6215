"""Every setting of an alignment. The defaults are those of the embedded model."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, is_dataclass

from elicit.cache.errors import InputError
from elicit.finetune.lora_settings import LoraSettings
from elicit.settings import RunSettings

MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""What adapters change, by Hugging Face's names: all of a layer, and all llama.cpp applies."""


@dataclass(frozen=True, slots=True)
class Wording:
    """How a prompt and an answer become one text.

    The reward model reads `prompt + before + answer`; the policy writes
    `before + answer + stop` after the prompt.
    """

    before: str = " "
    stop: str = "\n"
    """Ends an answer; one token of the model. Empty for the model's own end of text."""

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
        if self.batch_size % self.group or self.group < 2:
            raise InputError(
                f"setting policy.group: is {self.group}; it must be 2 or more and divide "
                f"policy.batch_size ({self.batch_size})"
            )


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
    """How the first comparisons are labelled; its seed is this one's."""
    start: LoraSettings = field(
        default_factory=lambda: LoraSettings(rank=8, alpha=16.0, batch_size=16)
    )
    """How the starting policy is tuned on what a corpus says."""
    reward: RewardSettings = field(default_factory=RewardSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)

    def __post_init__(self) -> None:
        for part, settings in (("", self), ("reward.", self.reward), ("policy.", self.policy)):
            _check(part, settings)
        for name in ("held_out", "confident"):
            if getattr(self, name) > 1:
                raise InputError(f"setting {name}: must be a share, at most 1")
        if self.held_out == 1:
            raise InputError("setting held_out: must be below 1, or nothing is trained on")

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def _check(part: str, settings: object) -> None:
    """Each number is above 0; the seed may be 0, and so may the share held out."""
    if not is_dataclass(settings):
        raise TypeError(f"{settings!r} is no settings")
    for one in fields(settings):
        value = getattr(settings, one.name)
        if isinstance(value, str) or not isinstance(value, int | float):
            continue
        least = 0 if one.name in ("seed", "held_out") else None
        whole = one.type == "int" and (not isinstance(value, int) or isinstance(value, bool))
        if whole or not math.isfinite(value) or (value <= 0 and value != least):
            wanted = "a whole number" if one.type == "int" else "a number"
            bound = "from 0" if least == 0 else "above 0"
            raise InputError(
                f"setting {part}{one.name}: is {value!r}; it must be {wanted} {bound}"
            )
