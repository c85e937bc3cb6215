"""Checkpoints of a stage: found while they are whole, and never again once they go."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="needs the extra align")

from elicit.align.trl_run import CHECKPOINTS, drop_checkpoints, whole_checkpoint

PARTS = ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth")


class Ended(BaseException):
    """Stands for a process that is gone: nothing catches it."""


def checkpoint(folder: Path, step: int) -> Path:
    made = folder / CHECKPOINTS / f"checkpoint-{step}"
    made.mkdir(parents=True)
    for name in PARTS:
        (made / name).write_bytes(b"x")
    (made / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return made


def test_the_newest_whole_checkpoint_is_found_by_its_number(tmp_path: Path) -> None:
    assert whole_checkpoint(tmp_path) is None
    checkpoint(tmp_path, 20)
    newest = checkpoint(tmp_path, 100)
    assert whole_checkpoint(tmp_path) == newest


@pytest.mark.parametrize("lost", [*PARTS, "trainer_state.json"])
def test_a_checkpoint_that_lacks_a_file_is_passed_over(tmp_path: Path, lost: str) -> None:
    before = checkpoint(tmp_path, 20)
    (checkpoint(tmp_path, 40) / lost).unlink()
    assert whole_checkpoint(tmp_path) == before


def test_half_a_state_is_none(tmp_path: Path) -> None:
    (checkpoint(tmp_path, 40) / "trainer_state.json").write_text('{"global')
    assert whole_checkpoint(tmp_path) is None


@pytest.mark.parametrize("first", [*PARTS, "trainer_state.json"])
def test_a_process_that_ends_while_checkpoints_go_leaves_none_to_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    checkpoint(tmp_path, 20)
    checkpoint(tmp_path, 40)

    def cut(folder: Path, **_how: object) -> None:
        if folder.exists():
            (folder / "checkpoint-40" / first).unlink()
            raise Ended

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", cut)
        with pytest.raises(Ended):
            drop_checkpoints(tmp_path)
    assert whole_checkpoint(tmp_path) is None
    # What goes on from there begins anew, and leaves nothing behind.
    checkpoint(tmp_path, 20)
    drop_checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []
