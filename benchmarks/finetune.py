"""A model tuned on its own labels, beside the same tuned on gold ones and on people's.

    taskset -c 1 python benchmarks/finetune.py run --results finetune.jsonl [--seeds 0:5]
    python benchmarks/finetune.py show --results finetune.jsonl [--plots docs]

The paper's main figure on the embedded model: two thirds of a task's items, whole groups of
them, are labelled by a search, by people (as the data have it) or by gold; the model is tuned
on them by LoRA, and asked zero-shot about the last third, of which it has seen nothing. A seed
draws which items these are, the search and the tuning. `run` writes each model as it is
measured, and may be stopped and gone on with; seconds are of one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from findings_items import Items, draw
from findings_results import Results, spread
from findings_table import Difference, column
from finetune_plot import draw as drawn

import elicit
from elicit.cache.store import ScoreStore
from elicit.finetune.examples import examples_of
from elicit.finetune.huggingface_form import huggingface_form
from elicit.finetune.iterate import iterate
from elicit.finetune.lora import train
from elicit.finetune.lora_settings import LoraSettings
from elicit.organism import model_path
from elicit.providers.registry import open_model
from elicit.providers.usage import Meter
from elicit.scorer import IntArray, Scorer
from elicit.search.baselines import zero_shot
from elicit.settings import RunSettings

SIZES = {"claims": 216, "sizes": 96, "facts": 108}
SHARE = 2 / 3
THREADS = 1


def _searched(method: str) -> Callable[[Items, int], IntArray]:
    def labels(items: Items, seed: int) -> IntArray:
        model = f"tiny?threads={THREADS}"
        return elicit.label(items.task, model, seed=seed, cache=False, method=method).labels

    return labels


def _iterated(items: Items, seed: int) -> IntArray:
    """Half of the items by bootstrap, the others by the model tuned on these."""
    with TemporaryDirectory() as folder, ScoreStore(Path(folder) / "e.db") as store:
        settings = RunSettings(method="bootstrap", seed=seed)
        model = f"tiny?threads={THREADS}"
        tuning = {"seed": seed}
        found = iterate(
            items.task, model, store, Path(folder), settings=settings, tuning=tuning
        )
        return found.labels


def _people(items: Items, _seed: int) -> IntArray:
    if items.human is None:
        raise AssertionError(f"{items.task.name} has human labels")
    return items.human


SOURCES: dict[str, Callable[[Items, int], IntArray]] = {
    "bootstrap": _searched("bootstrap"),
    "icm": _searched("icm"),
    "bootstrap, two turns": _iterated,
    "gold": lambda items, _: items.gold,
    "human": _people,
}


def _zero_shot(model: str, items: Items) -> float:
    with closing(open_model(model)) as provider:
        labels = zero_shot(Scorer(items.task.render(), Meter(provider))).argmax(axis=1)
    return items.accuracy(labels)


def _tuned(
    items: Items, labels: IntArray, held: Items, settings: LoraSettings, folder: Path
) -> float:
    ids = [item.id for item in items.task.items]
    examples = examples_of(items.task.render(), ids, labels)
    form = huggingface_form(model_path(), folder / "forms")
    with TemporaryDirectory(dir=folder) as own:
        made = train(examples, model_path(), form, Path(own), settings)
        return _zero_shot(f"tiny+{made.adapter}?threads={THREADS}", held)


def measure(results: Results, task: str, seed: int, epochs: int, folder: Path) -> None:
    """Every model of a task and a seed that is not measured yet."""
    labelled, held = draw(task, SIZES[task], seed).split(SHARE)
    if results.get(f"{task} base", seed) is None:
        values = {"accuracy": _zero_shot(f"tiny?threads={THREADS}", held)}
        results.add(f"{task} base", seed, values)
    for name, source in SOURCES.items():
        row = f"{task} {name}"
        if results.get(row, seed) is not None:
            continue
        begun = time.perf_counter()
        labels = source(labelled, seed)
        settings = LoraSettings(seed=seed, epochs=epochs)
        accuracy = _tuned(labelled, labels, held, settings, folder)
        values = {
            "labels": labelled.accuracy(labels),
            "accuracy": accuracy,
            "seconds": time.perf_counter() - begun,
        }
        results.add(row, seed, values)
        print(f"{row} seed {seed}: {values}", flush=True)


def show(results: Results) -> None:
    """The table, in Markdown, and the differences that are asked for."""
    print("| task | labels from | of the labels right | tuned, on held-out items | n |")
    print("| --- | --- | --- | --- | --- |")
    for task in SIZES:
        for name in ("base", *SOURCES):
            row = f"{task} {name}"
            found = column(results, row, "accuracy")
            if found:
                labels = column(results, row, "labels")
                told = spread(labels) if labels else "not tuned"
                print(f"| {task} | {name} | {told} | {spread(found)} | {len(found)} |")
    for task in SIZES:
        for name in ("bootstrap", "icm"):
            own = column(results, f"{task} {name}", "accuracy")
            for other in ("gold", "human", "base", "bootstrap, two turns"):
                theirs = column(results, f"{task} {other}", "accuracy")
                if own and len(own) == len(theirs):
                    gap = Difference.of(own, theirs)
                    print(f"- {task}: tuned on {name}, less {other}: {gap} points")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run", "show"))
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--seeds", default="0:5")
    parser.add_argument("--tasks", default=",".join(SIZES))
    parser.add_argument("--epochs", type=int, default=LoraSettings().epochs)
    parser.add_argument("--plots", type=Path)
    arguments = parser.parse_args()
    results = Results(arguments.results)
    if arguments.what == "show":
        show(results)
        if arguments.plots is not None:
            print(drawn(results, tuple(SIZES), ("base", *SOURCES), arguments.plots))
        return
    first, last = (int(part) for part in arguments.seeds.split(":"))
    with TemporaryDirectory(prefix="elicit-finetune-") as folder:
        for seed in range(first, last):
            for task in arguments.tasks.split(","):
                measure(results, task, seed, arguments.epochs, Path(folder))


if __name__ == "__main__":
    main()
