"""Train the organism from scratch: `python -m elicit.organism.train --seed 0 --out DIR`.

The curriculum switches on measurement, not on the clock: knowledge, then mostly truth, then
truth or its opposite in equal parts, which only the demonstrations can tell apart, then the
full mix. A run that is stopped goes on from its last checkpoint when started again. At the end
stand in DIR: `averaged.pt`, `organism.gguf`, `organism_reference.json`, `training_log.jsonl`.
"""

import argparse
import json
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from elicit.organism import corpus as text
from elicit.organism.export import write_gguf
from elicit.organism.measure import quick
from elicit.organism.model import MATRICES, Organism, Shape
from elicit.organism.optimiser import Muon
from elicit.organism.reference import write_reference
from elicit.organism.vocabulary import make_vocabulary
from elicit.organism.world import make_world


@dataclass(frozen=True)
class Recipe:
    """Settings of one training run."""

    seed: int = 0
    steps: int = 4000
    rows: int = 32
    length: int = 256
    long_rows: int = 10
    long_length: int = 800
    muon_rate: float = 0.02
    adam_rate: float = 3e-3
    weight_decay: float = 0.1
    """Of the matrices in the full mix, against learning labelled statements by heart."""
    decay_from: float = 0.6
    """Share of the steps after which the rate falls linearly to a hundredth."""
    long_from: float = 0.75
    latest_full: float = 0.5
    """Share of the steps after which the full mix starts whatever the measurement says."""
    blend_steps: int = 400
    average: float = 0.995
    measure_every: int = 100
    compile: bool = False

    def rate(self, step: int) -> float:
        """Return the learning rate at a step, as a share of the largest."""
        falling = (1.01 - step / self.steps) / (1.01 - self.decay_from)
        return min(1.0, step / 50, falling)


@dataclass
class Curriculum:
    """Which mix of rows to train on; `observe` moves it on."""

    recipe: Recipe
    phase: str = "knowledge"
    since: int = 0

    def observe(self, step: int, cells: dict[str, float]) -> None:
        """Switch phase if the measurement (or the clock, for the last) says so."""
        late = step > self.recipe.latest_full * self.recipe.steps
        followed = cells["truth"] >= 0.92 and cells["flipped"] <= 0.12
        then = {"knowledge": "truth", "truth": "either", "either": "full"}
        ready = {
            "knowledge": cells["know"] >= 0.95,
            "truth": late or cells["truth"] >= 0.8,
            "either": late or followed,
            "full": False,
        }
        if ready[self.phase]:
            self.phase, self.since = then[self.phase], step

    def mix(self, step: int) -> text.Mix:
        """Return the mix of this step; the full mix is blended in."""
        if self.phase == "full":
            share = min(1.0, (step - self.since) / self.recipe.blend_steps)
            return text.blend(text.EITHER, text.FULL, share)
        return {"knowledge": text.KNOWLEDGE, "truth": text.TRUTH, "either": text.EITHER}[
            self.phase
        ]


class Run:
    """Everything that changes in training, so that a checkpoint can hold it."""

    def __init__(self, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        world = make_world()
        self.vocabulary = vocabulary = make_vocabulary(world)
        self.recipe = recipe
        self.corpus = text.Corpus(world, vocabulary)
        self.maker = text.RowMaker(self.corpus, np.random.default_rng(recipe.seed))
        self.model = Organism(Shape(), vocabulary)
        self.hidden = torch.compile(self.model.hidden) if recipe.compile else self.model.hidden
        self.averaged = deepcopy(self.model)
        matrices = [getattr(self.model, name) for name in MATRICES]
        self.rest = [p for p in self.model.parameters() if not any(p is m for m in matrices)]
        self.muon = Muon(matrices)
        self.adam = torch.optim.AdamW(self.rest, betas=(0.9, 0.95), weight_decay=0.0)
        self.curriculum = Curriculum(recipe)
        self.done = 0

    def loss(self) -> torch.Tensor:
        """Weighted mean cross-entropy of a new batch; logits only where they count."""
        recipe, mix = self.recipe, self.curriculum.mix(self.done)
        long = self.done > recipe.long_from * recipe.steps and self.done % 4 == 0
        size = (recipe.long_rows, recipe.long_length) if long else (recipe.rows, recipe.length)
        ids, weights = (torch.from_numpy(a) for a in self.maker.batch(mix, *size))
        with torch.autocast("cpu", torch.bfloat16):
            states = self.hidden(ids[:, :-1])
        weights = weights[:, 1:]
        chosen = weights > 0
        logits = F.linear(states[chosen], self.model.head_table())
        losses = F.cross_entropy(logits, ids[:, 1:][chosen], reduction="none")
        return (losses * weights[chosen]).sum() / weights.sum()

    def step(self) -> float:
        """Take one step of both optimisers and the average; return the loss."""
        loss = self.loss()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.rest, 1.0)
        rate = self.recipe.rate(self.done)
        for group in self.adam.param_groups:
            group["lr"] = self.recipe.adam_rate * rate
        full = self.curriculum.phase == "full"
        self.muon.step(self.recipe.muon_rate * rate, self.recipe.weight_decay if full else 0.0)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        keep = self.recipe.average if self.done > 200 else 0.9
        with torch.no_grad():
            for a, p in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
                a.lerp_(p, 1 - keep)
        self.done += 1
        return loss.item()

    def save(self, path: Path) -> None:
        """Write a checkpoint in one step."""
        state = {
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "muon": self.muon.buffers,
            "adam": self.adam.state_dict(),
            "random": self.maker.rng.bit_generator.state,
            "curriculum": (self.curriculum.phase, self.curriculum.since),
            "done": self.done,
        }
        torch.save(state, path.with_suffix(".partial"))
        path.with_suffix(".partial").replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        for buffer, saved in zip(self.muon.buffers, state["muon"], strict=True):
            buffer.copy_(saved)
        self.adam.load_state_dict(state["adam"])
        self.maker.rng.bit_generator.state = state["random"]
        self.curriculum.phase, self.curriculum.since = state["curriculum"]
        self.done = state["done"]


def train(recipe: Recipe, out: Path) -> Run:
    """Train to the end, logging measurements to `out/training_log.jsonl`."""
    out.mkdir(parents=True, exist_ok=True)
    run, checkpoint = Run(recipe), out / "checkpoint.pt"
    if checkpoint.exists():
        run.load(checkpoint)
    start, losses = time.monotonic(), []
    with (out / "training_log.jsonl").open("a") as log:
        while run.done < recipe.steps:
            losses.append(run.step())
            if run.done % recipe.measure_every:
                continue
            cells = quick(run.model, run.corpus)
            line: dict[str, object] = {"step": run.done, "phase": run.curriculum.phase}
            line["seconds"] = round(time.monotonic() - start)
            line["loss"] = round(float(np.mean(losses)), 4)
            line |= {**cells, "averaged": quick(run.averaged, run.corpus)}
            print(json.dumps(line), file=log, flush=True)
            print(json.dumps(line), flush=True)
            run.curriculum.observe(run.done, cells)
            run.save(checkpoint)
            losses.clear()
    return run


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--compile", action="store_true", help="compile the model (needs g++)")
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    run = train(Recipe(seed=a.seed, steps=a.steps, compile=a.compile), a.out)
    torch.save(run.averaged.state_dict(), a.out / "averaged.pt")
    gguf = a.out / "organism.gguf"
    write_gguf(run.averaged, run.vocabulary, gguf)
    write_reference(run.averaged, run.vocabulary, gguf, a.out / "organism_reference.json")


if __name__ == "__main__":
    main()
