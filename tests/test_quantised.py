"""Quantised models are scored, whatever the processor; a crash of theirs is no test's end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs the extra local")
pytest.importorskip("gguf", reason="needs the extra dev")

from lora_models import write_random

SCORES = """
import json, sys
from contextlib import closing
from elicit.providers.base import ScoreRequest, Segment
from elicit.providers.registry import open_model

with closing(open_model(f"llama-cpp:{sys.argv[1]}")) as provider:
    requests = [ScoreRequest((Segment.of(f"{n} is so:"),), (" True", " False")) for n in "abc"]
    found = [scores.log_probs for unit in provider.score(requests) for _, scores in unit.scores]
print(json.dumps(found))
"""


def scored(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    done = subprocess.run(
        [sys.executable, "-c", SCORES, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return np.array(json.loads(done.stdout))


@pytest.mark.parametrize(("kind", "near"), [("BF16", 0.1), ("Q8_0", 0.3), ("Q4_0", 4.0)])
def test_a_model_of_fewer_bits_gives_nearly_the_scores_of_the_whole_one(
    kind: str, near: float, tmp_path: Path
) -> None:
    whole = scored(write_random(tmp_path / "whole.gguf"))
    fewer = scored(write_random(tmp_path / "fewer.gguf", kind=kind))
    assert whole.shape == fewer.shape == (3, 2)
    assert 0 < np.abs(whole - fewer).max() < near
