"""Which solutions of a sum are right? Solutions that agree must get one label.

Reads JSON Lines with `question`, `solution`, `answer` and, if there is one, a gold `label`
(true, false), such as verifications of GSM8K; builds the task in Python; and prints how many
labels are right and that no two of them contradict each other.

    python 02_maths.py [ROWS.jsonl] [MODEL]

Without a file it makes some sums itself. The embedded model knows no arithmetic: its labels of
them are consistent, and no better than chance. Name a real model for a real answer.
"""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import elicit

TEMPLATE = elicit.Template(
    "Question: {{ question }}\nSolution: {{ solution }}\nThis solution is", (" False", " True")
)
SAME_ANSWER = elicit.Constraint("same_answer", "True", by="question", answer="answer")


def sums(count: int = 8) -> Iterator[dict[str, object]]:
    """Four solutions of each sum, two of them right; the wrong ones agree as well, so that
    agreement alone does not tell which."""
    draw = random.Random(0)
    for _ in range(count):
        a, b = draw.randint(2, 49), draw.randint(2, 49)
        wrong = a + b + draw.choice([-10, -1, 1, 10])
        for said in draw.sample([a + b, a + b, wrong, wrong], 4):
            yield {
                "question": f"{a} + {b}?",
                "solution": f"{a} + {b} = {said}",
                "answer": str(said),
                "label": said == a + b,
            }


def main(path: str = "", model: str = "tiny") -> None:
    lines = Path(path).read_text("utf-8").split("\n") if path else []
    rows = [json.loads(line) for line in lines if line] or list(sums())
    gold = [row.pop("label", None) for row in rows]

    task = elicit.Task(
        labels=["False", "True"],
        items=rows,
        template=TEMPLATE,
        group="question",
        constraints=[SAME_ANSWER],
    )
    result = elicit.label(task, model, seed=0, demonstrations="fit")

    right = [bool(label) == wanted for label, wanted in zip(result.labels, gold, strict=True)]
    print(f"items: {len(rows)}, called right: {sum(result.labels)}")
    print(f"labels that are right: {sum(right)} of {len(right)}")
    print(f"contradictions: {result.inconsistency}")


if __name__ == "__main__":
    main(*sys.argv[1:])
