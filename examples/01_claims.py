"""Which claims are true? A model's own answer, without a label.

Labels 64 claims of a task file, and prints how many of them are right by the gold labels of the
same file (which the search never reads), what that took, and the three least certain claims.

    python 01_claims.py [TASK.toml] [MODEL]

By default the embedded model labels claims of its invented world.
"""

import sys
from importlib.resources import files

import numpy as np

import elicit
from elicit.gold import load_gold

EMBEDDED = str(files("elicit.organism") / "tasks" / "claims.toml")


def main(path: str = EMBEDDED, model: str = "tiny") -> None:
    task = elicit.load_task(path, limit=64)
    result = elicit.label(task, model, seed=0)

    gold = load_gold(path, [item.id for item in task.items])
    if gold is not None:
        right = result.labels == gold
        print(f"right: {right.sum()} of {right.size}")
    usage = result.usage
    print(f"took: {usage.forwarded_tokens:,} tokens, {usage.cached} scores from the cache")

    print("least certain:")
    questions = task.render().questions
    for number in np.argsort(result.log_odds)[:3]:
        label = task.labels[result.labels[number]]
        print(f"  {questions[number].text} {label} ({result.log_odds[number]:.1f} nats)")


if __name__ == "__main__":
    main(*sys.argv[1:])
