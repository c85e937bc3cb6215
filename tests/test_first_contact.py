"""The first minutes: what `elicit` says of itself, what it makes of a slip of the finger, and
a task from a table in an empty folder, each in a process of its own as a shell starts it."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest
import typer
from called import output, told
from typer.testing import CliRunner

from elicit.cache.errors import InputError
from elicit.cache.runs import RunStore
from elicit.cache.store import ScoreStore
from elicit.cli.completion import complete_runs, complete_settings, complete_tasks
from elicit.cli.main import app
from elicit.cli.tasks import embedded_tasks
from elicit.cli.welcome import PANELS
from elicit.search.bootstrap import BootstrapSettings
from elicit.search.icm import ICMSettings
from elicit.settings import RunSettings, resolve, setting_types

ELICIT = [
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'elicit'; from elicit.cli.main import main; main()",
]


BASH_COMPLETES = """
eval "$(_ELICIT_COMPLETE=source_bash elicit)"
COMP_WORDS=(elicit fine)
COMP_CWORD=1
_elicit_completion elicit
echo "${COMPREPLY[@]}"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, with a table, and a place for the store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELICIT_CACHE", str(tmp_path / "store" / "elicit.db"))
    rows = [
        [
            f"r{i}",
            f"{'Loved' if i % 2 else 'Hated'} it, says number {i}",
            "no" if i % 2 else "yes",
        ]
        for i in range(20)
    ]
    with (tmp_path / "my table.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "review", "label"], *rows])
    return tmp_path


def elicit(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ELICIT, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def completed(shell: str, *words: str) -> list[str]:
    """What a shell is offered for the last of these words."""
    if shell == "bash":
        place = {"COMP_WORDS": "\n".join(["elicit", *words]), "COMP_CWORD": str(len(words))}
    else:
        place = {"_TYPER_COMPLETE_ARGS": " ".join(["elicit", *words])}
    if shell == "fish":
        place["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    ended = elicit(**place, _ELICIT_COMPLETE=f"complete_{shell}")
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.split("\n")[:-1]


def test_every_command_has_its_group_in_the_welcome() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    assert set(commands) - {"report"} == set(PANELS) - {"report"}
    places = [list(PANELS).index(name) for name in commands]
    assert places == sorted(places)


def test_elicit_alone_explains_itself(folder: Path) -> None:
    ended = elicit()
    assert (ended.returncode, ended.stderr) == (0, "")
    said = ended.stdout
    for typed in ("elicit demo", "elicit tasks new my.csv", "elicit run my.toml", "--help"):
        assert typed in said
    assert str(folder / "store" / "elicit.db") in said.replace("\n", "")
    places = [said.index(f"\n{panel}\n") for panel in ("Label", "Look", "Use", "Keep")]
    assert places == sorted(places)
    assert not (folder / "store").exists()


@pytest.mark.parametrize("width", ["40", "80"])
def test_the_welcome_fits_the_terminal_and_has_no_colour_in_a_pipe(
    folder: Path, width: str
) -> None:
    said = elicit(COLUMNS=width, NO_COLOR="1").stdout
    assert "\x1b" not in said
    path = str(folder / "store" / "elicit.db")
    longest = max(map(len, said.split("\n")))
    assert longest <= int(width) or path in said


def test_help_has_the_same_groups() -> None:
    said = output("--help")
    assert all(f" {panel} " in said for panel in ("Label", "Look", "Use", "Keep"))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["rnu"], "error: no such command 'rnu'; did you mean 'run'?\n"),
        (["zzz"], "error: no such command 'zzz'; see `elicit --help`\n"),
        (["cache", "stast"], "error: no such command 'stast'; did you mean 'stats'?\n"),
        (["run", "--modle", "x"], "error: no such option '--modle'; did you mean '--model'?\n"),
        (["run", "claims", "--zz"], "error: no such option '--zz'; see `elicit run --help`\n"),
        (["run"], "error: missing argument 'TASK'; see `elicit run --help`\n"),
        (["tasks", "nwe", "a.csv"], "error: no such command 'nwe'; did you mean 'new'?\n"),
        (["tasks", "--json", "nwe"], "error: no such command 'nwe'; did you mean 'new'?\n"),
        (["tasks", "zz", "a.csv"], "error: no such command 'zz'; see `elicit tasks --help`\n"),
    ],
)
def test_a_slip_is_one_line_that_says_what_was_meant(typed: list[str], said: str) -> None:
    ended = CliRunner().invoke(app, typed, prog_name="elicit")
    assert (ended.exit_code, ended.stdout, ended.stderr) == (2, "", said)


def test_a_slip_in_a_shell_ends_with_2_and_no_traceback() -> None:
    ended = elicit("rnu")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "error: no such command 'rnu'; did you mean 'run'?\n"


def test_a_value_that_is_wrong_is_one_line() -> None:
    ended = CliRunner().invoke(app, ["run", "claims", "--seed", "many"])
    assert ended.exit_code == 2
    assert ended.stderr.startswith("error: invalid value for '--seed'")
    assert ended.stderr.count("\n") == 1


def test_a_misspelt_embedded_task_is_one_line() -> None:
    ended = elicit("tasks", "claim")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.endswith("did you mean 'claims'?\n")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("command", ["run", "tasks", "diagnose"])
def test_a_table_in_place_of_a_task_is_told_what_makes_one_of_it(command: str) -> None:
    said = "is data, not a task file; `elicit tasks new 'my table.csv'` drafts one"
    with pytest.raises(InputError, match=said):
        output(command, "my table.csv")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "alfa=1"], "--set: unknown setting 'alfa'; did you mean alpha?"),
        (["--set", "zzz=1"], "'zzz'; `elicit run TASK --show-settings` lists them"),
        (["--set", "alpha=x"], "--set: setting alpha: must be a number"),
        (["--method", "x"], "--method: setting method: 'x' is not one of"),
    ],
)
def test_a_wrong_setting_is_named_as_it_was_typed(options: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        output("run", "claims", *options)
    assert said in str(caught.value)


def test_settings_are_shown_with_the_option_they_came_from() -> None:
    shown = told("run", "claims", "--seed", "4", "--set", "alpha=3", "--show-settings")
    assert (shown["seed"]["origin"], shown["alpha"]["origin"]) == ("--seed", "--set")


@pytest.mark.usefixtures("folder")
def test_a_table_becomes_a_task_that_the_next_commands_take() -> None:
    ended = elicit("tasks", "new", "my table.csv", "--out", "my.toml")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "wrote my.toml: 20 items, 0 constrained pairs" in ended.stdout
    assert "  Hated it, says number 0\n  Label:" in ended.stdout
    assert "elicit diagnose my.toml --model MODEL\n" in ended.stdout
    assert "the default model, tiny, knows only its own invented world\n" in ended.stdout
    assert "if wrong: " in ended.stdout
    assert [entry["items"] for entry in told("tasks", "my.toml")] == [20]
    run = elicit("run", "my.toml", "--name", "first")
    assert run.returncode == 0, run.stderr
    assert completed("bash", "tasks", "check", "my") == ["my.toml"]


def test_a_draft_is_told_as_data(folder: Path) -> None:
    made = told("tasks", "new", "my table.csv")
    assert (made["name"], made["items"], made["labels"]) == ("my table.toml", 20, ["no", "yes"])
    assert {guess["what"] for guess in made["guesses"]} == {"id", "gold", "text", "labels"}
    assert made["next"][0] == "elicit diagnose 'my table.toml' --model MODEL"
    assert (folder / "my table.toml").exists()
    assert not list(folder.glob(".elicit-*"))


def test_a_draft_finds_its_data_from_another_folder(folder: Path) -> None:
    (folder / "tasks").mkdir()
    output("tasks", "new", "my table.csv", "--out", "tasks/a.toml")
    assert 'path = "../my table.csv"' in (folder / "tasks" / "a.toml").read_text("utf-8")


def test_a_file_that_is_there_is_replaced_only_by_force(folder: Path) -> None:
    (folder / "my table.toml").write_text("mine")
    with pytest.raises(InputError, match="is there already; give --force"):
        output("tasks", "new", "my table.csv")
    assert (folder / "my table.toml").read_text() == "mine"
    output("tasks", "new", "my table.csv", "--force")
    assert "review" in (folder / "my table.toml").read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "no/a.toml"], "there is no folder no"),
        (["--out", "."], "is a folder"),
        (["--labels", "a"], "two or more different labels"),
        (["--labels", "a,a"], "two or more different labels"),
        (["--gold", "lable"], "no such column"),
    ],
)
def test_an_option_that_is_wrong_writes_nothing(
    options: list[str], said: str, folder: Path
) -> None:
    with pytest.raises(InputError, match=said):
        output("tasks", "new", "my table.csv", *options)
    assert [path.name for path in folder.iterdir()] == ["my table.csv"]


@pytest.mark.usefixtures("folder")
def test_tasks_lists_checks_and_takes_its_options_on_either_side() -> None:
    assert [entry["name"] for entry in told("tasks")] == list(embedded_tasks())
    (one,) = told("tasks", "claims")
    assert one == json.loads(output("tasks", "--json", "claims"))[0]
    assert one["pairs"] > 0
    output("tasks", "new", "my table.csv", "--out", "new")
    assert json.loads(output("tasks", "--json", "./new"))[0]["items"] == 20


def test_a_task_that_is_likely_wrong_is_noted(folder: Path) -> None:
    (folder / "a.toml").write_text(
        'labels = ["a", "b"]\n[data]\npath = "my table.csv"\n[prompt]\nitem = "{{ review }}:"\n'
    )
    ended = elicit("tasks", "a.toml")
    assert ended.returncode == 0
    assert ended.stderr.startswith("note: the label 'a' follows the prompt with no space")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_given_a_script_for_completion(shell: str) -> None:
    ended = elicit(_ELICIT_COMPLETE=f"source_{shell}")
    assert ended.returncode == 0
    assert f"_ELICIT_COMPLETE=complete_{shell}" in ended.stdout


def test_bash_itself_completes_commands(tmp_path: Path) -> None:
    """The script that --show-completion prints, sourced by a real bash."""
    program = tmp_path / "elicit"
    program.write_text(f'#!/bin/sh\nexec "{ELICIT[0]}" -c "{ELICIT[2]}" "$@"\n')
    program.chmod(0o700)
    ended = subprocess.run(
        [
            "bash",
            "--norc",
            "-c",
            BASH_COMPLETES,
        ],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("finetune\n", "")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ru"], ["run", "runs"]),
        (["run", "cl"], ["claims"]),
        (["run", "claims", "--method", ""], ["icm", "bootstrap"]),
        (["run", "claims", "--set", "combine"], ["combine=best", "combine=mixture"]),
        (["run", "claims", "--set", "alph"], ["alpha=50.0"]),
        (["tasks", "n"], ["new"]),
        (["tasks", ""], ["check", "new", *embedded_tasks(), "a.toml"]),
        (["tasks", "a"], ["a.toml"]),
    ],
)
def test_commands_tasks_methods_and_settings_are_completed(
    folder: Path, words: list[str], offered: list[str]
) -> None:
    (folder / "a.toml").write_text("")
    assert sorted(completed("bash", *words)) == sorted(offered)
    assert not (folder / "store").exists()


def test_zsh_and_fish_are_offered_explanations(folder: Path) -> None:
    assert completed("fish", "run", "cl") == ["claims\tembedded task"]
    assert '"claims":"embedded task"' in completed("zsh", "run", "cl")[0]
    assert not (folder / "store").exists()


def made_runs(path: Path, *names: str) -> ScoreStore:
    path.parent.mkdir(exist_ok=True)
    store = ScoreStore(path)
    for name in names:
        RunStore(store).create(
            name,
            task_digest="d",
            task_path="claims",
            model="tiny",
            method="icm",
            settings={},
            seed=0,
            chains=1,
        )
    return store


def test_names_of_runs_are_completed_from_the_store(folder: Path) -> None:
    with made_runs(folder / "store" / "elicit.db", "one-1", "one_2", "two"):
        assert sorted(completed("bash", "resume", "one")) == ["one-1", "one_2"]
        assert completed("fish", "resume", "two") == ["two\trunning, icm, tiny"]


def test_another_store_that_was_named_is_the_one_looked_into(folder: Path) -> None:
    made_runs(folder / "other.db", "elsewhere").close()
    assert completed("bash", "resume", "--cache", "other.db", "e") == ["elsewhere"]


def context(path: Path) -> typer.Context:
    found = typer.Context(typer.main.get_command(app))
    found.params = {"cache": path}
    return found


def test_a_store_that_is_missing_damaged_or_locked_offers_nothing_and_says_nothing(
    tmp_path: Path,
) -> None:
    assert complete_runs(context(tmp_path / "none.db"), "") == []
    assert complete_runs(context(tmp_path), "") == []
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "bad.db").write_bytes(b"no database at all" * 100)
    assert complete_runs(context(tmp_path / "bad.db"), "") == []
    with closing(sqlite3.connect(tmp_path / "old.db", isolation_level=None)) as held:
        held.execute("CREATE TABLE runs (name, status, method, model, updated)")
        held.execute("BEGIN EXCLUSIVE")
        assert complete_runs(context(tmp_path / "old.db"), "") == []


def test_an_underscore_in_a_name_stands_for_itself(tmp_path: Path) -> None:
    made_runs(tmp_path / "a.db", "a_b", "axb").close()
    assert [name for name, _ in complete_runs(context(tmp_path / "a.db"), "a_")] == ["a_b"]


def test_every_setting_that_is_offered_is_one_that_is_taken() -> None:
    offered = [word.partition("=") for word, _ in complete_settings("")]
    for method, own in (("icm", ICMSettings), ("bootstrap", BootstrapSettings)):
        known = {field.name for kind in (RunSettings, own) for field in fields(kind)}
        for name, _, value in offered:
            if name in known:
                resolve(("flag", {"method": method} | {name: value}))
    assert {name for name, _, _ in offered} == set(setting_types())


def test_files_of_tasks_are_completed_within_their_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "sub").mkdir()
    for name in ("a.toml", "sub/b.toml", ".hidden.toml"):
        (folder / name).write_text("")
    monkeypatch.chdir(folder)
    assert [word for word, _ in complete_tasks("a")] == ["a.toml"]
    assert [word for word, _ in complete_tasks("sub/")] == ["sub/b.toml"]
    assert complete_tasks("no/such/") == []
    assert ".hidden.toml" not in [word for word, _ in complete_tasks("")]
