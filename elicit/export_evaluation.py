"""A run's labels as a test of any other model, for two programs that run such tests.

Each is a folder that needs nothing else, elicit included, and can be moved:

- Inspect (`inspect eval FOLDER/task.py --model ...`, the path a relative one): each item is
  asked as a chat. Beside whether the answer is the elicited label, the score has the
  probability that elicit gave to the label that was answered, so that a doubtful label weighs
  less.
- lm-evaluation-harness (`lm_eval --include_path FOLDER --tasks elicit_NAME ...`): each item is
  a multiple choice between the labels' verbalizers after its plain prompt, so what it counts
  are a model's zero-shot labels.

Neither has the labels that a run abstained from. No text of the data is ever read as code, as
a template or as YAML: it stands in JSON Lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elicit.cache.errors import InputError
from elicit.export import Found, jsonl, training
from elicit.task import Task

ROWS = "labels.jsonl"
"""The file with the items."""

_INSPECT = '''"""Do a model's answers agree with what elicit found? `inspect eval task.py`"""

from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import json_dataset
from inspect_ai.scorer import Score, mean, scorer, stderr
from inspect_ai.solver import generate


@scorer(metrics={"agrees": [mean(), stderr()], "probability": [mean(), stderr()]})
def elicited():
    """`agrees`: 1 where the answer is the elicited label; `probability`: what elicit gave to
    the label that was answered. Both are 0 where the answer is no label."""

    async def score(state, target):
        answer = state.output.completion.strip()
        agrees = float(answer == target.text)
        probability = state.metadata["probabilities"].get(answer, 0.0)
        value = {"agrees": agrees, "probability": probability}
        return Score(value=value, answer=answer)

    return score


@task
def labels():
    dataset = json_dataset(str(Path(__file__).with_name("labels.jsonl")))
    return Task(dataset=dataset, solver=generate(), scorer=elicited())
'''

_LM_EVAL_LOADER = '''"""Loads the items beside this file."""

from pathlib import Path

from datasets import load_dataset


def load(**_):
    rows = Path(__file__).with_name("labels.jsonl")
    return load_dataset("json", data_files={"test": str(rows)})
'''

_LM_EVAL = """\
task: {name}
custom_dataset: !function loader.load
test_split: test
output_type: multiple_choice
doc_to_text: prompt
doc_to_choice: choices
doc_to_target: label
target_delimiter: ""
fewshot_delimiter: {separator}
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""


def inspect_files(task: Task, found: Found, kept: NDArray[np.bool_]) -> Mapping[str, bytes]:
    """The files of an Inspect task by name, for the items `kept`, (n_items,), which all have a
    label.

    Raises:
        InputError: the run kept no probabilities, or a text has half a UTF-16 pair.
    """
    if found.log_probs is None:
        raise InputError(
            f"run {found.run_name!r} kept no probabilities, which its labels are weighed by: "
            "run it again (scores that are known cost nothing)"
        )
    names = task.render("block").verbalizers
    given = np.exp(found.log_probs[kept]).tolist()
    asked = training(task, found, kept, "sft", chat=True)
    rows: list[dict[str, Any]] = [
        {
            "id": identifier,
            "input": row["prompt"],
            "target": row["completion"][0]["content"],
            "metadata": {"probabilities": dict(zip(names, of_labels, strict=True))},
        }
        for identifier, row, of_labels in zip(_ids(task, kept), asked, given, strict=True)
    ]
    return {"task.py": _INSPECT.encode(), ROWS: jsonl(rows)}


def lm_eval_files(task: Task, found: Found, kept: NDArray[np.bool_]) -> Mapping[str, bytes]:
    """The files of an lm-evaluation-harness task by name, for the items `kept`, (n_items,),
    which all have a label.

    Raises:
        InputError: a text has half a UTF-16 pair.
    """
    choices = list(task.template.verbalizers)
    labels = found.labels[kept].tolist()
    asked = training(task, found, kept, "sft", chat=False)
    rows: list[dict[str, Any]] = [
        {"id": identifier, "prompt": row["prompt"], "choices": choices, "label": label}
        for identifier, row, label in zip(_ids(task, kept), asked, labels, strict=True)
    ]
    name = "elicit_" + re.sub(r"\W", "_", found.run_name, flags=re.ASCII)
    yaml = _LM_EVAL.format(name=name, separator=_quoted(task.template.separator))
    return {
        f"{name}.yaml": yaml.encode(),
        "loader.py": _LM_EVAL_LOADER.encode(),
        ROWS: jsonl(rows),
    }


def _ids(task: Task, kept: NDArray[np.bool_]) -> list[str]:
    return [task.items[number].id for number in np.flatnonzero(kept).tolist()]


def _quoted(text: str) -> str:
    """A text as YAML has it, which is as JSON has it, but for characters beyond 16 bits."""
    parts = (f"\\U{ord(c):08x}" if c > "\uffff" else json.dumps(c)[1:-1] for c in text)
    return f'"{"".join(parts)}"'
