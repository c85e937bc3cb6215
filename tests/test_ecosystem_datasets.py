"""Hugging Face data sets, read and written by the real package."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("datasets", reason="needs the extra hf")
pytest.importorskip("llama_cpp", reason="needs the extra local")

import datasets
from called import output, told

from elicit.cache.errors import InputError
from elicit.data import read_rows
from elicit.gold import load_gold
from elicit.prompt import TaskError
from elicit.task_file import load_task

TASK = """labels = ["neg", "pos"]
[data]
path = "PATH"
gold = "label"
[prompt]
item = "{{ text }} is of the kind {{ kind }}:"
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders that `save_to_disk` wrote: `one`, and `two` of two splits."""
    monkeypatch.setenv("ELICIT_CACHE", str(tmp_path / "e.db"))
    monkeypatch.chdir(tmp_path)
    sound = datasets.Dataset.from_dict(
        {"text": ["a", "b", "c", "d"], "kind": [1, 0, 0, 1], "label": [1, 0, -1, None]},
        features=datasets.Features(
            {
                "text": datasets.Value("string"),
                "kind": datasets.ClassLabel(names=["old", "new"]),
                "label": datasets.ClassLabel(names=["neg", "pos"]),
            }
        ),
    )
    sound.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=sound, test=sound.select([1])).save_to_disk(tmp_path / "two")
    return tmp_path


# Reading


@pytest.mark.parametrize(("source", "count"), [("one", 4), ("two/train", 4), ("two/test", 1)])
def test_a_saved_data_set_is_read_from_its_folder(source: str, count: int, made: Path) -> None:
    rows = read_rows(source, made)
    assert len(rows) == count
    assert rows[0].where == f"{source.rpartition('/')[2]} row 1"


def test_class_labels_come_by_their_names_and_none_as_null(made: Path) -> None:
    rows = [dict(row.fields) for row in read_rows("one", made)]
    assert [row["label"] for row in rows] == ["pos", "neg", None, None]
    assert [row["kind"] for row in rows] == ["new", "old", "old", "new"]


def test_class_labels_of_a_hosted_data_set_come_by_their_names_too(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = datasets.load_from_disk(made / "one")

    def hosted(name: str, split: str) -> Any:
        assert (name, split) == ("org/name", "train")
        return saved

    monkeypatch.setattr(datasets, "load_dataset", hosted)
    rows = read_rows("hf:org/name", made)
    assert [row.fields["label"] for row in rows] == ["pos", "neg", None, None]


def test_a_task_has_names_as_gold_and_in_its_prompts(made: Path) -> None:
    path = made / "task.toml"
    path.write_text(TASK.replace("PATH", "two/train"))
    task = load_task(path)
    gold = load_gold(path, [item.id for item in task.items])
    assert gold is not None
    assert gold.tolist() == [1, 0, -1, -1]
    texts = [segment.text for segment in task.render().questions]
    assert texts[:2] == ["a is of the kind new:", "b is of the kind old:"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("two", r"two: holds the splits test, train: name one's folder"),
        (".", "is a folder; name a file, or a folder that datasets' save_to_disk wrote"),
        ("three", "three: use a .jsonl, .csv or .parquet file, a folder that datasets saved"),
        ("two/valid", "two/valid: use a .jsonl"),
    ],
)
def test_what_is_no_saved_data_set_is_refused_with_the_mend(
    source: str, said: str, made: Path
) -> None:
    with pytest.raises(TaskError, match=said):
        read_rows(source, made)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("data-00000-of-00001.arrow", "no arrow"),
        ("dataset_info.json", "[1]"),
        ("dataset_info.json", "{"),
        ("dataset_info.json", '{"features": {"text": {"_type": "Nonsense"}}}'),
        ("state.json", "{}"),
        ("state.json", "null"),
    ],
)
def test_a_damaged_data_set_is_one_clear_error(file: str, content: str, made: Path) -> None:
    (made / "one" / file).write_text(content)
    with pytest.raises(TaskError, match="one: not a sound data set: ") as caught:
        read_rows("one", made)
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output("run", "claims", "--limit", "8", "--name", "r")
    monkeypatch.setitem(sys.modules, "datasets", None)
    for call in (
        lambda: read_rows("one", made),
        lambda: output("export", "r", "--format", "dataset", "--out", "x"),
    ):
        with pytest.raises(InputError, match=r"needs the datasets package: pip .*\[hf\]"):
            call()
    assert not Path("x").exists()


# Writing


def test_labels_are_written_as_a_data_set_and_read_back(made: Path) -> None:
    output("run", "claims", "--limit", "16", "--name", "r", "--abstain", "0.25")
    said = told("export", "r", "--format", "dataset", "--out", "sub/labels")
    assert said == {
        "run": "r",
        "format": "dataset",
        "rows": 16,
        "left_out": 0,
        "path": "sub/labels",
    }
    table = datasets.load_from_disk("sub/labels")
    wanted = [json.loads(line) for line in output("export", "r").splitlines()]
    assert table.features["label"].names == ["False", "True"]
    for row, own in zip(table, wanted, strict=True):
        assert {**row, "label": None} == {**own, "label": None}
    names = [own["label"] for own in wanted]
    assert names.count(None) == 4
    assert [row.fields["label"] for row in read_rows("sub/labels", made)] == names


def test_a_data_set_of_elicited_labels_is_the_data_of_another_task(made: Path) -> None:
    output("run", "claims", "--limit", "16", "--name", "r")
    output("export", "r", "--format", "dataset", "--out", "labels")
    text = Path(made / "again.toml")
    text.write_text(
        'labels = ["False", "True"]\n[data]\npath = "labels"\nid = "id"\ngold = "label"\n'
        '[prompt]\nitem = "{{ text }}"\nverbalizers = { False = " False", True = " True" }\n'
    )
    task = load_task(text)
    gold = load_gold(text, [item.id for item in task.items])
    assert gold is not None
    assert set(np.unique(gold)) == {0, 1}


@pytest.mark.usefixtures("made")
def test_nothing_but_facts_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """No progress bar of another package."""
    output("run", "claims", "--limit", "8", "--name", "r")
    capfd.readouterr()
    output("export", "r", "--format", "dataset", "--out", "labels")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("form", ["dataset", "inspect", "lm-eval"])
@pytest.mark.usefixtures("made")
def test_a_folder_must_be_named(form: str) -> None:
    output("run", "claims", "--limit", "8", "--name", "r")
    with pytest.raises(InputError, match=rf"{form} is a folder: name it \(--out\)"):
        output("export", "r", "--format", form)
