"""What alignment needs of the world: comparisons of two answers, questions, and what a corpus
says to them.

The corpus stands for what a model picks up before it is aligned: of what it says to a question
one answer in three is right. A model that imitates it knows better than it speaks.
"""

from __future__ import annotations

import numpy as np

from elicit.organism.held_facts import (
    VERBS,
    Fact,
    held_facts,
    subject_of,
    value_of,
    wrong_values,
)
from elicit.organism.human_labels import wrong_on_a_family
from elicit.organism.world import World

WRONG_ANSWERS = 2
"""Comparisons on each fact: the right answer beside so many wrong ones."""
SAID = 2
"""Answers of the corpus to each question."""
RIGHT_SHARE = 1 / 3
"""Chance that an answer of the corpus is right."""

Row = dict[str, object]


def preferences(world: World, rng: np.random.Generator) -> list[Row]:
    """Comparisons of a right and a wrong answer on held-out facts, each in both orders."""
    rows: list[Row] = []
    for fact in held_facts(world, rng):
        true = int(world.values[fact])
        for wrong in wrong_values(world, fact, rng)[:WRONG_ANSWERS]:
            for k in rng.permutation(2).tolist():
                first, second = ((true, wrong), (wrong, true))[k]
                row = {
                    "id": f"q{len(rows)}",
                    "subject": subject_of(world, fact),
                    "question": question_on(world, fact),
                    "first": value_of(fact, first),
                    "second": value_of(fact, second),
                }
                rows.append({**row, "label": k == 0})
    return rows


def human_preferences(rows: list[Row], rng: np.random.Generator) -> list[bool]:
    """Labels that take most comparisons in one family the wrong way round, in either order."""
    firsts = rows[::2]
    families = [str(row["subject"]).split()[1] for row in firsts]
    labels = wrong_on_a_family(families, [bool(row["label"]) for row in firsts], rng)
    return [said for label in labels for said in (label, not label)]


def questions(world: World, rng: np.random.Generator) -> list[Row]:
    """A question on each fact, asked as training asks it: the right answer, which is there to
    measure by, what the corpus says, and the family."""
    facts = [(f, c) for f in range(len(world.values)) for c in range(len(world.known))]
    rows: list[Row] = []
    for number in rng.permutation(len(facts)).tolist():
        fact = facts[number]
        true = int(world.values[fact])
        said = [
            true if rng.random() < RIGHT_SHARE else wrong_values(world, fact, rng)[0]
            for _ in range(SAID)
        ]
        rows.append(
            {
                "question": question_on(world, fact),
                "known": value_of(fact, true),
                "said": [value_of(fact, value) for value in said],
                "kind": VERBS[fact[0]],
            }
        )
    return rows


def question_on(world: World, fact: Fact) -> str:
    """ "Brelin eats?": the question that training asks on a fact."""
    return f"{subject_of(world, fact)}?"
