"""The figure of `finetune.py`: one mark a source of labels, with its interval over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from findings_plots import COLOURS, INK, MARKS, STYLE
from findings_results import Results
from findings_table import column
from matplotlib.figure import Figure

from elicit.evaluate import over_seeds


def draw(results: Results, tasks: Sequence[str], names: Sequence[str], folder: Path) -> Path:
    """Write `finetuning.svg`: held-out accuracy of each tuned model, by task."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({**STYLE, "lines.markersize": 5}):
        figure = Figure(figsize=(7.2, 3.0), layout="constrained")
        axes = figure.subplots()
        for number, name in enumerate(names):
            places, marks = [], []
            for place, task in enumerate(tasks):
                found = column(results, f"{task} {name}", "accuracy")
                if found:
                    places.append(place + 0.12 * (number - (len(names) - 1) / 2))
                    marks.append(over_seeds(found))
            if not marks:
                continue
            values = [100 * mark.value for mark in marks]
            below = [100 * (mark.value - mark.low) for mark in marks]
            above = [100 * (mark.high - mark.value) for mark in marks]
            axes.errorbar(
                places,
                values,
                (below, above),
                linestyle="",
                label="not tuned" if name == "base" else f"tuned on {name}",
                color=INK if name == "base" else COLOURS[number % len(COLOURS) - 1],
                marker=MARKS[number % len(MARKS)],
            )
        axes.set_xticks(range(len(tasks)), list(tasks))
        axes.set_ylabel("accuracy on held-out items, %")
        axes.set_ylim(0, 102)
        figure.legend(loc="outside right center")
        path = folder / "finetuning.svg"
        figure.savefig(path, metadata={"Date": None})
    return path
