"""Facts that training states but never labels, drawn for tasks."""

from __future__ import annotations

import numpy as np

from elicit.organism.world import FAMILIES, N_VALUES, World

Fact = tuple[int, int]
"""Numbers of the family and of the creature."""
VERBS = tuple(FAMILIES)


def held_facts(world: World, rng: np.random.Generator) -> list[Fact]:
    """All held-out facts in an order drawn anew."""
    all_facts = [(f, c) for f, creatures in enumerate(world.held) for c in creatures.tolist()]
    return [all_facts[number] for number in rng.permutation(len(all_facts)).tolist()]


def wrong_values(world: World, fact: Fact, rng: np.random.Generator) -> list[int]:
    """The values that are not the case, in an order drawn anew."""
    values: list[int] = rng.permutation(
        np.delete(np.arange(N_VALUES), int(world.values[fact]))
    ).tolist()
    return values


def subject_of(world: World, fact: Fact) -> str:
    """What a fact is on: "Brelin eats"."""
    family, creature = fact
    return f"{world.known[creature]} {VERBS[family]}"


def value_of(fact: Fact, value: int) -> str:
    """The word of a value in the fact's family."""
    return FAMILIES[VERBS[fact[0]]][value]
