"""Exports: what each form holds, what is left out, and that files come back as they were."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from elicit.cache.errors import InputError
from elicit.cache.runs import Run, RunStore
from elicit.cache.store import ScoreStore
from elicit.cli.export import export_run
from elicit.constraints import Constraint
from elicit.data import read_rows
from elicit.export import FORMATS, Format, export
from elicit.finetune.examples import examples_of
from elicit.finetune.sft_file import RULES, write_examples
from elicit.outcome import texts_of
from elicit.prompt import Template
from elicit.task import Item, Task
from elicit.task_file import load_task
from elicit.whole_file import save

LABELS = ("no", "maybe", "yes")
P = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3], [0.4, 0.3, 0.3]]
GIVEN = [0, 2, 1, -1]


def task_of(
    texts: Sequence[str], ids: Sequence[str] | None = None, labels: Sequence[str] = LABELS
) -> Task:
    names = ids or [f"i{k}" for k in range(len(texts))]
    return Task(
        labels=labels,
        items=[Item(i, {"text": text}) for i, text in zip(names, texts, strict=True)],
        template=Template("{{ text }}:", tuple(f" {name.upper()}" for name in labels)),
        instruction="Is it so?",
    )


TASK = task_of(["a", "b", "c", "d"])


def result_of(
    task: Task, labels: Sequence[int], p: Sequence[Sequence[float]], *, kept: bool = True
) -> dict[str, Any]:
    given = np.array(p, float)
    certain = given.max(axis=1) / np.sort(given, axis=1)[:, -2]
    return {
        "ids": [item.id for item in task.items],
        "texts": texts_of(task),
        "label_names": list(task.labels),
        "mean_coverage": 1.0,
        "chains": [
            {
                "labels": list(labels),
                "log_odds": np.log(certain).tolist(),
                "inconsistency": 0,
                "objective": 1.0,
                "log_probs": np.log(given).tolist() if kept else None,
            }
        ],
    }


def run_on(task: Task, result: dict[str, Any] | None) -> Run:
    return Run(
        *(1, "r", task.digest(), "", "tiny", "icm", {}, 0, 1, "done"), result, {}, 0.0, 0.0
    )


RUN = run_on(TASK, result_of(TASK, GIVEN, P))


def lines(form: Format, *, run: Run = RUN, task: Task = TASK, **options: Any) -> list[Any]:
    content = export(run, task, form, **options).content
    return [json.loads(line) for line in content.decode("ascii").splitlines()]


# Tables


def test_a_table_has_every_item_with_its_label_certainty_and_text() -> None:
    rows = lines("jsonl")
    assert list(rows[0]) == ["id", "label", "log_odds", "p_no", "p_maybe", "p_yes", "text"]
    assert [row["id"] for row in rows] == ["i0", "i1", "i2", "i3"]
    assert [row["label"] for row in rows] == ["no", "yes", "maybe", None]
    assert [row["text"] for row in rows] == ["a:", "b:", "c:", "d:"]
    assert rows[0]["log_odds"] == pytest.approx(np.log(0.7 / 0.2))
    assert [[row[f"p_{name}"] for name in LABELS] for row in rows] == [
        pytest.approx(row) for row in P
    ]


def test_csv_has_an_empty_cell_where_there_is_no_label() -> None:
    content = export(RUN, TASK, "csv").content.decode()
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    assert [row["label"] for row in rows] == ["no", "yes", "maybe", ""]
    assert [float(row["log_odds"]) for row in rows] == [
        row["log_odds"] for row in lines("jsonl")
    ]


def test_parquet_has_numbers_texts_and_nulls() -> None:
    table = pq.read_table(io.BytesIO(export(RUN, TASK, "parquet").content))
    assert table.to_pylist() == lines("jsonl")
    kinds = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert kinds == {
        **dict.fromkeys(("id", "label", "text"), "string"),
        **dict.fromkeys(("log_odds", "p_no", "p_maybe", "p_yes"), "double"),
    }


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_run_of_before_probabilities_were_kept_has_empty_columns_for_them(
    form: Format, tmp_path: Path
) -> None:
    run = run_on(TASK, result_of(TASK, GIVEN, P, kept=False))
    save(tmp_path / f"t.{form}", export(run, TASK, form).content)
    rows = [row.fields for row in read_rows(f"t.{form}", tmp_path)]
    assert [row["p_no"] for row in rows] == ["" if form == "csv" else None] * 4
    assert float(str(rows[0]["log_odds"])) > 0


def test_labels_named_like_columns_make_no_two_columns_of_one_name() -> None:
    names = ["id", "label", "log_odds", "text", "p_id"]
    task = task_of(["a"], labels=names)
    run = run_on(task, result_of(task, [0], [[0.5, 0.2, 0.1, 0.1, 0.1]]))
    (row,) = lines("jsonl", run=run, task=task)
    assert row["id"] == "i0"
    assert row["p_id"] == pytest.approx(0.5)
    assert len(row) == 4 + len(names)


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_certainty_without_bound_stays_infinite(form: Format, tmp_path: Path) -> None:
    result = result_of(TASK, GIVEN, P)
    result["chains"][0]["log_odds"][0] = float("inf")
    save(tmp_path / f"t.{form}", export(run_on(TASK, result), TASK, form).content)
    first = read_rows(f"t.{form}", tmp_path)[0].fields
    assert float(str(first["log_odds"])) == float("inf")


# Training files


def test_sft_is_the_prompt_and_the_label_as_it_is_scored() -> None:
    assert lines("sft") == [
        {"prompt": "a:", "completion": " NO"},
        {"prompt": "b:", "completion": " YES"},
        {"prompt": "c:", "completion": " MAYBE"},
    ]


def test_chat_rows_are_those_that_a_provider_is_sent(tmp_path: Path) -> None:
    examples = examples_of(TASK.render("turns"), ["i0", "i1", "i2", "i3"], np.array(GIVEN))
    write_examples(tmp_path / "f", examples, RULES["openai"])
    assert export(RUN, TASK, "chat").content == (tmp_path / "f").read_bytes()


def test_sft_as_a_chat_splits_the_same_messages_before_the_answer() -> None:
    for row, whole in zip(lines("sft", chat=True), lines("chat"), strict=True):
        assert row["prompt"] + row["completion"] == whole["messages"]
        assert [message["role"] for message in row["completion"]] == ["assistant"]


def test_dpo_rejects_the_likeliest_other_label() -> None:
    assert lines("dpo") == [
        {"prompt": "a:", "chosen": " NO", "rejected": " MAYBE"},
        {"prompt": "b:", "chosen": " YES", "rejected": " MAYBE"},
        {"prompt": "c:", "chosen": " MAYBE", "rejected": " YES"},
    ]
    assert lines("dpo", chat=True)[2] == {
        "prompt": lines("sft", chat=True)[2]["prompt"],
        "chosen": [{"role": "assistant", "content": "MAYBE"}],
        "rejected": [{"role": "assistant", "content": "YES"}],
    }


def test_dpo_never_rejects_the_label_itself_where_no_other_is_possible() -> None:
    task = task_of(["a", "b", "c"])
    with np.errstate(divide="ignore"):
        result = result_of(task, [0, 1, 2], (np.eye(3) + 0.0).tolist())
    result["chains"][0]["log_odds"] = [1.0, 1.0, 1.0]
    for row in lines("dpo", run=run_on(task, result), task=task):
        assert row["chosen"] != row["rejected"]


def test_of_two_labels_the_other_is_rejected_whatever_is_known_of_it() -> None:
    task = task_of(["a", "b"], labels=["no", "yes"])
    run = run_on(task, result_of(task, [1, 0], [[0.9, 0.1], [0.6, 0.4]], kept=False))
    assert [row["rejected"] for row in lines("dpo", run=run, task=task)] == [" NO", " YES"]


def test_of_more_labels_the_one_to_reject_must_be_known() -> None:
    run = run_on(TASK, result_of(TASK, GIVEN, P, kept=False))
    with pytest.raises(InputError, match=r"'r' kept no probabilities.*run it again"):
        export(run, TASK, "dpo")


# What is left out


def test_less_certain_labels_are_left_out_of_every_form() -> None:
    bound = float(np.log(1.8))
    for form in FORMATS:
        made = export(RUN, TASK, form, min_log_odds=bound)
        assert (made.rows, made.left_out) == (2, 2)
    assert [row["id"] for row in lines("jsonl", min_log_odds=bound)] == ["i0", "i1"]
    assert [row["prompt"] for row in lines("sft", min_log_odds=bound)] == ["a:", "b:"]
    assert [row["prompt"] for row in lines("dpo", min_log_odds=bound)] == ["a:", "b:"]


def test_a_bound_that_nothing_reaches_is_an_error_that_names_it() -> None:
    for form in FORMATS:
        with pytest.raises(InputError, match=r"'r' has no label with log-odds of 9.0 or more"):
            export(RUN, TASK, form, min_log_odds=9.0)


def test_a_run_that_abstained_from_all_has_a_table_but_nothing_to_train_on() -> None:
    run = run_on(TASK, result_of(TASK, [-1] * 4, P))
    assert [row["label"] for row in lines("jsonl", run=run)] == [None] * 4
    with pytest.raises(InputError, match="'r' has no label: nothing is left to export"):
        export(run, TASK, "sft")


# What is refused


@pytest.mark.parametrize("form", FORMATS)
def test_a_run_that_is_not_finished_is_refused_with_how_to_finish_it(form: Format) -> None:
    with pytest.raises(InputError, match="'r' has no labels yet: elicit resume r"):
        export(replace(RUN, result=None), TASK, form)


@pytest.mark.parametrize(
    "other",
    [
        task_of(["a", "b", "c", "other"]),
        task_of(["a", "b", "c", "d"], ["i1", "i0", "i2", "i3"]),
        task_of(["b", "a", "c", "d"]),
        Task(
            labels=LABELS,
            items=TASK.items,
            template=Template("{{ text }}:", (" NO", " HM", " YES")),
            instruction=TASK.instruction,
        ),
        Task(
            labels=LABELS,
            items=TASK.items,
            template=TASK.template,
            instruction=TASK.instruction,
            constraints=[Constraint("at_most_one", "yes", by="text")],
        ).head(4),
        Task(labels=LABELS, items=TASK.items, template=TASK.template, instruction="Is it?"),
    ],
    ids=["text", "ids", "order", "verbalizer", "same", "instruction"],
)
@pytest.mark.parametrize("form", FORMATS)
def test_a_task_that_changed_is_refused(
    other: Task, form: Format, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.id.endswith("same"):
        # A rule that binds no two items changes nothing.
        assert export(RUN, other, form) == export(RUN, TASK, form)
        return
    with pytest.raises(InputError, match=r"'r': the task task has changed since"):
        export(RUN, other, form)


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_table_is_no_chat(form: Format) -> None:
    with pytest.raises(InputError, match=f"{form} has no prompts to write as a chat"):
        export(RUN, TASK, form, chat=True)


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "jsonl"])
def test_half_a_utf_16_pair_is_refused_by_its_item_where_no_reader_takes_it(
    form: Format,
) -> None:
    task = task_of(["fine", "half \ud83d"])
    run = run_on(task, result_of(task, [0, 0], P[:2]))
    with pytest.raises(InputError, match=r"i1.* half a UTF-16 pair"):
        export(run, task, form)
    assert lines("jsonl", run=run, task=task)[1]["text"] == "half \ud83d:"


# The round trip


def carried_by_json(text: str) -> bool:
    """Two halves of a pair side by side are one character to JSON."""
    return bool(json.loads(json.dumps(text)) == text)


ANY_TEXT = st.text(st.characters(exclude_categories=()), min_size=1).filter(
    lambda text: text.strip() != "" and carried_by_json(text)
)
TEXTS = st.one_of(
    ANY_TEXT,
    st.sampled_from(
        ["a,b", '"', "x\ry", "x\r\ny\n", "\u2028\x85", "\ufeffx", "=1+1", "\x00", " x "]
    ),
    st.just("long " * 20_000),
)
WORLDS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5, unique_by=lambda p: p[0])


@given(WORLDS, st.data())
def test_tables_come_back_as_they_were(
    world: list[tuple[str, str]], data: st.DataObject
) -> None:
    ids, texts = zip(*world, strict=True)
    task = task_of(texts, ids)
    n = len(ids)
    given = data.draw(st.lists(st.integers(-1, 2), min_size=n, max_size=n))
    p = np.random.default_rng(n).dirichlet(np.ones(3), n)
    run = run_on(task, result_of(task, given, p.tolist()))
    rows = lines("jsonl", run=run, task=task)
    assert [(row["id"], row["text"]) for row in rows] == [(i, f"{t}:") for i, t in world]
    assert [row["label"] for row in rows] == [None if k < 0 else LABELS[k] for k in given]
    try:
        "".join(map("".join, world)).encode()
    except UnicodeEncodeError:
        for form in ("csv", "parquet"):
            with pytest.raises(InputError, match="half a UTF-16 pair"):
                export(run, task, form)
        return
    parquet = export(run, task, "parquet").content
    assert pq.read_table(io.BytesIO(parquet)).to_pylist() == rows
    text = export(run, task, "csv").content.decode()
    found = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    told = [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows]
    assert found == told


@given(WORLDS)
def test_training_rows_come_back_as_they_were_one_a_line(world: list[tuple[str, str]]) -> None:
    ids, texts = zip(*world, strict=True)
    task = task_of(texts, ids)
    run = run_on(task, result_of(task, [0] * len(ids), [P[0]] * len(ids)))
    if any("\ud800" <= character <= "\udfff" for text in texts for character in text):
        with pytest.raises(InputError, match="half a UTF-16 pair"):
            export(run, task, "sft")
        return
    assert [row["prompt"] for row in lines("sft", run=run, task=task)] == [
        f"{text}:" for text in texts
    ]
    asked = [
        row["prompt"][-1]["content"] for row in lines("dpo", run=run, task=task, chat=True)
    ]
    assert asked == [f"{text}:" for text in texts]


# Files


def test_a_file_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, why in (
        (tmp_path, "is a folder; name a file"),
        (tmp_path / "file" / "t.csv", "can't be written: .*File exists"),
    ):
        with pytest.raises(InputError, match=rf"{path}: {why}"):
            save(path, b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_older_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        save(tmp_path / "sub" / "t.csv", content)
    assert (tmp_path / "sub" / "t.csv").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["t.csv"]


# The command

FILE = """labels = ["no", "maybe", "yes"]
[data]
path = "rows.jsonl"
id = "id"
[prompt]
item = "{{ text }}:"
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A store with a finished run "r" and an unfinished one "begun"."""
    rows = [{"id": f"i{k}", "text": text} for k, text in enumerate("abcd☃")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "task.toml").write_text(FILE)
    task = load_task(tmp_path / "task.toml", 4)
    with ScoreStore(tmp_path / "e.db") as store:
        runs = RunStore(store)
        for name in ("r", "begun"):
            run = runs.create(
                name,
                task_digest=task.digest(),
                task_path=task.path,
                model="m",
                method="icm",
                settings={"items": 4},
                seed=0,
                chains=1,
            )
            if name == "r":
                runs.finish(run.id, "done", result_of(task, GIVEN, P))
    return tmp_path / "e.db"


def called(cache: Path, name: str, *arguments: str) -> bytes:
    app = typer.Typer()
    app.command()(export_run)
    found = CliRunner().invoke(app, [name, "--cache", str(cache), *arguments])
    if found.exception is not None:
        raise found.exception
    return found.stdout_bytes


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "parquet"])
def test_what_is_printed_is_what_is_written(form: Format, cache: Path) -> None:
    path = cache.parent / "out" / "file"
    said = called(cache, "r", "--format", form, "--out", str(path))
    assert called(cache, "r", "--format", form) == path.read_bytes()
    assert str(path).encode() in said


def test_json_tells_what_was_written(cache: Path) -> None:
    path = cache.parent / "t.parquet"
    arguments = ("--format", "parquet", "--out", str(path), "--min-log-odds", "0.6")
    assert json.loads(called(cache, "r", *arguments, "--json")) == {
        "run": "r",
        "format": "parquet",
        "rows": 2,
        "left_out": 2,
        "path": str(path),
    }
    assert pq.read_table(path).num_rows == 2


def test_the_command_exports_jsonl_where_no_form_is_named(cache: Path) -> None:
    assert len(called(cache, "r").splitlines()) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("begun",), "'begun' has no labels yet: elicit resume begun"),
        (("r", "--format", "parquet"), r"parquet is no text to print: name a file \(--out\)"),
        (("r", "--json"), r"--json tells of a file .*\(--out\)"),
        (("r", "--chat"), "jsonl has no prompts"),
        (("r", "--min-log-odds", "99"), "no label with log-odds of 99.0 or more"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(
    arguments: tuple[str, ...], words: str, cache: Path
) -> None:
    with pytest.raises(InputError, match=words):
        called(cache, *arguments)


def test_the_command_refuses_a_form_that_there_is_not(cache: Path) -> None:
    with pytest.raises(SystemExit) as refused:
        called(cache, "r", "--format", "xml")
    assert refused.value.code == 2


def test_a_task_file_that_changed_is_refused_and_leaves_no_file(cache: Path) -> None:
    task = cache.with_name("task.toml")
    task.write_text(FILE.replace("}}:", "}}?"))
    with pytest.raises(InputError, match=r"task.toml has changed since"):
        called(cache, "r", "--out", str(cache.parent / "t.jsonl"))
    assert not (cache.parent / "t.jsonl").exists()
