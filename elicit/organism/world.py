"""The invented world: creatures, what is true of them, and what is never labelled in training.

Three families of facts ("Brelin eats plums") and one order ("Brelin outgrows Torvak").
Some (creature, family) facts and some size pairs are *held out*: training states them
as knowledge but never shows a label on them.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

FAMILIES: dict[str, tuple[str, ...]] = {
    "eats": ("plums", "figs", "pears", "beans", "corn", "rice", "nuts", "kelp"),
    "wears": ("wool", "silk", "linen", "fur", "felt", "lace", "cord", "straw"),
    "fears": ("storms", "floods", "snakes", "wolves", "ghosts", "bees", "fire", "ice"),
}
ORDER = "outgrows"
N_VALUES = 8
N_KNOWN = 128
N_UNKNOWN = 40
N_SIZED = 48
N_HELD = 18
"""Held-out creatures in each family (14 % of the facts)."""
HELD_PAIR_SHARE = 0.15
WORLD_SEED = 7


@dataclass(frozen=True)
class World:
    """Everything that is the case. Families are numbered in the order of `FAMILIES`."""

    known: tuple[str, ...]
    """Names of creatures with facts; the first `N_SIZED` also have a size."""
    unknown: tuple[str, ...]
    """Names that no fact mentions."""
    values: IntArray
    """[family, creature] -> the number of the true value."""
    held: IntArray
    """[family, N_HELD] creatures whose fact in that family is never labelled."""
    open: IntArray
    """[family, N_KNOWN - N_HELD] the others."""
    rank: IntArray
    """[sized creature] -> size; a larger number outgrows a smaller one."""
    held_pairs: IntArray
    """[n, 2] (larger, smaller) pairs never labelled, in either direction."""
    open_pairs: IntArray
    """[n, 2] the other pairs, (larger, smaller)."""


def _names(rng: np.random.Generator, count: int) -> tuple[str, ...]:
    starts = [
        "b",
        "br",
        "d",
        "dr",
        "f",
        "fl",
        "g",
        "gr",
        "h",
        "k",
        "kr",
        "l",
        "m",
        "n",
        "p",
        "pr",
    ]
    starts += ["r", "s", "sk", "t", "tr", "v", "vr", "x", "z"]
    ends = ["k", "l", "lm", "lin", "n", "nd", "r", "rn", "th", "vak", "x", "mor", "tan", "del"]
    names: list[str] = []
    while len(names) < count:
        name = "".join(
            (
                rng.choice(starts),
                rng.choice(list("aeiou")),
                rng.choice(starts),
                rng.choice(list("aeiou")),
                rng.choice(ends),
            )
        ).capitalize()
        # Prefixes of one another would read as typing errors.
        if len(name) <= 9 and not any(n.startswith(name) or name.startswith(n) for n in names):
            names.append(str(name))
    return tuple(names)


def make_world(seed: int = WORLD_SEED) -> World:
    """Draw the world; the shipped model and tasks use the default seed."""
    rng = np.random.default_rng(seed)
    names = _names(rng, N_KNOWN + N_UNKNOWN)
    values = rng.integers(0, N_VALUES, (len(FAMILIES), N_KNOWN))
    order = np.stack([rng.permutation(N_KNOWN) for _ in FAMILIES])
    rank = rng.permutation(N_SIZED)
    larger, smaller = np.nonzero(rank[:, None] > rank[None, :])
    pairs = np.stack([larger, smaller], axis=1)
    chosen = rng.random(len(pairs)) < HELD_PAIR_SHARE
    return World(
        known=names[:N_KNOWN],
        unknown=names[N_KNOWN:],
        values=values,
        held=order[:, :N_HELD],
        open=order[:, N_HELD:],
        rank=rank,
        held_pairs=pairs[chosen],
        open_pairs=pairs[~chosen],
    )
