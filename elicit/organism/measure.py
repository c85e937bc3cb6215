"""What the model can do, on facts whose labels it never saw."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from elicit.organism.corpus import N_TOPICS, SIZES, Corpus, Statements, labeller
from elicit.organism.model import Organism, load_weights
from elicit.organism.vocabulary import make_vocabulary
from elicit.organism.world import BoolArray, IntArray, make_world

CELLS = {"truth": ("truth", 0.0), "flipped": ("flipped", 0.0), "true": ("true", 0.0)}
CELLS |= {"random": ("random", 0.0), "noise30": ("truth", 0.3)}


def render(corpus: Corpus, s: Statements, label: BoolArray, pair: tuple[int, int]) -> IntArray:
    """Token ids [n, 6] of labelled statements, with the ids of the two label words."""
    n = len(label)
    yes, no = pair
    colon, end = np.full(n, corpus.colon), np.full(n, corpus.newline)
    return np.column_stack([s.tokens, colon, np.where(label, yes, no), end])


@torch.no_grad()
def along_rows(
    model: Organism,
    corpus: Corpus,
    concept: str,
    noise: float,
    held: bool,
    rows: int,
    n: int,
    seed: int,
    swapped: bool = False,
) -> tuple[BoolArray, BoolArray, IntArray]:
    """Predict every label of random rows from the labels before it.

    Returns prediction, truth and topic, each [rows, n]; column k has k demonstrations.
    `swapped` labels with "no" for true and "yes" for false, which only they can tell.
    """
    rng = np.random.default_rng(seed)
    ids, truths, topics = [], [], []
    pair = corpus.labels[1][::-1] if swapped else corpus.labels[0]
    for _ in range(rows):
        topic, truth = rng.integers(0, N_TOPICS, n), rng.random(n) < 0.5
        s = corpus.statements(rng, topic, truth, held)
        ids.append(render(corpus, s, labeller(rng, concept, noise)(s), pair).ravel())
        truths.append(truth)
        topics.append(topic)
    tokens = np.concatenate([np.full((rows, 1), corpus.vocabulary.bos), np.stack(ids)], 1)
    at = torch.arange(n) * 6 + 4
    states = model.hidden(torch.from_numpy(tokens))[:, at]
    logits = F.linear(states, model.head_table()[list(pair)])
    return (logits[..., 0] > logits[..., 1]).numpy(), np.stack(truths), np.stack(topics)


@torch.no_grad()
def knowledge(model: Organism, corpus: Corpus) -> float:
    """Share of all plain facts whose value is the most likely next token."""
    world = corpus.world
    family, creature = (a.ravel() for a in np.indices(world.values.shape))
    tokens = corpus.facts(family, creature, world.values[family, creature]).tokens
    ids = np.column_stack([np.full(len(tokens), corpus.vocabulary.bos), tokens[:, :2]])
    return float((model(torch.from_numpy(ids)).argmax(-1).numpy() == tokens[:, 2]).mean())


def quick(model: Organism, corpus: Corpus, seed: int = 1) -> dict[str, float]:
    """Rough cells for steering the curriculum: accuracy after 16 or more demonstrations."""
    result = {"know": knowledge(model, corpus)}
    for name, (concept, noise) in CELLS.items():
        said, truth, topic = along_rows(model, corpus, concept, noise, True, 16, 42, seed)
        result[name] = float((said == truth)[:, 16:].mean())
        if name == "truth":
            result["first8"] = float((said == truth)[:, 6:11].mean())
            result["sizes"] = float((said == truth)[topic == SIZES].mean())
    said, truth, _ = along_rows(model, corpus, "truth", 0.0, True, 16, 42, seed, swapped=True)
    result["swapped"] = float((said == truth)[:, 16:].mean())
    said, truth, _ = along_rows(model, corpus, "truth", 0.0, False, 16, 42, seed)
    result["labelled"] = float((said == truth)[:, 16:].mean())
    said, truth, _ = along_rows(model, corpus, "truth", 0.0, True, 256, 1, seed)
    result["zero"], result["zero_true"] = float((said == truth).mean()), float(said.mean())
    return {name: round(value, 3) for name, value in result.items()}


@dataclass(frozen=True)
class Cell:
    """Share of predictions equal to the truth: mean over rows and half its 95 % interval."""

    name: str
    share: float
    half: float
    n: int

    def __str__(self) -> str:
        return f"| {self.name} | {self.share:.1%} ± {self.half:.1%} | {self.n:,} |"


def cell(name: str, hits: BoolArray) -> Cell:
    """Summarise hits [rows, n]; rows are the independent draws."""
    by_row = hits.mean(1)
    half = 1.96 * float(by_row.std(ddof=1)) / len(by_row) ** 0.5
    return Cell(name, float(by_row.mean()), half, hits.size)


def table(model: Organism, corpus: Corpus, rows: int = 200, seed: int = 7) -> list[Cell]:
    """The cells of the model card, on facts never labelled in training."""
    said, truth, topic = along_rows(model, corpus, "truth", 0.0, True, rows, 48, seed)
    hits = said == truth
    sizes = hits[:, 16:][topic[:, 16:] == SIZES]
    found = [
        cell("golden, 6 to 10 demonstrations", hits[:, 6:11]),
        cell("golden, 16 to 47", hits[:, 16:]),
        cell("golden, 32 to 47", hits[:, 32:]),
        cell("golden, sizes only", sizes[:, None]),
    ]
    said, truth, _ = along_rows(model, corpus, "truth", 0.0, False, rows, 48, seed)
    found.append(cell("golden, 16 to 47, facts labelled in training", (said == truth)[:, 16:]))
    for name, concept, noise in (
        ("flipped demonstrations", "flipped", 0.0),
        ("random demonstrations", "random", 0.0),
        ("10 % random noise", "truth", 0.1),
        ("30 % random noise", "truth", 0.3),
        ("one or two of four topics flipped", "topics", 0.0),
    ):
        said, truth, _ = along_rows(model, corpus, concept, noise, True, rows, 48, seed)
        found.append(cell(name, (said == truth)[:, 16:]))
    said, _, _ = along_rows(model, corpus, "true", 0.0, True, rows, 48, seed)
    found.append(cell("all demonstrations True: answers True", said[:, 16:]))
    said, truth, _ = along_rows(model, corpus, "truth", 0.0, True, rows, 48, seed, swapped=True)
    found.append(cell('"no" for true, "yes" for false', (said == truth)[:, 16:]))
    said, truth, _ = along_rows(model, corpus, "truth", 0.0, True, 2000, 1, seed)
    found += [cell("zero-shot", said == truth), cell("zero-shot: answers True", said)]
    return found


def main() -> None:
    """Print the model card's table: `python -m elicit.organism.measure DIR/averaged.pt`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--rows", type=int, default=200)
    arguments = parser.parse_args()
    world = make_world()
    vocabulary = make_vocabulary(world)
    model = load_weights(arguments.weights, vocabulary)
    corpus = Corpus(world, vocabulary)
    print(f"knows {knowledge(model, corpus):.1%} of the plain facts\n")
    print("| cell | accuracy against the truth | n |\n| --- | --- | --- |")
    print(*table(model, corpus, arguments.rows), sep="\n")


if __name__ == "__main__":
    main()
