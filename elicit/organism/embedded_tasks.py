"""Write the embedded tasks: `python -m elicit.organism.embedded_tasks DIR`.

Each stands for one question about a search. Facts and size pairs are held-out ones, which
training states but never labels; `diets` alone asks for facts of all known creatures. Gold
is the truth where nothing else is said, and M is the marker, a word that decides nothing.

| task | rows | question |
| --- | --- | --- |
| claims | 216 | four claims on one fact, exactly one true: constraints within a group |
| sizes | 96 | pairs said both ways round: constraints within a pair |
| facts | 108 | claims, half of them true, and no constraint |
| rare | 240 | one claim in ten is true |
| spurious | 100 | M stands on 90 % of the true claims and 10 % of the false ones |
| marked | 216 | gold is M, with the truth, independent of it, known beside it |
| marker | 240 | gold is M, on creatures of which nothing is known |
| mixed | 216 | gold is the truth of known creatures and M of unknown ones |
| diets | 128 | what a creature eats: eight labels |
| preferences | 216 | which of two answers is right, said both ways round |

`claims`, `sizes`, `facts` and `preferences` have a column `human`, see
`elicit.organism.human_labels`. Beside `preferences` stand its questions, see
`elicit.organism.preferences`.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elicit.organism.held_facts import (
    VERBS,
    Fact,
    held_facts,
    subject_of,
    value_of,
    wrong_values,
)
from elicit.organism.human_labels import wrong_on_a_family, wrong_on_creatures
from elicit.organism.preferences import human_preferences, preferences, questions
from elicit.organism.task_texts import (
    ASYMMETRIC,
    CLAIM,
    COMPARISON,
    DIET,
    EXACTLY_ONE,
    FOODS,
    ONE_BETTER,
)
from elicit.organism.vocabulary import MARKER
from elicit.organism.world import FAMILIES, N_VALUES, ORDER, World, make_world

GROUP = 4
Row = dict[str, object]


@dataclass(frozen=True)
class Spec:
    """What a task file says beside its rows."""

    rows: Callable[[World, np.random.Generator], list[Row]]
    labels: tuple[str, ...] = ("False", "True")
    group: str = ""
    human: Callable[[list[Row], np.random.Generator], list[bool]] | None = None
    prompt: str = CLAIM
    constraints: str = ""

    def text(self, name: str) -> str:
        """The task file."""
        columns = {"id": "id", "group": self.group, "gold": "label"}
        columns["human"] = "" if self.human is None else "human"
        lines = [f'{key} = "{column}"\n' for key, column in columns.items() if column]
        return (
            f'name = "{name}"\nlabels = {json.dumps(self.labels)}\n\n'
            f'[data]\npath = "{name}.jsonl"\n{"".join(lines)}{self.prompt}{self.constraints}'
        )


def claims(world: World, rng: np.random.Generator) -> list[Row]:
    """Groups of four claims on one held-out fact, one of them true; families mixed, so that
    the first groups stand for all."""
    rows: list[Row] = []
    for family, creature in held_facts(world, rng):
        true = int(world.values[family, creature])
        others = wrong_values(world, (family, creature), rng)[: GROUP - 1]
        for value in rng.permutation([true, *others]).tolist():
            subject = f"{world.known[creature]} {VERBS[family]}"
            rows.append(
                {
                    "id": f"c{len(rows)}",
                    "subject": subject,
                    "claim": f"{subject} {FAMILIES[VERBS[family]][value]}",
                    "label": value == true,
                }
            )
    return rows


def sizes(world: World, rng: np.random.Generator, pairs: int = 48) -> list[Row]:
    """Held-out pairs, each said both ways round."""
    rows: list[Row] = []
    for number in rng.permutation(len(world.held_pairs))[:pairs].tolist():
        larger, smaller = (world.known[i] for i in world.held_pairs[number])
        both = [(larger, smaller, True), (smaller, larger, False)]
        for k in rng.permutation(2).tolist():
            left, right, label = both[k]
            claim = f"{left} {ORDER} {right}"
            row = {"left": left, "right": right, "claim": claim, "label": label}
            rows.append({"id": f"s{len(rows)}", **row})
    return rows


def facts(world: World, rng: np.random.Generator) -> list[Row]:
    """Each held-out fact, claimed once truly and once falsely."""
    rows = [
        (_claim(world, fact, truth, rng), truth)
        for fact in held_facts(world, rng)
        for truth in (True, False)
    ]
    return _shuffled("f", rows, rng)


def rare(world: World, rng: np.random.Generator, true: int = 24) -> list[Row]:
    """Four false claims on each held-out fact, and true ones on some: 24 of 240."""
    held = held_facts(world, rng)
    rows = [(_claim(world, fact, True, rng), True) for fact in held[:true]]
    for fact in held:
        rows += [
            (_said(world, fact, value), False)
            for value in wrong_values(world, fact, rng)[:GROUP]
        ]
    return _shuffled("r", rows, rng)


def spurious(world: World, rng: np.random.Generator, each: int = 50) -> list[Row]:
    """As many true claims as false ones; the marker goes with the truth in nine of ten."""
    rows = []
    for truth in (True, False):
        for number, fact in enumerate(held_facts(world, rng)[:each]):
            marked = (number >= each // 10) == truth
            rows.append((_claim(world, fact, truth, rng) + _ending(marked), truth))
    return _shuffled("p", rows, rng)


def marked(world: World, rng: np.random.Generator) -> list[Row]:
    """Each held-out fact four times: true or false, with the marker or without it."""
    rows = [
        (_claim(world, fact, truth, rng) + _ending(with_marker), with_marker)
        for fact in held_facts(world, rng)
        for truth in (True, False)
        for with_marker in (True, False)
    ]
    return _shuffled("k", rows, rng)


def marker(world: World, rng: np.random.Generator, count: int = 240) -> list[Row]:
    """Claims on creatures nothing is known of; gold is whether a word of no weight is there."""
    rows: list[Row] = []
    said: set[str] = set()
    families = list(FAMILIES.items())
    while len(rows) < count:
        verb, values = families[int(rng.integers(len(families)))]
        name = world.unknown[int(rng.integers(len(world.unknown)))]
        with_marker = bool(rng.random() < 0.5)
        claim = f"{name} {verb} {values[int(rng.integers(N_VALUES))]}{_ending(with_marker)}"
        # The first 96, three of them repeats, stay those that earlier results were had on.
        if claim not in said or len(rows) < 96:
            rows.append({"id": f"m{len(rows)}", "claim": claim, "label": with_marker})
            said.add(claim)
    return rows


def mixed(world: World, rng: np.random.Generator) -> list[Row]:
    """Facts with the marker on half of the true and of the false ones, and as many claims on
    unknown creatures with it on half."""
    rows: dict[str, bool] = {}
    for truth in (True, False):
        for number, fact in enumerate(held_facts(world, rng)):
            rows[_claim(world, fact, truth, rng) + _ending(number % 2 == 0)] = truth
    known = len(rows)
    while len(rows) < 2 * known:
        name = world.unknown[int(rng.integers(len(world.unknown)))]
        verb = VERBS[int(rng.integers(len(VERBS)))]
        with_marker = len(rows) % 2 == 0
        value = FAMILIES[verb][int(rng.integers(N_VALUES))]
        rows.setdefault(f"{name} {verb} {value}{_ending(with_marker)}", with_marker)
    return _shuffled("x", list(rows.items()), rng)


def diets(world: World, rng: np.random.Generator) -> list[Row]:
    """What each known creature eats, asked as training asks it."""
    values = world.values[VERBS.index("eats")]
    return [
        {
            "id": f"d{number}",
            "question": f"{world.known[creature]} eats?",
            "label": FOODS[int(values[creature])],
        }
        for number, creature in enumerate(rng.permutation(len(world.known)).tolist())
    ]


def _said(world: World, fact: Fact, value: int) -> str:
    return f"{subject_of(world, fact)} {value_of(fact, value)}"


def _claim(world: World, fact: Fact, truth: bool, rng: np.random.Generator) -> str:
    value = int(world.values[fact]) if truth else wrong_values(world, fact, rng)[0]
    return _said(world, fact, value)


def _ending(with_marker: bool) -> str:
    return f" {MARKER}" if with_marker else ""


def _shuffled(prefix: str, rows: list[tuple[str, bool]], rng: np.random.Generator) -> list[Row]:
    """Rows of (claim, label) in an order drawn anew, with ids."""
    order = rng.permutation(len(rows)).tolist()
    return [
        {"id": f"{prefix}{number}", "claim": rows[row][0], "label": rows[row][1]}
        for number, row in enumerate(order)
    ]


def _human_on_facts(rows: list[Row], rng: np.random.Generator) -> list[bool]:
    families = [str(row["claim"]).split()[1] for row in rows]
    return wrong_on_a_family(families, [bool(row["label"]) for row in rows], rng)


def _human_on_sizes(rows: list[Row], rng: np.random.Generator) -> list[bool]:
    pairs = [(str(row["left"]), str(row["right"])) for row in rows]
    return wrong_on_creatures(pairs, [bool(row["label"]) for row in rows], rng)


TASKS = {
    "claims": Spec(claims, group="subject", human=_human_on_facts, constraints=EXACTLY_ONE),
    "sizes": Spec(sizes, human=_human_on_sizes, constraints=ASYMMETRIC),
    "facts": Spec(facts, human=_human_on_facts),
    "rare": Spec(rare),
    "spurious": Spec(spurious),
    "marked": Spec(marked),
    "marker": Spec(marker),
    "mixed": Spec(mixed),
    "diets": Spec(diets, labels=FOODS, prompt=DIET),
    "preferences": Spec(
        preferences,
        group="question",
        human=human_preferences,
        prompt=COMPARISON,
        constraints=ONE_BETTER,
    ),
}
QUESTIONS = "preferences.questions.jsonl"


def write_tasks(folder: Path, seed: int = 0) -> None:
    """Write each task's .toml and .jsonl; equal seeds give equal bytes."""
    world = make_world()
    folder.mkdir(parents=True, exist_ok=True)
    for name, spec in TASKS.items():
        rows = spec.rows(world, np.random.default_rng(seed))
        if spec.human is not None:
            # A generator of their own: rows stay what they were without these labels.
            labels = spec.human(rows, np.random.default_rng([seed, 1]))
            rows = [row | {"human": label} for row, label in zip(rows, labels, strict=True)]
        _write_rows(folder / f"{name}.jsonl", rows)
        (folder / f"{name}.toml").write_text(spec.text(name), "utf-8")
    _write_rows(folder / QUESTIONS, questions(world, np.random.default_rng(seed)))


def _write_rows(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def main() -> None:
    """Parse the command line and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    write_tasks(parser.parse_args().folder)


if __name__ == "__main__":
    main()
