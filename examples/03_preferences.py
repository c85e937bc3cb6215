"""Which of two answers is better? Each pair is asked in both orders, which must disagree.

Takes comparisons of two answers from the embedded task, asks "first over second?" in both
orders under a constraint (the swapped comparison has the other label), and prints how many
preferred answers are those that are known to be right, and the first three preferences.

    python 03_preferences.py [MODEL]
"""

import json
import sys
from importlib.resources import files

import elicit

ROWS = files("elicit.organism") / "tasks" / "preferences.jsonl"
ONE_IS_BETTER = elicit.Constraint(
    "asymmetric", "True", by="question", left="first", right="second", strict=True
)


def main(model: str = "tiny") -> None:
    lines = ROWS.read_text("utf-8").splitlines()[:120:2]
    pairs = [json.loads(line) for line in lines]
    items = []
    for pair in pairs:
        asked = {name: pair[name] for name in ("subject", "question", "first", "second")}
        swapped = {**asked, "first": pair["second"], "second": pair["first"]}
        items += [asked, swapped]

    task = elicit.Task(
        labels=["False", "True"],
        items=items,
        template=elicit.Template(
            "{{ subject }} {{ first }} over {{ second }}:", (" False", " True"), "\n"
        ),
        group="question",
        constraints=[ONE_IS_BETTER],
    )
    result = elicit.label(task, model, seed=0)

    # The labels of the first orders say all, as the second ones are their opposites.
    firsts = [bool(label) for label in result.labels[::2]]
    right = [said == pair["label"] for said, pair in zip(firsts, pairs, strict=True)]
    print(f"right: {sum(right)} of {len(right)} pairs")
    for first_is_better, pair in list(zip(firsts, pairs, strict=True))[:3]:
        better, worse = pair["first"], pair["second"]
        if not first_is_better:
            better, worse = worse, better
        print(f"{pair['question']} {better}, rather than {worse}")


if __name__ == "__main__":
    main(*sys.argv[1:])
