"""Stages of an alignment: made once, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from elicit.align.stages import RECORD, Done, StageEvent, Stages, read_written, write_rows
from elicit.cache.errors import InputError

Make = Callable[[Path, Callable[[str], None]], Mapping[str, object]]


class Ended(BaseException):
    """Stands for a process that is gone: nothing catches it."""


def writes(text: str, made: list[str]) -> Make:
    def make(out: Path, told: Callable[[str], None]) -> Mapping[str, object]:
        made.append(text)
        (out / "text").write_text(text)
        told("written")
        return {"length": len(text)}

    return make


def stages(folder: Path, events: list[StageEvent] | None = None) -> Stages:
    return Stages(folder, lambda event: None if events is None else events.append(event))


def test_a_stage_of_equal_inputs_is_not_made_again(tmp_path: Path) -> None:
    made: list[str] = []
    events: list[StageEvent] = []
    one = stages(tmp_path).done("a", {"x": 1}, [], writes("one", made))
    again = stages(tmp_path, events).done("a", {"x": 1}, [], writes("other", made))
    assert made == ["one"]
    assert again == one
    assert (again.folder / "text").read_text() == "one"
    assert again.figures == {"length": 3}
    assert again.record.outputs == ("text",)
    assert [event.found for event in events] == [True]


def test_a_stage_of_other_inputs_stands_beside(tmp_path: Path) -> None:
    made: list[str] = []
    work = stages(tmp_path)
    one = work.done("a", {"x": 1}, [], writes("one", made))
    other = work.done("a", {"x": 2}, [], writes("other", made))
    assert (one.folder / "text").read_text() == "one"
    assert (other.folder / "text").read_text() == "other"


def test_what_comes_after_another_stage_is_another(tmp_path: Path) -> None:
    made: list[str] = []
    work = stages(tmp_path)

    def second(first: Done) -> Done:
        return work.done("b", {}, [first], writes("b", made))

    ones = [work.done("a", {"x": x}, [], writes("a", made)) for x in (1, 2)]
    assert second(ones[0]).folder != second(ones[1]).folder
    assert second(ones[0]).folder == second(ones[0]).folder


def test_a_stage_that_was_cut_off_is_not_done_and_finds_what_it_wrote(tmp_path: Path) -> None:
    def cut(out: Path, _told: Callable[[str], None]) -> Mapping[str, object]:
        (out / "checkpoint").write_text("halfway")
        raise Ended

    def goes_on(out: Path, _told: Callable[[str], None]) -> Mapping[str, object]:
        return {"found": (out / "checkpoint").read_text()}

    with pytest.raises(Ended):
        stages(tmp_path).done("a", {}, [], cut)
    assert not list(tmp_path.glob("a-*"))
    assert stages(tmp_path).done("a", {}, [], goes_on).figures == {"found": "halfway"}


def test_whoever_watches_hears_of_the_beginning_the_middle_and_the_end(tmp_path: Path) -> None:
    events: list[StageEvent] = []
    stages(tmp_path, events).done("a", {}, [], writes("one", []))
    assert [event.message for event in events] == ["begins", "written", "is done"]
    assert events[-1].record is not None


def test_a_row_that_its_writer_did_not_end_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [{"a": 1}, {"a": 2}])
    assert read_written(path) == [{"a": 1}, {"a": 2}]
    path.write_text(path.read_text() + '{"a": ')
    assert read_written(path) == [{"a": 1}, {"a": 2}]


def halfway(record: str, made: list[str], tmp_path: Path) -> Path:
    """A stage whose process ended after its record was written, with this in its place."""
    work = stages(tmp_path)
    folder = work.done("a", {"x": 1}, [], writes("one", made)).folder
    if record:
        (folder / RECORD).write_text(record)
    return folder.rename(tmp_path / f".{folder.name}.partial")


def test_a_stage_that_was_ended_before_it_had_its_name_is_only_named(tmp_path: Path) -> None:
    made: list[str] = []
    partial = halfway("", made, tmp_path)
    found = stages(tmp_path).done("a", {"x": 1}, [], writes("other", made))
    assert made == ["one"]
    assert (found.folder / "text").read_text() == "one"
    assert found.record.outputs == ("text",)
    assert not partial.exists()


@pytest.mark.parametrize("record", ["{", "null", '{"stage": "a"}', "[]"])
def test_half_a_record_is_none_and_is_no_output(tmp_path: Path, record: str) -> None:
    made: list[str] = []
    halfway(record, made, tmp_path)
    found = stages(tmp_path).done("a", {"x": 1}, [], writes("other", made))
    assert made == ["one", "other"]
    assert found.record.outputs == ("text",)


def lose_an_output(folder: Path) -> None:
    (folder / "text").unlink()


def lose_the_record(folder: Path) -> None:
    (folder / RECORD).write_text("")


def be_of_other_inputs(folder: Path) -> None:
    told = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps(told | {"inputs": "0" * 64}))


@pytest.mark.parametrize("damage", [lose_an_output, lose_the_record, be_of_other_inputs])
def test_a_stage_that_is_damaged_is_made_anew(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    made: list[str] = []
    events: list[StageEvent] = []
    damage(stages(tmp_path).done("a", {"x": 1}, [], writes("one", made)).folder)
    again = stages(tmp_path, events).done("a", {"x": 1}, [], writes("other", made))
    assert made == ["one", "other"]
    assert (again.folder / "text").read_text() == "other"
    assert [event.found for event in events] == [False] * 3


def test_what_a_writer_that_was_ended_left_half_written_is_no_output(tmp_path: Path) -> None:
    def make(out: Path, _told: Callable[[str], None]) -> Mapping[str, object]:
        (out / "whole").write_text("1")
        (out / ".elicit-left").mkdir()
        (out / ".elicit-left" / "whole").write_text("1")
        return {}

    assert stages(tmp_path).done("a", {}, [], make).record.outputs == ("whole",)


def test_all_stages_that_were_asked_for_are_told_in_their_order(tmp_path: Path) -> None:
    work = stages(tmp_path)
    for name in ("b", "a"):
        work.done(name, {}, [], writes("x", []))
    assert [done.record.stage for done in work.all] == ["b", "a"]


def gone(_out: Path) -> None:
    (_out / "gone").read_text()


def no_weights(out: Path) -> None:
    from safetensors import safe_open

    (out / "weights").write_text("no weights")
    with safe_open(out / "weights", framework="np"):
        raise AssertionError("these are no weights")


def no_checkpoint(_out: Path) -> None:
    raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")


@pytest.mark.parametrize("work", [gone, no_weights, no_checkpoint])
def test_a_file_that_can_t_be_written_or_read_is_told_with_its_mend(
    tmp_path: Path, work: Callable[[Path], None]
) -> None:
    if work is no_weights:
        pytest.importorskip("safetensors", reason="needs the extra lora")

    def make(out: Path, _told: Callable[[str], None]) -> Mapping[str, object]:
        work(out)
        return {}

    with pytest.raises(InputError, match=r"can't be written or read.*Make room"):
        stages(tmp_path).done("a", {}, [], make)


def test_a_bug_is_told_as_what_it_is(tmp_path: Path) -> None:
    def make(_out: Path, _told: Callable[[str], None]) -> Mapping[str, object]:
        raise RuntimeError("sizes do not match")

    with pytest.raises(RuntimeError, match="sizes"):
        stages(tmp_path).done("a", {}, [], make)


def test_rows_that_are_damaged_are_named_with_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\0\0\0\n")
    with pytest.raises(InputError, match=r"rows\.jsonl: is damaged"):
        read_written(path)
