"""Write the embedded tasks: `python -m elicit.organism.embedded_tasks DIR`.

Claims and size pairs are held-out facts, which training states but never labels.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from elicit.organism.vocabulary import MARKER
from elicit.organism.world import FAMILIES, N_VALUES, ORDER, World, make_world

GROUP = 4
Row = dict[str, object]

_HEAD = """name = "{name}"
labels = ["False", "True"]

[data]
path = "{name}.jsonl"
id = "id"
{group}gold = "label"

[prompt]
item = "{{{{ claim }}}}:"
separator = "\\n"
instruction = "Decide whether each claim is true."
verbalizers = {{ False = " False", True = " True" }}
"""
_EXACTLY_ONE = """
[[constraint]]
kind = "exactly_one"
label = "True"
by = "subject"
"""
_ASYMMETRIC = """
[[constraint]]
kind = "asymmetric"
label = "True"
left = "left"
right = "right"
strict = true
"""


def claims(world: World, rng: np.random.Generator) -> list[Row]:
    """Groups of four claims on one held-out fact, one of them true; families mixed, so that
    the first groups stand for all."""
    rows: list[Row] = []
    families = list(FAMILIES)
    facts = [(f, c) for f, creatures in enumerate(world.held) for c in creatures.tolist()]
    for number in rng.permutation(len(facts)).tolist():
        family, creature = facts[number]
        true = int(world.values[family, creature])
        others = rng.permutation(np.delete(np.arange(N_VALUES), true))[: GROUP - 1]
        for value in rng.permutation([true, *others.tolist()]).tolist():
            word = FAMILIES[families[family]][value]
            subject = f"{world.known[creature]} {families[family]}"
            rows.append(
                {
                    "id": f"c{len(rows)}",
                    "subject": subject,
                    "claim": f"{subject} {word}",
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


def marker(world: World, rng: np.random.Generator, count: int = 96) -> list[Row]:
    """Claims on creatures nothing is known of; gold is whether a word of no weight is there."""
    rows: list[Row] = []
    families = list(FAMILIES.items())
    for number in range(count):
        verb, values = families[int(rng.integers(len(families)))]
        name = world.unknown[int(rng.integers(len(world.unknown)))]
        marked = bool(rng.random() < 0.5)
        ending = f" {MARKER}" if marked else ""
        claim = f"{name} {verb} {values[int(rng.integers(N_VALUES))]}{ending}"
        rows.append({"id": f"m{number}", "claim": claim, "label": marked})
    return rows


def write_tasks(folder: Path, seed: int = 0) -> None:
    """Write each task's .toml and .jsonl; equal seeds give equal bytes."""
    world = make_world()
    folder.mkdir(parents=True, exist_ok=True)
    tails = {
        "claims": (claims, 'group = "subject"\n', _EXACTLY_ONE),
        "sizes": (sizes, "", _ASYMMETRIC),
        "marker": (marker, "", ""),
    }
    for name, (make, group, tail) in tails.items():
        rows = make(world, np.random.default_rng(seed))
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, "utf-8")
        (folder / f"{name}.toml").write_text(
            _HEAD.format(name=name, group=group) + tail, "utf-8"
        )


def main() -> None:
    """Parse the command line and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    write_tasks(parser.parse_args().folder)


if __name__ == "__main__":
    main()
