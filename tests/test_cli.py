"""The command line as a user has it: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the extra local")

from elicit.cache.runs import RunStore
from elicit.cache.store import ScoreStore

ROWS = '{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n'
TASK = """labels = ["no", "yes"]
[data]
path = "rows.jsonl"
id = "id"
[prompt]
item = "{{ text }}:"
"""

ICM = ("--method", "icm")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from elicit.cli.main import main; main()", *arguments]


def elicit(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"ELICIT_CACHE": str(cache)},
    )


def test_without_a_store_a_damaged_one_is_neither_read_nor_written(tmp_path: Path) -> None:
    cache = tmp_path / "e.db"
    cache.write_bytes(b"not a database" * 100)
    arguments = ("run", "claims", "--limit", "16", "--json")
    assert elicit(*arguments, cache=cache).returncode == 2
    found = elicit(*arguments, "--no-cache", cache=cache)
    assert found.returncode == 0, found.stderr
    assert len(json.loads(found.stdout)["rows"]) == 16
    assert [p.name for p in tmp_path.iterdir()] == ["e.db"]
    assert cache.read_bytes() == b"not a database" * 100


def test_run_eval_and_a_second_run_from_the_cache(tmp_path: Path) -> None:
    cache = tmp_path / "e.db"
    first = elicit("run", "claims", "--limit", "32", "--name", "a", "--json", cache=cache)
    assert first.returncode == 0, first.stderr
    again = elicit("run", "claims", "--limit", "32", "--name", "b", "--json", cache=cache)
    one, two = json.loads(first.stdout), json.loads(again.stdout)
    assert one["rows"] == two["rows"]
    assert len(one["rows"]) == 32
    assert one["usage"]["forwarded_tokens"] > 0
    assert two["usage"]["forwarded_tokens"] == 0
    found = json.loads(elicit("eval", "a", "--json", cache=cache).stdout)
    assert 0 <= found["accuracy"]["value"] <= 1
    assert [
        run["name"] for run in json.loads(elicit("runs", "--json", cache=cache).stdout)
    ] == [
        "a",
        "b",
    ]


def test_a_budget_stops_with_3_and_resume_ends_as_if_it_had_not(tmp_path: Path) -> None:
    arguments = ("run", "claims", "--limit", "24", *ICM, "--set", "iterations=40", "--json")
    whole = elicit(*arguments, "--name", "w", cache=tmp_path / "w.db")
    cache = tmp_path / "e.db"
    stopped = elicit(*arguments, "--name", "a", "--max-tokens-spent", "900", cache=cache)
    assert stopped.returncode == 3
    assert stopped.stderr.startswith("error: budget reached")
    resumed = elicit("resume", "a", "--json", cache=cache)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["rows"] == json.loads(whole.stdout)["rows"]


def test_killed_at_random_instants_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole.db", tmp_path / "broken.db"
    arguments = ("run", "claims", "--limit", "96", *ICM, "--name", "r", "--json")
    expected = json.loads(elicit(*arguments, cache=whole).stdout)
    rng = random.Random(0)
    kills = 0
    for _ in range(12):
        # It may be killed before there is a run.
        there = broken.exists() and '"r"' in elicit("runs", "--json", cache=broken).stdout
        named = ("resume", "r", "--json") if there else arguments
        process = subprocess.Popen(
            command(*named),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"ELICIT_CACHE": str(broken)},
        )
        time.sleep(rng.uniform(1.3, 2.5))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += there
        process.wait(timeout=60)
    final = elicit("resume", "r", "--json", cache=broken)
    assert final.returncode == 0, final.stderr
    assert kills > 0
    assert json.loads(final.stdout)["rows"] == expected["rows"]
    with ScoreStore(whole) as a, ScoreStore(broken) as b:
        one, two = RunStore(a), RunStore(b)
        assert one.get("r").result == two.get("r").result
        assert one.trace(one.get("r").id, 0) == two.trace(two.get("r").id, 0)
        assert a.stats().scores == b.stats().scores


def test_eval_knows_items_by_their_ids_not_by_their_place(tmp_path: Path) -> None:
    lines = [
        json.dumps({"id": f"i{k}", "text": f"Brelin eats {food}", "gold": k % 2 == 0})
        for k, food in enumerate(["plums", "figs", "pears", "grapes"])
    ]
    rows, task = tmp_path / "rows.jsonl", tmp_path / "task.toml"
    rows.write_text("\n".join(lines))
    gold = TASK.replace('id = "id"', 'id = "id"\ngold = "gold"')
    task.write_text(gold.replace('["no", "yes"]', '["False", "True"]'))
    cache = tmp_path / "e.db"
    assert elicit("run", str(task), "--name", "r", cache=cache).returncode == 0
    before = json.loads(elicit("eval", "r", "--json", cache=cache).stdout)
    rows.write_text("\n".join([lines[0].replace("i0", "new"), *lines]))
    assert json.loads(elicit("eval", "r", "--json", cache=cache).stdout) == before
    rows.write_text("\n".join(line.replace(': "i', ': "j') for line in lines))
    refused(elicit("eval", "r", cache=cache), "no item has both a label and a gold label")


def test_ctrl_c_leaves_a_run_to_resume(tmp_path: Path) -> None:
    cache = tmp_path / "e.db"
    process = subprocess.Popen(
        command("run", "claims", "--name", "r"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"ELICIT_CACHE": str(cache)},
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.3)
        if cache.exists() and '"r"' in elicit("runs", "--json", cache=cache).stdout:
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "`elicit runs` shows what can be resumed" in said
    (run,) = json.loads(elicit("runs", "--json", cache=cache).stdout)
    assert run["status"] == "interrupted"


BAD_TASKS = [
    ("", "[data] is missing"),
    ("labels = [", "not TOML"),
    (TASK.replace('["no", "yes"]', '["no"]'), "at least two"),
    (TASK.replace('["no", "yes"]', '["no", "no"]'), "stands twice"),
    (TASK.replace('["no", "yes"]', '["no", ""]'), "is empty"),
    (TASK.replace('["no", "yes"]', '"yes"'), "must be a list"),
    (TASK.replace("rows.jsonl", "gone.jsonl"), "no such file"),
    (TASK.replace("rows.jsonl", "rows.xlsx"), "use a .jsonl"),
    (TASK.replace("rows.jsonl", "hf:x"), "hf:x"),
    (TASK.replace('id = "id"', 'id = "ident"'), "no field 'ident'"),
    (TASK.replace('id = "id"', 'ids = "id"'), "did you mean 'id'"),
    (TASK.replace("{{ text }}", "{{ txt }}"), "did you mean 'text'"),
    (TASK.replace("{{ text }}", "{{ text "), "line 1"),
    (TASK.replace("{{ text }}", "{{ text.__class__.mro() }}"), "[prompt] item"),
    (TASK.replace("{{ text }}", "{% for i in range(10**9) %}{{ text }}{% endfor %}"), "item"),
    (TASK.replace("{{ text }}", "same"), "names no field"),
    (TASK.replace('item = "{{ text }}:"', ""), "item is missing"),
    (TASK.replace('id = "id"', 'id = "id"\ngold = "text"'), "the gold column"),
    (TASK.replace('id = "id"', 'id = "id"\ngroup = "g"'), "no field 'g'"),
    (TASK + 'verbalizers = { maybe = "x" }', "not one of the labels"),
    (TASK + 'verbalizers = { no = "x", yes = "x" }', "two labels"),
    (TASK + '[[constraint]]\nkind = "at_most"\nlabel = "yes"', "did you mean"),
    (TASK + '[[constraint]]\nkind = "at_most_one"\nlabel = "yes"', "needs by"),
    (TASK + '[[constraint]]\nkind = "at_most_one"\nlabel = "y"\nby = "id"', "not one of the"),
    (TASK + '[[constraint]]\nkind = "at_most_one"\nlabel = "yes"\nby = "q"', "no field 'q'"),
    (TASK + '[[constraint]]\nkind = "python"\nlabel = "yes"', "stranger"),
    (TASK + "[run]\nalpha = -1\n", "alpha"),
    (TASK + "[run]\nalhpa = 1\n", "did you mean alpha"),
    (TASK + "[run]\nchains = 0\n", "chains"),
    (TASK + '[run]\nmethod = "magic"\n', "magic"),
    (TASK + "[run]\ndemonstrations = 0\n", "demonstrations"),
]

BAD_ROWS = [
    (b"", "no rows"),
    (b'{"id": 1, "text": "x"\n', "line 1: not JSON"),
    (b"[1]\n", "must be an object"),
    (b'{"id": 1, "text": "x"}\n{"id": 1, "text": "y"}\n', "ids must differ"),
    (b'{"id": 1, "text": null}\n', "is null"),
    (b'{"id": 1, "text": "x"}\n{"id": 2}\n', "'text'"),
    (b'{"id": 1, "text": "\xff"}\n', "not UTF-8 at byte"),
]

BAD_CALLS = [
    (("run", "gone.toml"), "no such task file"),
    (("run", "."), "is a folder"),
    (("run", "claims", "--model", "gpt"), "unknown model"),
    (("run", "claims", "--model", "compatible:127.0.0.1#m"), "needs http:// or https://"),
    (("run", "claims", "--model", "llama-cpp:gone.gguf"), "no such model file"),
    (("run", "claims", "--set", "alpha"), "NAME=VALUE"),
    (("run", "claims", "--set", "alpha=much"), "must be a number"),
    (("run", "claims", "--set", "folds=1"), "folds"),
    (("run", "claims", "--seed", str(2**63)), "setting seed"),
    (("run", "claims", "--model", "llama-cpp:m.gguf?cores=2"), "model setting 'cores'"),
    (("run", "claims", "--model", "llama-cpp:m.gguf?threads=two"), "a whole number"),
    (("run", "claims", "--model", "llama-cpp:m.gguf?kv_type=f8"), "f16 or f32 or q8_0"),
    (("run", "claims", "--no-cache", "--max-tokens-spent", "9"), "drop --no-cache"),
    (("resume", "gone"), "no run"),
    (("eval", "gone"), "no run"),
]


def refused(outcome: subprocess.CompletedProcess[str], words: str) -> None:
    assert outcome.returncode == 2, outcome.stderr
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("error: ")
    assert words in outcome.stderr
    assert outcome.stderr.count("\n") == 1


@pytest.mark.parametrize(("text", "words"), BAD_TASKS)
def test_wrong_task_files(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "rows.jsonl").write_text(ROWS)
    (tmp_path / "task.toml").write_text(text)
    refused(elicit("run", str(tmp_path / "task.toml"), cache=tmp_path / "e.db"), words)


@pytest.mark.parametrize(("rows", "words"), BAD_ROWS)
def test_wrong_data_files(tmp_path: Path, rows: bytes, words: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(rows)
    (tmp_path / "task.toml").write_text(TASK)
    refused(elicit("run", str(tmp_path / "task.toml"), cache=tmp_path / "e.db"), words)


@pytest.mark.parametrize(("arguments", "words"), BAD_CALLS)
def test_wrong_calls(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    refused(elicit(*arguments, cache=tmp_path / "e.db"), words)


@pytest.mark.parametrize("content", [b"not a database at all, but text", b"SQLite format 3\0"])
def test_wrong_cache_files(tmp_path: Path, content: bytes) -> None:
    cache = tmp_path / "e.db"
    cache.write_bytes(content)
    refused(elicit("run", "claims", cache=cache), str(cache))
    assert cache.read_bytes() == content
