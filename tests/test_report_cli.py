"""`elicit report` as a user has it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from called import output, told

pytest.importorskip("llama_cpp", reason="needs the extra local")

import elicit
from elicit.cache.errors import InputError
from elicit.cli.tasks import open_task

TASK = """labels = ["False", "True"]
[data]
path = "rows.csv"
id = "id"
gold = "gold"
[prompt]
item = "{{ claim }}:"
separator = "\\n"
verbalizers = { False = " False", True = " True" }
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two finished runs."""
    cache = tmp_path_factory.mktemp("runs") / "e.db"
    task = open_task("claims", 24)
    elicit.label(task, "tiny", cache=cache, name="one")
    elicit.label(task, "tiny", cache=cache, name="two", method="icm", iterations=24)
    return cache


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def report(cache: Path, *arguments: str) -> dict[str, object]:
    found: dict[str, object] = told("report", *arguments, "--cache", str(cache))
    return found


def test_the_page_is_named_by_the_run_and_says_what_eval_says(runs: Path, folder: Path) -> None:
    said = report(runs, "one")
    assert said == {"report": "one.html", "run": "one", "status": "done", "plots": []}
    page = (folder / "one.html").read_text("utf-8")
    accuracy = told("eval", "one", "--cache", str(runs))["accuracy"]["value"]
    assert f"{100 * accuracy:.1f} %" in page
    assert "elicit run claims --model tiny" in re.sub(r"<[^>]+>", "", page)


def test_gold_labels_of_another_file_are_asked_for_by_its_name(
    runs: Path, folder: Path
) -> None:
    ids = [item.id for item in open_task("claims", 24).items]
    texts = [segment.text for segment in open_task("claims", 24).render().questions]
    rows = [f"{i},{t.rstrip(':')},True" for i, t in zip(ids, texts, strict=True)]
    (folder / "rows.csv").write_text("\n".join(["id,claim,gold", *rows]))
    (folder / "task.toml").write_text(TASK)
    report(runs, "one", "--gold", "task.toml")
    page = (folder / "one.html").read_text("utf-8")
    assert "task.toml" in page
    measured = told("eval", "one", "--gold", "task.toml", "--cache", str(runs))
    assert f"{100 * measured['accuracy']['value']:.1f} %" in page


def test_a_task_without_gold_has_a_page_that_says_so(folder: Path) -> None:
    (folder / "rows.csv").write_text("id,claim\na,Truskul fears fire\nb,Kribemor eats nuts\n")
    (folder / "task.toml").write_text(TASK.replace('gold = "gold"\n', ""))
    cache = folder / "e.db"
    output("run", "task.toml", "--name", "r", "--cache", str(cache))
    report(cache, "r")
    assert "names no gold column" in (folder / "r.html").read_text("utf-8")


def test_several_runs_are_put_side_by_side(runs: Path, folder: Path) -> None:
    said = report(runs, "one", "two", "--out", "both.html")
    assert said["runs"] == 2
    assert said["items"] == 24
    page = (folder / "both.html").read_text("utf-8")
    assert "one" in page
    assert "two" in page


def test_plots_are_drawn_beside_the_page(runs: Path, folder: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    said = report(runs, "two", "--plots", "plots")
    assert sorted(p.name for p in (folder / "plots").glob("objective.*")) == [
        "objective.csv",
        "objective.png",
        "objective.svg",
    ]
    assert "plots/temperature.svg" in said["plots"]  # type: ignore[operator]  # a list


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("onne",), "Did you mean 'one'"),
        (("one", "two", "--gold", "claims"), "--gold is for one run, and 2 are named"),
        (("one", "two", "--watch"), "--watch is for one run"),
        (("one", "one"), "named twice"),
        (("one", "--gold", "facts"), "no item has both a label and a gold label"),
        (("one", "--out", "/dev/null/x.html"), "can't be written"),
    ],
)
def test_bad_input_is_named(
    runs: Path,
    folder: Path,  # noqa: ARG001  nothing is to be written where tests run
    arguments: tuple[str, ...],
    said: str,
) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        report(runs, *arguments)


def test_a_run_of_a_task_made_in_python_reports_itself(folder: Path) -> None:
    task = elicit.Task(
        labels=[" False", " True"],
        items=[{"claim": "Truskul fears fire"}, {"claim": "Kribemor eats nuts"}],
        template="{{ claim }}:",
    )
    result = elicit.label(task, "tiny", cache=False)
    path = result.report("out/r.html")
    page = path.read_text("utf-8")
    assert "elicit.label(task, model=" in page
    assert "Kribemor eats nuts" in page
    elicit.label(task, "tiny", cache="e.db", name="r")
    with pytest.raises(InputError, match="made in Python"):
        report(folder / "e.db", "r")


@pytest.fixture
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A long search in a process of its own."""
    code = "from elicit.cli.main import main; main()"
    arguments = ("run", "claims", "--method", "icm", "--name", "long", "--chains", "50")
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"ELICIT_CACHE": str(folder / "e.db")},
    )
    yield process
    process.kill()
    process.communicate(timeout=60)


def test_a_page_follows_a_run_until_it_ends(
    folder: Path, running: subprocess.Popen[str]
) -> None:
    cache, page = folder / "e.db", folder / "long.html"
    deadline = time.monotonic() + 120
    while not (cache.exists() and told("runs", "--cache", str(cache))):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    code = "from elicit.cli.main import main; main()"
    watching = subprocess.Popen(
        [sys.executable, "-c", code, "report", "long", "--watch", "--cache", str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not page.exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert 'http-equiv="refresh"' in page.read_text("utf-8")
        first = page.stat().st_mtime_ns
        while page.stat().st_mtime_ns == first:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        running.kill()
        said, noted = watching.communicate(timeout=120)
    finally:
        watching.kill()
        watching.wait(timeout=60)
    assert "Ctrl-C ends this, not the run" in noted
    assert "interrupted" in said
    assert 'http-equiv="refresh"' not in page.read_text("utf-8")
