"""Results of the benchmark of alignment: those of two designs are kept apart."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the extra local")
pytest.importorskip("trl", reason="needs the extra align")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from align import ANNOTATORS, REWARD, design_of, run, show


def results(folder: Path, *seconds: str) -> Path:
    path = folder / "results.jsonl"
    rows = [{"seed": seed, "second": second} for seed, second in enumerate(seconds)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_results_that_do_not_say_are_of_before_there_was_a_choice() -> None:
    assert design_of([{"seed": 0}, {"seed": 1, "second": REWARD}]) == REWARD


def test_results_of_two_designs_are_not_shown_together(tmp_path: Path) -> None:
    path = results(tmp_path, REWARD, ANNOTATORS)
    with pytest.raises(SystemExit, match="annotators and reward; they are not to be mixed"):
        show(Namespace(results=path, json=False, plots=None))


def test_results_of_another_design_are_not_added_to(tmp_path: Path) -> None:
    path = results(tmp_path, REWARD)
    asked = Namespace(results=path, seeds="1:2", second=ANNOTATORS, work=tmp_path, steps=1)
    with pytest.raises(SystemExit, match="holds results of --second reward"):
        run(asked)
    assert len(path.read_text().splitlines()) == 1
