"""Stages of an alignment: made once, whole or not at all, beside those of other settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from elicit.align.stages import Done, StageEvent, Stages, read_written, write_rows

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
