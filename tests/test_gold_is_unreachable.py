"""Labels from outside, gold or human, can't reach a search: not by import, not through
prompts, not through keys."""

from __future__ import annotations

import ast
import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from elicit.gold import load_gold, load_human
from elicit.prompt import TaskError
from elicit.task_file import load_task

ROOT = Path(__file__).parent.parent
MAY_SEE_GOLD = {
    "elicit/gold.py",
    "elicit/cli/align.py",
    "elicit/demo.py",
    "elicit/run_gold.py",
    "elicit/cli/baselines.py",
}
SEARCHES = (
    "elicit/search/icm.py",
    "elicit/search/bootstrap.py",
    "elicit/run.py",
    "elicit/labelling.py",
)
KINDS = ("gold", "human")

TASK = """labels = ["False", "True"]
[data]
path = "rows.jsonl"
group = "g"
{columns}
[prompt]
item = "{{{{ claim }}}}:"
[[constraint]]
kind = "exactly_one"
label = "True"
by = "g"
"""


def sources() -> list[Path]:
    found = []
    for folder in ("elicit", "providers", "cache"):
        found += [p for p in (ROOT / folder).rglob("*.py") if "elicit/providers" not in str(p)]
    return [p for p in found if "elicit/cache" not in str(p)]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_only_evaluation_imports_gold() -> None:
    seers = {str(p.relative_to(ROOT)) for p in sources() if "elicit.gold" in imported(p)}
    assert seers <= MAY_SEE_GOLD


def test_nothing_that_a_search_imports_leads_to_gold() -> None:
    module_of = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in sources()}
    module_of |= {name.removesuffix(".__init__"): p for name, p in module_of.items()}
    module_of |= {
        f"elicit.{name}": p
        for name, p in module_of.items()
        if name.startswith(("cache", "providers"))
    }
    reached: set[str] = set()
    waiting = [imported(ROOT / path) for path in SEARCHES]
    while waiting:
        new = {name for name in waiting.pop() if name in module_of} - reached
        reached |= new
        waiting += [imported(module_of[name]) for name in new]
    assert "elicit.scorer" in reached
    assert reached.isdisjoint(
        {"elicit.gold", "elicit.run_gold", "elicit.baseline_table", "elicit.evaluate"}
    )


def test_dependencies_point_one_way() -> None:
    above = {"cache": ("elicit.",), "providers": ("elicit.",)}
    allowed = {
        "cache": ("elicit.cache",),
        "providers": ("elicit.cache", "elicit.providers"),
    }
    for path in sources():
        package = path.relative_to(ROOT).parts[0]
        for name in imported(path):
            if package in above and name.startswith(above[package]):
                assert name.startswith(allowed[package]), f"{path} imports {name}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", ["none", "kept", "shuffled"])
def test_labels_from_outside_change_no_prompt_key_or_rule(
    tmp_path: Path, change: str, kind: str
) -> None:
    rows = [{"g": i // 4, "claim": f"claim {i}", "label": i % 4 == 0} for i in range(24)]
    plain = [{k: v for k, v in row.items() if k != "label"} for row in rows]
    expected = written(tmp_path / "plain", plain, "")
    if change == "none":
        rows = plain
    elif change == "shuffled":
        labels = [row["label"] for row in rows]
        random.Random(1).shuffle(labels)
        rows = [row | {"label": label} for row, label in zip(rows, labels, strict=True)]
    column = "" if change == "none" else f'{kind} = "label"'
    assert written(tmp_path / "other", rows, column) == expected


def written(folder: Path, rows: list[dict[str, object]], columns: str) -> tuple[object, ...]:
    task = load_task(task_file(folder, rows, columns))
    assert all("label" not in item.fields for item in task.items)
    rendered = task.render()
    return task.digest(), rendered.questions, rendered.shown, task.rules().pairs.tolist()


def task_file(
    folder: Path, rows: list[dict[str, object]], columns: str, text: str = TASK
) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "task.toml").write_text(text.format(columns=columns))
    return folder / "task.toml"


ROWS: list[dict[str, object]] = [
    {"id": "a", "g": 1, "claim": "one", "label": True, "said": "True"},
    {"id": "b", "g": 1, "claim": "two", "label": False, "said": ""},
    {"id": "c", "g": 2, "claim": "three", "label": True, "said": False},
]
BOTH = 'id = "id"\ngold = "label"\nhuman = "said"'


def test_each_column_is_loaded_by_id_as_numbers_of_labels(tmp_path: Path) -> None:
    path = task_file(tmp_path, ROWS, BOTH)
    gold, human = load_gold(path, ["c", "a", "b", "z"]), load_human(path, ["c", "a", "b", "z"])
    assert gold is not None
    assert human is not None
    assert gold.tolist() == [1, 1, 0, -1]
    assert human.tolist() == [0, 1, -1, -1]


def test_a_task_without_the_column_has_no_such_labels(tmp_path: Path) -> None:
    path = task_file(tmp_path, ROWS, 'id = "id"\ngold = "label"')
    assert load_human(path, ["a"]) is None
    assert load_gold(path, ["a"]) is not None


@pytest.mark.parametrize(("kind", "load"), [("gold", load_gold), ("human", load_human)])
def test_a_value_that_is_no_label_is_named_with_its_row_and_column(
    tmp_path: Path, kind: str, load: Callable[[Path, list[str]], object]
) -> None:
    path = task_file(tmp_path, [{**ROWS[0], "label": "maybe"}], f'{kind} = "label"')
    with pytest.raises(TaskError, match=f"line 1: {kind} value 'maybe' is not one of the lab"):
        load(path, ["1"])
    path = task_file(tmp_path, ROWS, f'{kind} = "gone"')
    with pytest.raises(TaskError, match=rf"line 1: \[data\] {kind}: there is no field 'gone'"):
        load(path, ["1"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("{{{{ claim }}}}", "{{{{ claim }}}} {{{{ said }}}}", r"\[prompt\] item uses 'said'"),
        ('group = "g"', 'group = "said"', r"\[data\] group is 'said'"),
        ('group = "g"', 'group = "g"\nid = "said"', r"\[data\] id is 'said'"),
        ('by = "g"', 'by = "said"', r"exactly_one: by is 'said'"),
    ],
)
def test_a_task_that_uses_the_column_is_refused(
    tmp_path: Path, kind: str, before: str, after: str, what: str
) -> None:
    text = TASK.replace(before, after)
    assert text != TASK
    path = task_file(tmp_path, ROWS, f'{kind} = "said"', text)
    with pytest.raises(TaskError, match=f"{what}, the {kind} column"):
        load_task(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_that_is_not_there_is_refused_before_its_labels_could_be_shown(
    tmp_path: Path, kind: str
) -> None:
    nested: list[dict[str, object]] = [{"g": 1, "claim": {"text": "one", "label": "True"}}]
    text = TASK.replace("{{{{ claim }}}}", "{{{{ claim.text }}}} {{{{ claim.label }}}}")
    path = task_file(tmp_path, nested, f'{kind} = "claim.label"', text)
    why = rf"rows.jsonl line 1: \[data\] {kind}: there is no field 'claim.label'"
    with pytest.raises(TaskError, match=why):
        load_task(path)
    path = task_file(tmp_path, ROWS, f'{kind} = "lable"')
    with pytest.raises(TaskError, match="no field 'lable'; did you mean 'label'"):
        load_task(path)


NUMBERS = TASK.replace('"False", "True"', '"0", "1"').replace('label = "True"', 'label = "1"')


@pytest.mark.parametrize("missing", [None, "", math.nan])
def test_whole_numbers_are_labels_of_those_digits_and_no_number_is_none(
    tmp_path: Path, missing: object
) -> None:
    values: list[object] = [0, 1.0, missing, "1"]
    rows: list[dict[str, object]] = [{"g": 1, "claim": "c", "label": value} for value in values]
    gold = load_gold(task_file(tmp_path, rows, 'gold = "label"', NUMBERS), ["1", "2", "3", "4"])
    assert gold is not None
    assert gold.tolist() == [0, 1, -1, 1]


@pytest.mark.parametrize("value", [0.5, 2, pytest.param(10**400, id="huge"), math.inf])
def test_other_numbers_are_no_label(tmp_path: Path, value: object) -> None:
    rows: list[dict[str, object]] = [{"g": 1, "claim": "c", "label": value}]
    with pytest.raises(TaskError, match="is not one of the labels 0, 1"):
        load_gold(task_file(tmp_path, rows, 'gold = "label"', NUMBERS), ["1"])


def test_human_labels_that_are_the_gold_ones_are_refused(tmp_path: Path) -> None:
    path = task_file(tmp_path, ROWS, 'gold = "label"\nhuman = "label"')
    with pytest.raises(TaskError, match=r"\[data\] human is 'label', the gold column"):
        load_task(path)
