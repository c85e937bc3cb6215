"""Rows from each kind of source."""

from __future__ import annotations

from pathlib import Path

import pytest

from elicit.data import read_rows
from elicit.prompt import TaskError


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the datasets package takes for the data set org/name."""
    pytest.importorskip("datasets", reason="needs the extra hf")
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "org" / "name"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    (folder / "test.jsonl").write_text('{"text": "three"}\n')
    return tmp_path


@pytest.mark.parametrize(
    ("source", "texts"), [("hf:org/name", ["one", "two"]), ("hf:org/name/test", ["three"])]
)
def test_a_hugging_face_data_set_gives_one_split(
    hub: Path, source: str, texts: list[str]
) -> None:
    assert [row.fields["text"] for row in read_rows(source, hub)] == texts


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("hf:org/name/middle", "Unknown split"),
        ("hf:org", "write hf:org/name"),
        ("hf:org/name/a/b", "write hf:org/name"),
    ],
)
def test_a_wrong_hugging_face_name_is_one_clear_error(
    hub: Path, source: str, said: str
) -> None:
    with pytest.raises(TaskError, match=said) as caught:
        read_rows(source, hub)
    assert "\n" not in str(caught.value)


def test_all_formats_give_the_same_rows(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "a.jsonl").write_text('{"id": "1", "text": "a,\\nb"}\n', "utf-8")
    (tmp_path / "a.csv").write_text('id,text\n1,"a,\nb"\n', "utf-8")
    pq.write_table(pa.table({"id": ["1"], "text": ["a,\nb"]}), tmp_path / "a.parquet")
    found = [
        dict(read_rows(f"a.{kind}", tmp_path)[0].fields) for kind in ("jsonl", "csv", "parquet")
    ]
    assert found == [{"id": "1", "text": "a,\nb"}] * 3
