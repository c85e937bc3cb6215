"""`elicit cache`: results on stdout, notes on stderr, errors that name the mend."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from elicit.cache.errors import ElicitError, InputError, StoreDamaged
from elicit.cache.keys import ScoreKey, context_key, prefix_digest, segment_digest
from elicit.cache.runs import RunStore
from elicit.cache.store import ScoreRow, ScoreStore, StoredScore
from elicit.cli.cache import app
from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Identity,
    LabelScores,
    ScoredUnit,
    ScoreRequest,
    Scoring,
    Usage,
)

IDENTITY = Identity("test", "m", parameters={"n_ctx": 512})
LABELS = ("True", "False")


@dataclass
class Cli:
    """Runs `elicit cache ...` on one store."""

    path: Path

    def __call__(self, *arguments: str) -> tuple[str, str]:
        """stdout and stderr; errors are raised, as the main entry gets them."""
        result = CliRunner().invoke(app, [*arguments, "--cache", str(self.path)])
        if result.exception is not None:
            raise result.exception
        return result.stdout, result.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json")[0])


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """300 contexts of one demonstration, two items each."""
    path = tmp_path / "s.db"
    with ScoreStore(path) as store:
        store.put(
            [row(store, [f"d{c}\n\n", f"item {i}"]) for c in range(300) for i in range(2)]
        )
        runs = RunStore(store)
        runs.create(
            "mine",
            task_digest="",
            task_path="",
            model="m",
            method="icm",
            settings={},
            seed=0,
            chains=1,
        )
    return Cli(path)


def row(store: ScoreStore, segments: Sequence[str]) -> ScoreRow:
    identity, labels = store.open_identity(IDENTITY.as_dict()), store.open_labels(LABELS)
    pairs = tuple((segment_digest(text), text, "") for text in segments)
    context = context_key(identity, labels, prefix_digest([d for d, *_ in pairs[:-1]]))
    score = StoredScore((-0.5, float("-inf")))
    return ScoreRow(ScoreKey(context, pairs[-1][0]), identity, labels, pairs, score)


def test_path_is_the_option_the_variable_or_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = CliRunner()
    asked = str(tmp_path / "asked.db")
    monkeypatch.setenv("ELICIT_CACHE", str(tmp_path / "env.db"))
    assert runner.invoke(app, ["path", "--cache", asked]).stdout.strip() == asked
    assert runner.invoke(app, ["path"]).stdout.strip() == str(tmp_path / "env.db")
    monkeypatch.delenv("ELICIT_CACHE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    printed = json.loads(runner.invoke(app, ["path", "--json"]).stdout)
    assert printed == {"path": str(tmp_path / "elicit" / "elicit.db")}


@pytest.mark.parametrize("command", ["stats", "verify", "export", "explain", "prune"])
def test_looking_at_a_store_that_is_not_there_makes_none(tmp_path: Path, command: str) -> None:
    with pytest.raises(InputError, match="no store here yet"):
        Cli(tmp_path / "none.db")(command)
    assert list(tmp_path.iterdir()) == []


def test_stats_count_what_is_there(cli: Cli) -> None:
    stats = cli.json("stats")
    assert (stats["scores"], stats["contexts"], stats["runs"]) == (600, 300, 1)
    assert stats["bytes_per_score"] < 200
    assert "scores" in cli("stats")[0]


def test_explain_by_key(cli: Cli) -> None:
    with ScoreStore(cli.path) as store:
        key = row(store, ["d0\n\n", "item 1"]).key
    about = cli.json("explain", "--context", key.context.hex(), "--item", key.item.hex())
    assert (about["values"], about["item_text"]) == ([-0.5, "-inf"], "item 1")
    assert (about["items"], about["model"]) == (2, IDENTITY.as_dict())
    for arguments, message in (
        (["--context", "zz"], "32 hexadecimal digits"),
        (["--context", "00" * 16], "no context"),
        (["--context", key.context.hex(), "--item", "00" * 16], "never scored after"),
        ([], "--prompt-file"),
    ):
        with pytest.raises(InputError, match=message):
            cli("explain", *arguments)


@pytest.mark.parametrize("form", ["json", "txt"])
def test_explain_a_prompt(cli: Cli, tmp_path: Path, form: str) -> None:
    def ask(segments: list[str], labels: str = "True,False", model: str = "test") -> Any:
        file = tmp_path / f"prompt.{form}"
        file.write_text(json.dumps(segments) if form == "json" else "".join(segments))
        options = ("--prompt-file", str(file), "--labels", labels, "--model-like", model)
        assert cli("explain", *options)[0].startswith(("hit", "miss"))
        return cli.json("explain", *options)

    hit = ask(["d7\n\n", "item 0"])
    assert (hit["hit"], hit["score"]["values"]) == (True, [-0.5, "-inf"])
    assert "labels" in ask(["d7\n\n", "item 0"], labels="False,True")["differences"][0]
    assert "item" in ask(["d7\n\n", "item 9"])["differences"][0]
    with pytest.raises(InputError, match="no stored model matches"):
        ask(["d7\n\n", "item 0"], model="gpt")


@pytest.mark.parametrize("content", ["{}", "[]", "[1]", "["])
def test_a_prompt_file_that_is_no_list_of_texts_is_refused(
    cli: Cli, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "p.json"
    file.write_text(content)
    with pytest.raises(InputError, match=r"p\.json"):
        cli("explain", "--prompt-file", str(file), "--labels", "A,B")
    with pytest.raises(InputError, match="can't read"):
        cli("explain", "--prompt-file", str(tmp_path / "none"), "--labels", "A,B")


def test_verify_prints_what_it_found_and_fails_if_any_is_left(cli: Cli) -> None:
    assert cli("verify")[0] == "0 problems, 0 left\n"
    with ScoreStore(cli.path) as store:
        store.connection.execute("UPDATE scores SET samples = 1")
    with pytest.raises(StoreDamaged, match=r"600 problems left\..*--repair"):
        cli("verify")
    repaired = cli.json("verify", "--repair")
    tables = [problem["table"] for problem in repaired["problems"]]
    assert (tables.count("scores"), tables.count("contexts")) == (600, 300)
    assert repaired["left"] == 0
    assert cli.json("verify") == {"problems": [], "left": 0, "drift": None}


class Drifted:
    """A model that answers half a nat less than it did."""

    identity = IDENTITY
    closed = False

    def score(self, requests: Sequence[ScoreRequest], _budget: Budget = UNBOUNDED) -> Scoring:
        for i in reversed(range(len(requests))):
            assert requests[i].labels == LABELS
            yield ScoredUnit(((i, LabelScores((-1.0, float("-inf")))),), Usage())

    def close(self) -> None:
        self.closed = True


def test_verify_asks_the_model_again(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Drifted()
    registry = ModuleType("elicit.providers.registry")
    registry.open_model = lambda name, _: {"test:m": model}[name]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "elicit.providers.registry", registry)
    out, err = cli("verify", "--rescore", "10000", "--model", "test:m")
    assert "max 0.5, mean 0.25 nats" in out
    assert "have their whole prompt in the store" in err
    assert model.closed
    assert cli.json("verify", "--rescore", "2", "--model", "test:m")["drift"]["n"] == 2
    with pytest.raises(InputError, match="--model"):
        cli("verify", "--rescore", "2")


def test_prune_only_counts_until_told_to_do_it(cli: Cli) -> None:
    assert cli.json("prune", "--model", "test")["scores"] == 600
    assert "--yes" in cli("prune", "--run", "mine")[1]
    assert cli.json("stats")["scores"] == 600
    assert cli.json("prune", "--run", "mine", "--yes")["runs"] == 1
    assert cli.json("prune", "--older-than", "1", "--yes")["scores"] == 0
    assert cli.json("prune", "--model", "test", "--yes")["dry_run"] is False
    stats = cli.json("stats")
    assert (stats["scores"], stats["runs"], stats["segments"]) == (0, 0, 0)
    with pytest.raises(ElicitError, match="what to prune"):
        cli("prune")


def test_export_writes_lines_to_stdout_or_a_new_file(cli: Cli, tmp_path: Path) -> None:
    out, err = cli("export")
    lines = [json.loads(line) for line in out.splitlines()]
    assert (len(lines), err) == (600, "600 scores\n")
    assert lines[0]["labels"] == list(LABELS)
    file = tmp_path / "scores.jsonl"
    assert cli.json("export", "--out", str(file))["scores"] == 600
    assert file.read_text() == out
    with pytest.raises(InputError, match="can't write"):
        cli("export", "--out", str(file))
