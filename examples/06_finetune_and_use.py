"""From labels to a better model: label, tune the model on its own labels, use it.

Labels 48 claims, tunes the model on them by LoRA on this machine (some seconds for the embedded
one), and asks both models about 48 other claims with no demonstrations. Prints how many each
gets right, and the tuned model's name, which every command and `elicit.label` take.

    python 06_finetune_and_use.py [MODEL]

Needs the extras: pip install 'elicit-lm[local,lora]'
"""

import sys
from importlib.resources import files

import elicit
from elicit.finetune.here import tune
from elicit.gold import load_gold
from elicit.labelling import metered, open_store
from elicit.scorer import Scorer
from elicit.search.baselines import zero_shot

TASK = str(files("elicit.organism") / "tasks" / "claims.toml")


def right(task: elicit.Task, model: str) -> str:
    """How many of a task's items a model labels right with nothing but the item to see."""
    gold = load_gold(TASK, [item.id for item in task.items])
    with open_store(False) as store, metered(model, store) as asked:
        labels = zero_shot(Scorer(task.render(), asked)).argmax(axis=1)
    return f"{(labels == gold).sum()} of {labels.size} right"


def main(model: str = "tiny") -> None:
    every = elicit.load_task(TASK, limit=96)
    shown, unseen = every.some(range(48)), every.some(range(48, 96))
    result = elicit.label(shown, model, seed=0)

    better = tune(result, epochs=8)

    print(f"before: {right(unseen, model)}")
    print(f"after:  {right(unseen, better)}")
    print(f"the tuned model: {better}")


if __name__ == "__main__":
    main(*sys.argv[1:])
