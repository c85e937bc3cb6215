"""The lines that `elicit align` prints while it works."""

from __future__ import annotations

from elicit.align.stages import Record, StageEvent
from elicit.cli.align_lines import Lines


class Told:
    """Lines by a clock that is set."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lines: list[str] = []
        self.tell = Lines(lambda: self.now, self.lines.append)

    def stage(self, steps: int, seconds: float) -> None:
        self.tell(StageEvent("policy", "begins"))
        for step in range(1, steps + 1):
            self.now += seconds
            self.tell(StageEvent("policy", f"step {step} of {steps}"))
        self.tell(StageEvent("policy", "is done", Record("policy", "", (), {}, 12.4)))


def test_a_quick_stage_tells_its_beginning_its_last_step_and_its_end() -> None:
    told = Told()
    told.stage(200, 0.01)
    assert told.lines == ["policy: begins", "policy: step 200 of 200", "policy: is done (12 s)"]


def test_a_slow_stage_tells_a_step_every_few_seconds_and_the_last_once() -> None:
    told = Told()
    told.stage(15, 1.0)
    steps = [line.split()[2] for line in told.lines[1:-1]]
    assert steps == ["5", "10", "15"]


def test_a_stage_that_was_there_says_nothing() -> None:
    told = Told()
    record = Record("policy", "", (), {}, 1.0)
    told.tell(StageEvent("policy", "is there", record, found=True))
    assert told.lines == []
