"""Units as they are sent: the trunk, which begins every prompt of a unit, goes once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from elicit.providers.llama_cpp.batch import TokenPrompt, Unit


@dataclass(frozen=True, slots=True)
class Parcel:
    """A unit without the trunk in its prompts."""

    trunk: NDArray[np.int32]
    prompts: tuple[TokenPrompt, ...]
    """`prompt` is what stands behind the trunk."""


def packed(unit: Unit) -> Parcel:
    """What is sent of a unit."""
    cut = len(unit.trunk)
    return Parcel(
        np.array(unit.trunk, np.int32),
        tuple(replace(prompt, prompt=prompt.prompt[cut:]) for prompt in unit.prompts),
    )


def unpacked(parcel: Parcel) -> Unit:
    """The unit that was packed."""
    trunk = tuple(parcel.trunk.tolist())
    return Unit(
        trunk,
        tuple(replace(prompt, prompt=trunk + prompt.prompt) for prompt in parcel.prompts),
    )
