"""Train the organism from scratch: `python -m elicit.organism.train --seed 0 --out DIR`.

The curriculum switches on measurement, not on the clock: knowledge, then truth alone, then
truth or its opposite, then blend into the full mix of concepts.
"""

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from elicit.organism import corpus as text
from elicit.organism.measure import quick
from elicit.organism.model import MATRICES, Organism, Shape
from elicit.organism.optimiser import Muon
from elicit.organism.vocabulary import make_vocabulary
from elicit.organism.world import make_world


@dataclass(frozen=True)
class Recipe:
    """Settings of one training run."""

    seed: int = 0
    minutes: float = 40.0
    rows: int = 16
    length: int = 256
    long_rows: int = 5
    long_length: int = 800
    muon_rate: float = 0.02
    adam_rate: float = 3e-3
    decay_from: float = 0.6
    """Share of the time after which the rate falls linearly to a hundredth."""
    long_from: float = 0.75
    latest_full: float = 0.6
    """Share of the time after which the full mix starts whatever the measurement says."""
    blend_steps: int = 300
    average: float = 0.997
    measure_every: int = 200


class Curriculum:
    """Which mix of rows to train on; `observe` moves it on."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.phase = "knowledge"
        self.blend_start = 0

    def observe(self, step: int, share: float, cells: dict[str, float]) -> None:
        """Switch phase if the measurement (or the clock, for the last) says so."""
        late = share > self.recipe.latest_full
        if self.phase == "knowledge" and cells["know"] >= 0.95:
            self.phase = "truth"
        elif self.phase == "truth" and cells["truth"] >= 0.9:
            self.phase = "easy"
        elif self.phase == "easy" and (
            late or (cells["truth"] >= 0.92 and cells["flipped"] <= 0.12)
        ):
            self.phase, self.blend_start = "full", step

    def mix(self, step: int) -> text.Mix:
        """Return the mix of this step."""
        if self.phase != "full":
            return {"knowledge": text.KNOWLEDGE, "truth": text.TRUTH, "easy": text.EASY}[
                self.phase
            ]
        share = min(1.0, (step - self.blend_start) / self.recipe.blend_steps)
        return text.blend(text.EASY, text.FULL, share)


def loss_of(model: Organism, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean cross-entropy, with logits only where the weight is not zero."""
    with torch.autocast("cpu", torch.bfloat16):
        states = model.hidden(ids[:, :-1])
    weights = weights[:, 1:]
    chosen = weights > 0
    logits = F.linear(states[chosen], model.head_table())
    losses = F.cross_entropy(logits, ids[:, 1:][chosen], reduction="none")
    return (losses * weights[chosen]).sum() / weights.sum()


def train(recipe: Recipe, out: Path) -> Organism:
    """Train, logging measurements to `out/training_log.jsonl`; returns the averaged model."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    world = make_world()
    vocabulary = make_vocabulary(world)
    corpus = text.Corpus(world, vocabulary)
    maker = text.RowMaker(corpus, np.random.default_rng(recipe.seed))
    model = Organism(Shape(), vocabulary)
    averaged = deepcopy(model)
    matrices = [getattr(model, name) for name in MATRICES]
    rest = [p for p in model.parameters() if not any(p is m for m in matrices)]
    muon = Muon(matrices)
    adam = torch.optim.AdamW(rest, lr=recipe.adam_rate, betas=(0.9, 0.95), weight_decay=0.0)
    curriculum = Curriculum(recipe)
    start = time.monotonic()
    step, share, total = 0, 0.0, 0.0
    with ThreadPoolExecutor(1) as pool, (out / "training_log.jsonl").open("w") as log:
        while share < 1.0:
            long = share > recipe.long_from and step % 4 == 0
            size = (
                (recipe.long_rows, recipe.long_length) if long else (recipe.rows, recipe.length)
            )
            ids, weights = pool.submit(maker.batch, curriculum.mix(step), *size).result()
            loss = loss_of(model, torch.from_numpy(ids), torch.from_numpy(weights))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(rest, 1.0)
            rate = min(1.0, step / 50) * min(1.0, (1.01 - share) / (1.01 - recipe.decay_from))
            for group in adam.param_groups:
                group["lr"] = recipe.adam_rate * rate
            muon.step(recipe.muon_rate * rate, 0.0)
            adam.step()
            adam.zero_grad(set_to_none=True)
            with torch.no_grad():
                keep = recipe.average if step > 200 else 0.9
                for a, p in zip(averaged.parameters(), model.parameters(), strict=True):
                    a.lerp_(p, 1 - keep)
            step += 1
            total += loss.item()
            share = (time.monotonic() - start) / 60 / recipe.minutes
            if step % recipe.measure_every == 0:
                cells = quick(model, corpus)
                line = {
                    "step": step,
                    "phase": curriculum.phase,
                    "minutes": round(share * recipe.minutes, 1),
                }
                line |= {"loss": round(total / recipe.measure_every, 4), **cells}
                if curriculum.phase in ("easy", "full"):
                    line["averaged"] = quick(averaged, corpus)
                print(json.dumps(line), file=log, flush=True)
                print(json.dumps(line), flush=True)
                curriculum.observe(step, share, cells)
                torch.save(averaged.state_dict(), out / "averaged.pt")
                torch.save(model.state_dict(), out / "model.pt")
                total = 0.0
    torch.save(averaged.state_dict(), out / "averaged.pt")
    return averaged


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    train(Recipe(seed=arguments.seed, minutes=arguments.minutes), arguments.out)


if __name__ == "__main__":
    main()
