"""Label a CSV of one's own: a CSV and a task file in, the same CSV with two more columns out.

Writes `reviewed.csv` beside the data, with a label for each row and how sure the model is of it
(its probability, given the labels of the other rows), and prints the three surest rows.

    python 04_own_csv.py [FOLDER] [MODEL]

A folder without a `claims.csv` is given one of the embedded model's world, and a `claims.toml`
beside it, which is all there is to write: edit both for your data.
"""

import csv
import json
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np

import elicit

TASK = """
labels = ["False", "True"]

[data]
path = "claims.csv"

[prompt]
item = "{{ claim }}:"
separator = "\\n"
verbalizers = { False = " False", True = " True" }
"""


def write_data(folder: Path) -> None:
    lines = (files("elicit.organism") / "tasks" / "claims.jsonl").read_text("utf-8")
    claims = [json.loads(line)["claim"] for line in lines.splitlines()[:60]]
    with (folder / "claims.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["claim"], *([claim] for claim in claims)])
    (folder / "claims.toml").write_text(TASK, "utf-8")


def main(folder: str = ".", model: str = "tiny") -> None:
    place = Path(folder)
    if not (place / "claims.csv").exists():
        write_data(place)
    task = elicit.load_task(place / "claims.toml")
    result = elicit.label(task, model, seed=0)
    sure = 1 / (1 + np.exp(-result.log_odds))  # of two labels: the probability of the one given

    names = [task.labels[label] for label in result.labels]
    with (place / "reviewed.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*task.items[0].fields, "label", "probability"])
        for item, name, p in zip(task.items, names, sure, strict=True):
            table.writerow([*item.fields.values(), name, f"{p:.3f}"])

    print(f"wrote {len(names)} rows to {place / 'reviewed.csv'}")
    print("surest:")
    for number in np.argsort(-sure)[:3]:
        fields = ", ".join(map(str, task.items[number].fields.values()))
        print(f"  {fields}: {names[number]} ({sure[number]:.3f})")


if __name__ == "__main__":
    main(*sys.argv[1:])
