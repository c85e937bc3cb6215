"""The labels of a finished run as files for other programs.

A table (`jsonl`, `csv`, `parquet`) has a row for each item, with these columns:

- `id`, and `label`, empty (null) where the run abstained;
- `log_odds`, in nats: the label against the best other. JSON has no word for a label that no
  other can be likelier than; it is written `Infinity`, as Python, pandas and Arrow read it;
- `p_LABEL` for each label: its probability given the labels of the other items, empty where
  the run did not keep it;
- `text`: the item as its prompt has it.

No two columns can have one name, whatever the labels are. The item's own fields are not
repeated: they stand in the task's data under the same `id`.

A training file (`sft`, `chat`, `dpo`) is JSON Lines with a row for each item that has a label.
The prompt is the one that scores the item without demonstrations, the answer the label's
verbalizer, as in `elicit finetune`:

- `sft`: `prompt` and `completion`, what TRL calls prompt-completion; its loss is on the label
  only;
- `chat`: `messages`, as OpenAI, TRL and Axolotl read them. TRL's loss is on the whole chat by
  default; `sft` as a chat has the loss on the label;
- `dpo`: `prompt`, `chosen`, `rejected`: the label against the likeliest other one.

`sft` and `dpo` are of plain text, or of messages for a model that chats.

What is a folder and no file is in `export_folder`.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from elicit.cache.errors import InputError
from elicit.cache.runs import Run
from elicit.constraints import UNLABELLED
from elicit.finetune.examples import Example, examples_of
from elicit.finetune.sft_file import FileRules, row_of
from elicit.outcome import outcome_of, result_of
from elicit.prompt import RenderedTask
from elicit.run_labels import check_same_task, labels_of_run
from elicit.scorer import FloatArray, IntArray
from elicit.task import Task

Table = Literal["jsonl", "csv", "parquet"]
Training = Literal["sft", "chat", "dpo"]
Format = Literal[Table, Training]

FORMATS: tuple[Format, ...] = (*get_args(Table), *get_args(Training))

_Row = dict[str, Any]

_ANY_TRAINER = FileRules("a trainer", ("messages", "completion"), 1, None, sys.maxsize, "")


@dataclass(frozen=True, slots=True)
class Export:
    """A file in memory."""

    content: bytes
    rows: int
    left_out: int
    """Items of the run that are not in it."""


def export(
    run: Run,
    task: Task,
    form: Format,
    *,
    min_log_odds: float | None = None,
    chat: bool = False,
) -> Export:
    """The labels that a run gave the items of its task, as the bytes of a file.

    Args:
        run: A finished one.
        task: The task that it labelled, as it was then.
        form: See the module.
        min_log_odds: In nats; items whose labels are less certain are left out.
        chat: Write the prompts and answers of `sft` and `dpo` as messages.

    Raises:
        InputError: the run is not finished, the task has changed since, nothing is left to
            write, or the form can't hold what there is to write.
    """
    if chat and form in get_args(Table):
        raise InputError(f"{form} has no prompts to write as a chat: export sft, chat or dpo")
    found, kept = chosen(run, task, min_log_odds, labelled=form in get_args(Training))
    if form in get_args(Table):
        content = _TABLES[form](table(task, found, kept))
    else:
        content = jsonl(training(task, found, kept, form, chat=chat))
    rows = int(kept.sum())
    return Export(content, rows, kept.size - rows)


@dataclass(frozen=True, slots=True)
class Found:
    """A run's answer in the order of a task's items; shapes as in `Answer`."""

    labels: IntArray
    log_odds: FloatArray
    log_probs: FloatArray | None
    run_name: str


def chosen(
    run: Run, task: Task, min_log_odds: float | None, *, labelled: bool
) -> tuple[Found, NDArray[np.bool_]]:
    """A run's answer, and which items, (n_items,), are to be exported: where `labelled`, none
    that it abstained from. See `export`."""
    check_same_task(run, task)
    found = _found(run, task)
    kept = np.ones(found.labels.size, bool)
    if min_log_odds is not None:
        kept &= found.log_odds >= min_log_odds
    if labelled:
        kept &= found.labels != UNLABELLED
    if not kept.any():
        bound = "" if min_log_odds is None else f" with log-odds of {min_log_odds} or more"
        raise InputError(f"run {run.name!r} has no label{bound}: nothing is left to export")
    return found, kept


def _found(run: Run, task: Task) -> Found:
    answer = outcome_of(run).answer
    labels = labels_of_run(run, task)
    place = {identifier: number for number, identifier in enumerate(result_of(run)["ids"])}
    order = [place[item.id] for item in task.items]
    log_probs = None if answer.log_probs is None else answer.log_probs[order]
    return Found(labels, answer.log_odds[order], log_probs, run.name)


def table(task: Task, found: Found, kept: NDArray[np.bool_]) -> list[_Row]:
    """The rows of a table; see the module."""
    questions = task.render().questions
    rows = []
    for number in np.flatnonzero(kept).tolist():
        label = int(found.labels[number])
        known = None if found.log_probs is None else np.exp(found.log_probs[number]).tolist()
        rows.append(
            {
                "id": task.items[number].id,
                "label": None if label == UNLABELLED else task.labels[label],
                "log_odds": float(found.log_odds[number]),
                **{
                    f"p_{name}": None if known is None else known[place]
                    for place, name in enumerate(task.labels)
                },
                "text": questions[number].text,
            }
        )
    return rows


def training(
    task: Task, found: Found, kept: NDArray[np.bool_], form: Format, *, chat: bool
) -> list[_Row]:
    """The rows of a training file; see the module."""
    # Both forms of a chat are the same where there are no demonstrations.
    rendered = task.render("block" if chat or form == "chat" else "text")
    ids = [item.id for item in task.items]
    examples = examples_of(rendered, ids, np.where(kept, found.labels, UNLABELLED))
    rows = _written(examples)
    if form == "chat":
        return rows
    asked = [_split(row) for row in rows]
    if form == "sft":
        return [{"prompt": prompt, "completion": answer} for prompt, answer in asked]
    refused = _written(_with_the_next_label(examples, rendered, found, kept))
    return [
        {"prompt": prompt, "chosen": answer, "rejected": _split(row)[1]}
        for (prompt, answer), row in zip(asked, refused, strict=True)
    ]


def _with_the_next_label(
    examples: Sequence[Example],
    rendered: RenderedTask,
    found: Found,
    kept: NDArray[np.bool_],
) -> list[Example]:
    """The examples with the likeliest label that they do not have."""
    labels = found.labels[kept]
    if len(rendered.labels) == 2:
        others = 1 - labels
    elif found.log_probs is None:
        raise InputError(
            f"run {found.run_name!r} kept no probabilities, which say which of the other "
            "labels to reject: run it again (scores that are known cost nothing)"
        )
    else:
        ranked = np.argsort(-found.log_probs[kept], axis=1, kind="stable")
        others = np.where(ranked[:, 0] == labels, ranked[:, 1], ranked[:, 0])
    return [
        replace(example, answer=rendered.verbalizers[other])
        for example, other in zip(examples, others.tolist(), strict=True)
    ]


def _written(examples: Sequence[Example]) -> list[_Row]:
    """The rows that a provider's training file has for the examples."""
    return [row_of(example, _ANY_TRAINER) for example in examples]


def _split(row: Mapping[str, Any]) -> tuple[object, object]:
    """What is asked and what is answered, both as texts or both as messages."""
    if "messages" in row:
        return row["messages"][:-1], row["messages"][-1:]
    return row["prompt"], row["completion"]


def jsonl(rows: Sequence[_Row]) -> bytes:
    """Rows as JSON Lines."""
    # Characters beyond ASCII are escaped: lone surrogates of the data, and those that some
    # readers take for the end of a line.
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode("ascii")


def _csv(rows: Sequence[_Row]) -> bytes:
    check_unicode(rows, "csv")
    text = io.StringIO(newline="")
    # Lines end in \r\n, or Python 3.11 would leave a cell with a lone \r unquoted.
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\r\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode("utf-8")


def _parquet(rows: Sequence[_Row]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_unicode(rows, "parquet")
    texts = {"id", "label", "text"}
    # Given and not guessed: a column of nulls alone has a type too.
    schema = pa.schema(
        [(name, pa.string() if name in texts else pa.float64()) for name in rows[0]]
    )
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), file)
    return file.getvalue()


def check_unicode(rows: Sequence[_Row], form: str) -> None:
    """Refuse a row of texts that the form can't hold.

    Raises:
        InputError: it names the item.
    """
    for row in rows:
        try:
            "".join(
                part for pair in row.items() for part in pair if isinstance(part, str)
            ).encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"item {row['id']!r} has half a UTF-16 pair, which {form} can't hold: mend it, "
                "or export jsonl"
            ) from error


_TABLES = {"jsonl": jsonl, "csv": _csv, "parquet": _parquet}
