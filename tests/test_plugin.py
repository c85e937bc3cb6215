"""Providers of other packages: the example, built, installed and used; and ones that fail."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elicit.labelling import label, metered, open_store
from elicit.providers.base import (
    Halted,
    ModelError,
    ProviderError,
    ScoredUnit,
    ScoreRequest,
    Segment,
)
from elicit.providers.registry import open_model
from elicit.providers.usage import BudgetReached, Limits
from elicit.task import Task

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "elicit-provider-ngram"
TRAINING = "A fox eats grapes: True\nA fox eats stones: False\n" * 3


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example as pip installs it, beside what this interpreter has."""
    folder = tmp_path_factory.mktemp("plugin")
    # A build leaves files beside the sources.
    shutil.copytree(EXAMPLE, folder / "source")
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", "site", "./source"],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder / "text").write_text(TRAINING)
    return folder


def elicit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line as a user has it, with what is installed in the folder."""
    return subprocess.run(
        [sys.executable, "-c", "from elicit.cli.main import main; main()", *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=folder,
        env={
            **os.environ,
            "ELICIT_CACHE": str(folder / "e.db"),
            "PYTHONPATH": str(folder / "site"),
        },
        check=False,
    )


# The example


def test_the_example_labels_a_task_on_the_command_line(installed: Path) -> None:
    command = ("run", "claims", "--limit", "24", "--model", "ngram:text", "--json")
    found = json.loads(elicit(installed, *command).stdout)
    assert found["model"] == "ngram:text"
    assert found["items"] == 24
    assert set(found["labels"]) == {"True", "False"}
    assert found["inconsistency"] == 0
    assert found["usage"]["requests"] > 0
    again = json.loads(elicit(installed, *command).stdout)
    assert again["usage"]["requests"] == 0
    assert again["rows"] == found["rows"]


def test_another_text_is_another_model(installed: Path) -> None:
    (installed / "other").write_text(TRAINING.replace("grapes", "plums"))
    command = ("run", "claims", "--limit", "8", "--json", "--model")
    for name in ("text", "other"):
        found = json.loads(elicit(installed, *command, f"ngram:{name}").stdout)
        assert found["usage"]["requests"] > 0


def test_doctor_tells_that_its_probabilities_are_exact(installed: Path) -> None:
    found = json.loads(elicit(installed, "doctor", "--model", "ngram:text", "--json").stdout)
    assert found["evidence"] == "exact"
    assert found["largest_change"] == 0


def test_a_budget_stops_it_and_the_run_goes_on(installed: Path) -> None:
    name = ("--name", "bounded", "--max-tokens-spent", "3000")
    command = ("run", "claims", "--limit", "20", "--model", "ngram:text", *name)
    stopped = elicit(installed, *command)
    assert stopped.returncode == 3
    assert "budget reached" in stopped.stderr
    gone_on = json.loads(elicit(installed, "resume", "bounded", "--json").stdout)
    assert gone_on["usage"]["cached"] > 0


def test_its_probabilities_are_those_of_a_distribution_and_of_what_it_read(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(installed / "site")
    monkeypatch.chdir(installed)
    bytes_ = tuple(chr(b) for b in range(128))
    prompt = (Segment.of("A hen eats stones: False\n"), Segment.of("A hen eats grapes:"))
    model = open_model("ngram:text")
    asked = [ScoreRequest(prompt, bytes_), ScoreRequest(prompt, (" True", " False"))]
    known = {i: s.log_probs for unit in model.score(asked) for i, s in unit.scores}
    # The text is ASCII; the other half of all bytes never occurred.
    unseen = 128 * math.exp(min(known[0]))
    assert math.fsum(map(math.exp, known[0])) + unseen == pytest.approx(1)
    assert known[1][0] > math.log(0.5) > known[1][1]
    model.close()


def test_a_missing_text_is_told(installed: Path) -> None:
    done = elicit(installed, "run", "claims", "--model", "ngram:nowhere")
    assert done.returncode == 2
    assert "ngram:nowhere: nowhere can't be read: No such file" in done.stderr


# Plugins that fail

BROKEN = """
from elicit.providers.base import *

class Model:
    name = "odd:x"
    identity = Identity("odd", "x")
    capabilities = Capabilities("exact", None, True)
    def count_tokens(self, requests): return None
    def close(self): pass
    def score(self, requests, budget=UNBOUNDED):
        SCORE

def open_model(rest):
    OPEN
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Installs a package `odd-package` that answers to `odd:`."""

    def install(score: str = "pass", opens: str = "return Model()", name: str = "odd") -> None:
        module = f"{name}_module"
        site = tmp_path / name
        info = site / f"{name}_package-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: {name}-package\nVersion: 1\n")
        (info / "entry_points.txt").write_text(
            f"[elicit.providers]\nodd = {module}:open_model\n"
        )
        text = BROKEN.replace("SCORE", score).replace("OPEN", opens)
        (site / f"{module}.py").write_text(text)
        monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.syspath_prepend(site)

    yield install
    for name in ("odd_module", "even_module"):
        sys.modules.pop(name, None)


def task() -> Task:
    return Task(
        labels=["no", "yes"], items=[{"t": str(i)} for i in range(4)], template="{{ t }}"
    )


UNIT = "yield ScoredUnit(((INDEX, LabelScores((VALUES))),), Usage(requests=1))"


@pytest.mark.parametrize(
    ("score", "said"),
    [
        ("1 / 0", "odd-package failed while odd:x was asked: ZeroDivisionError: division by"),
        ("return None", r"odd-package: score\(\) gave NoneType, not a generator"),
        ("yield 3", "odd-package failed while odd:x was asked: AttributeError: "),
        ("yield from ()", "answered 0 of 4 prompts; nothing was made up for the rest"),
        (UNIT.replace("INDEX", "0").replace("VALUES", "-1.0,"), "1 log-probabilities for 2"),
        (UNIT.replace("INDEX", "0").replace("VALUES", "-1, -1, -2"), "gave 3 log-prob.* for 2"),
        (UNIT.replace("INDEX", "9").replace("VALUES", "-1, -1"), "request 9, which is none"),
        (UNIT.replace("INDEX", "-1").replace("VALUES", "-1, -1"), "request -1, which is none"),
        (UNIT.replace("INDEX", "0").replace("VALUES", "0.5, -1"), "not a log-probability: 0.5"),
        (
            UNIT.replace("INDEX", "0").replace("VALUES", "float('nan'), -1"),
            "not a log-prob.*nan",
        ),
    ],
)
def test_what_a_plugin_does_wrong_is_told_and_never_stored(
    score: str, said: str, plugin: Any, tmp_path: Path
) -> None:
    plugin(score)
    with pytest.raises(ProviderError, match=said):
        label(task(), "odd:x", cache=tmp_path / "e.db")
    assert stored(tmp_path / "e.db") == 0


def test_a_second_answer_to_one_prompt_is_told_and_not_stored(
    plugin: Any, tmp_path: Path
) -> None:
    plugin("for i in (0, 0): " + UNIT.replace("INDEX", "i").replace("VALUES", "-1, -1"))
    with pytest.raises(ProviderError, match="request 0, which is none of the 4 that are open"):
        label(task(), "odd:x", cache=tmp_path / "e.db")
    assert stored(tmp_path / "e.db") == 1


def stored(path: Path) -> int:
    with open_store(path) as store:
        return store.stats().scores


@pytest.mark.parametrize(
    ("opens", "said"),
    [
        (
            "raise RuntimeError('no GPU')",
            "odd:x can't be opened by the package odd-package: Run",
        ),
        ("import nowhere_at_all", "odd-package: ModuleNotFoundError: No module named 'nowhere"),
        ("return None", "what the package odd-package opened is no provider: it has no name"),
        ("return object()", "no name, identity, capabilities, score, count_tokens, close"),
        ("raise ModelError('odd: write odd:FILE')", "^odd: write odd:FILE$"),
    ],
)
def test_a_plugin_that_can_not_open_its_model_is_named(
    opens: str, said: str, plugin: Any
) -> None:
    plugin(opens=opens)
    with pytest.raises(ModelError, match=said):
        open_model("odd:x")


def test_an_error_of_elicit_s_own_passes_as_it_is(plugin: Any) -> None:
    plugin("budget.reserve(Usage(requests=1, forwarded_tokens=9)); yield")
    with pytest.raises(BudgetReached, match="9"):
        label(task(), "odd:x", cache=False, limits=Limits(tokens=5))


def test_an_unknown_prefix_is_told_with_those_that_packages_answer_to(plugin: Any) -> None:
    plugin()
    with pytest.raises(ModelError, match=r"unknown model 'od:x'; did you mean odd\? .*, odd\)"):
        open_model("od:x")


def test_two_packages_of_one_prefix_are_an_error_that_names_both(plugin: Any) -> None:
    plugin()
    plugin(name="even")
    with pytest.raises(ModelError, match="even-package and the package odd-package both"):
        open_model("odd:x")


def test_a_plugin_that_is_asked_to_end_yields_what_is_under_way(plugin: Any) -> None:
    plugin(
        """
        def one(i): return ScoredUnit(((i, LabelScores((-1.0, -1.0))),), Usage(requests=1))
        try:
            yield one(0)
            yield one(1)
        except Halted:
            yield one(3)
        """
    )
    segment = Segment.of("a")
    asked = [ScoreRequest((segment,), ("no", "yes"))] * 4
    units = open_model("odd:x").score(asked)
    assert next(units).scores[0][0] == 0
    late: ScoredUnit = units.throw(Halted())
    assert late.scores[0][0] == 3
    assert list(units) == []


def test_scores_of_a_plugin_are_metered_and_kept_like_any_other(
    plugin: Any, tmp_path: Path
) -> None:
    plugin(
        "for i, r in enumerate(requests): "
        + UNIT.replace("INDEX", "i").replace("VALUES", "-1.0, -2.0")
    )
    with open_store(tmp_path / "e.db") as store, metered("odd:x", store) as meter:
        asked = [ScoreRequest((Segment.of(str(i)),), ("no", "yes")) for i in range(3)]
        assert len(list(meter.score(asked))) == 3
        assert len(list(meter.score(asked))) == 1
        assert (meter.usage.requests, meter.usage.cached) == (3, 3)
