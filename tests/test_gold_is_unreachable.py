"""Gold labels can't reach a search: not by import, not through prompts, not through keys."""

from __future__ import annotations

import ast
import json
import random
from pathlib import Path

import pytest

from elicit.task_file import load_task

ROOT = Path(__file__).parent.parent
MAY_SEE_GOLD = {
    "elicit/gold.py",
    "elicit/demo.py",
    "elicit/cli/main.py",
    "elicit/cli/baselines.py",
}

TASK = """labels = ["False", "True"]
[data]
path = "rows.jsonl"
group = "g"
{gold}
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


@pytest.mark.parametrize("gold", ["none", "kept", "shuffled"])
def test_gold_changes_no_prompt_key_or_rule(tmp_path: Path, gold: str) -> None:
    rows = [{"g": i // 4, "claim": f"claim {i}", "label": i % 4 == 0} for i in range(24)]
    plain = [{k: v for k, v in row.items() if k != "label"} for row in rows]
    expected = written(tmp_path / "plain", plain, "")
    if gold == "none":
        rows = plain
    elif gold == "shuffled":
        labels = [row["label"] for row in rows]
        random.Random(1).shuffle(labels)
        rows = [row | {"label": label} for row, label in zip(rows, labels, strict=True)]
    column = "" if gold == "none" else 'gold = "label"'
    assert written(tmp_path / "other", rows, column) == expected


def written(folder: Path, rows: list[dict[str, object]], gold: str) -> tuple[object, ...]:
    folder.mkdir()
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "task.toml").write_text(TASK.format(gold=gold))
    task = load_task(folder / "task.toml")
    assert all("label" not in item.fields for item in task.items)
    rendered = task.render()
    return task.digest(), rendered.questions, rendered.shown, task.rules().pairs.tolist()
