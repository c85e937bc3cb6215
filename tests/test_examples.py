"""Every example runs as a process of its own and prints what it says."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from servers import Server

pytest.importorskip("llama_cpp", reason="needs the extra local")

FOLDER = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py"))


def run(script: str, folder: Path, *arguments: str | Path) -> str:
    """What an example prints that is run in an empty folder with a store of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", FOLDER / script, *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=folder,
        env={**os.environ, "ELICIT_CACHE": str(folder / "e.db"), "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def counted(pattern: str, printed: str) -> list[int]:
    found = re.search(pattern, printed)
    assert found is not None, printed
    return [int(number) for number in found.groups()]


def test_there_are_six_each_under_a_page_and_listed() -> None:
    assert [name[:2] for name in SCRIPTS] == ["01", "02", "03", "04", "05", "06"]
    listed = (FOLDER / "README.md").read_text("utf-8")
    for name in SCRIPTS:
        text = (FOLDER / name).read_text("utf-8")
        assert len(text.splitlines()) < 70
        assert text.startswith('"""')
        assert f"python {name}" in text
        assert f"[{name}]({name})" in listed
    for package in FOLDER.glob("*/pyproject.toml"):
        assert f"({package.parent.name}/README.md)" in listed


def test_claims_are_mostly_right(tmp_path: Path) -> None:
    printed = run("01_claims.py", tmp_path)
    right, of = counted(r"right: (\d+) of (\d+)", printed)
    assert of == 64
    assert right >= 56
    assert len(re.findall(r"^  .*: (?:True|False) \(-?\d+\.\d nats\)$", printed, re.M)) == 3


def test_sums_get_labels_without_contradiction(tmp_path: Path) -> None:
    printed = run("02_maths.py", tmp_path)
    assert counted(r"items: (\d+), called right: (\d+)", printed)[0] == 32
    assert counted(r"contradictions: (\d+)", printed) == [0]


def test_solutions_are_read_from_a_file(tmp_path: Path) -> None:
    row = {"question": "Two and two?", "id": "a"}
    rows = [
        {**row, "solution": "2 + 2 = <<2+2=4>>4\nA: 4", "answer": "4", "label": True},
        {**row, "solution": "It is 4.\nA: 4", "answer": "4", "label": True},
        {**row, "solution": "22\nA: 22", "answer": "22", "label": False},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    printed = run("02_maths.py", tmp_path, "rows.jsonl")
    assert counted(r"labels that are right: (\d+) of (\d+)", printed)[1] == 3
    assert counted(r"contradictions: (\d+)", printed) == [0]


def test_preferences_are_mostly_right(tmp_path: Path) -> None:
    printed = run("03_preferences.py", tmp_path)
    right, of = counted(r"right: (\d+) of (\d+) pairs", printed)
    assert of == 60
    assert right >= 51
    assert printed.count(", rather than ") == 3


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def test_a_csv_comes_back_with_labels(tmp_path: Path) -> None:
    printed = run("04_own_csv.py", tmp_path)
    given, made = table(tmp_path / "claims.csv"), table(tmp_path / "reviewed.csv")
    assert "wrote 60 rows" in printed
    assert [row["claim"] for row in made] == [row["claim"] for row in given]
    assert {row["label"] for row in made} == {"True", "False"}
    assert len(re.findall(r"^  .*: (?:True|False) \(\d\.\d{3}\)$", printed, re.M)) == 3
    assert all(0 <= float(row["probability"]) <= 1 for row in made)


def test_a_csv_that_is_there_is_kept(tmp_path: Path) -> None:
    text = "claim\n" + "".join(f"Truskul fears {x}\n" for x in ("fire", "ghosts", "bees"))
    (tmp_path / "claims.csv").write_text(text)
    (tmp_path / "claims.toml").write_text(
        'labels = ["False", "True"]\n[data]\npath = "claims.csv"\n'
        '[prompt]\nitem = "{{ claim }}:"\n'
    )
    assert "wrote 3 rows" in run("04_own_csv.py", tmp_path, tmp_path)
    assert (tmp_path / "claims.csv").read_text() == text


def test_a_hosted_run_stops_at_its_budget_and_pays_for_nothing_twice(
    llama_cpp: Server, tmp_path: Path
) -> None:
    pytest.importorskip("openai", reason="needs the extra hosted")
    address = f"{llama_cpp.url}#{llama_cpp.model}"
    totals = []
    for name, requests in (("small", 30), ("large", 1000)):
        folder = tmp_path / name
        folder.mkdir()
        printed = run("05_hosted_budget.py", folder, address, str(requests))
        turns = [int(n) for n in re.findall(r"^turn \d+: (\d+) requests", printed, re.M)]
        assert all(turn <= requests for turn in turns)
        assert printed.count("budget reached") == len(turns) - 1
        total = counted(r"(\d+) requests in all", printed)[0]
        assert sum(turns) == total
        totals.append((len(turns), total))
    (turns_small, paid_small), (turns_large, paid_large) = totals
    assert turns_small > 1
    assert turns_large == 1
    assert paid_small == paid_large


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("torch", "peft", "transformers", "gguf")),
    reason="needs the extra lora",
)
def test_a_model_tuned_on_its_own_labels_is_better_alone(tmp_path: Path) -> None:
    printed = run("06_finetune_and_use.py", tmp_path)
    before, of = counted(r"before: (\d+) of (\d+) right", printed)
    after, _ = counted(r"after:  (\d+) of (\d+) right", printed)
    assert of == 48
    assert after >= before + 12
    assert re.search(r"the tuned model: tiny\+.*\.gguf$", printed, re.M)
