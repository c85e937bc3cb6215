"""What is shown of a search: on a terminal, where there is none, and how long it takes yet."""

from __future__ import annotations

import io
import logging
import math
import re
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from elicit.cli.progress import SECONDS_BETWEEN_LINES, Display, shown_progress
from elicit.cli.progress_lines import WIDE, Seen, fitted
from elicit.cli.sparkline import ASCII, BLOCKS, MOST_POINTS, History, levels_for, sparkline
from elicit.cli.time_left import RECENT, Pace, told_elapsed, told_time
from elicit.constraints import UNLABELLED
from elicit.objective import Value
from elicit.predictability import Labelling
from elicit.providers.base import Usage
from elicit.run import Progress
from elicit.search.state import Rounds, State, Step

START = State.of(
    Labelling.empty(4),
    Value(-12.5, -0.25, 3),
    rng=np.random.default_rng(0),
    temperature=1.5,
)
ROUNDS = Rounds(None, settled=False, best=np.zeros(4, np.int64), objective=-1.0)
finite = st.floats(allow_nan=False, allow_infinity=False)
anything = st.none() | st.floats()


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def event(iteration: int, *, chain: int = 0, chains: int = 1, **usage: int) -> Progress:
    """An iteration of 200 that took every second proposal. By it two labels changed to
    another, and at first a third was given to an item that had none."""
    taken = (iteration + 1) // 2
    labels = np.array([taken % 2, taken % 2, min(taken, 1) - 1, UNLABELLED])
    state = replace(
        START,
        labelling=Labelling(labels, np.arange(3)),
        iteration=iteration,
        objective=-100.0 + iteration,
        accepted=taken,
        step=None if iteration == 0 else Step(0, 1, 2, 1.0, iteration % 2 == 1),
    )
    spent = {"requests": 10 * iteration, "forwarded_tokens": 100 * iteration} | usage
    return Progress(chain, chains, 200, state, Usage(**spent))


def a_round(number: int) -> Progress:
    """A round of eight at most, which moved 1,234 labels."""
    step = Step(None, None, 1_234, 1.0, accepted=True) if number else None
    state = replace(START, iteration=number, temperature=0.0, rounds=ROUNDS, step=step)
    return Progress(0, 3, 8, state, Usage(requests=500 * number, forwarded_tokens=9_000))


# The curve in a line.


@given(st.lists(anything))
def test_a_sparkline_has_a_character_for_each_value(values: list[float | None]) -> None:
    line = sparkline(values)
    assert len(line) == len(values)
    assert set(line) <= {*BLOCKS, " "}


@given(st.lists(finite, min_size=2), st.sampled_from([BLOCKS, ASCII]))
def test_the_least_is_lowest_and_the_greatest_highest(values: list[float], levels: str) -> None:
    line = sparkline(values, levels)
    if min(values) / 2 < max(values) / 2:
        assert line[values.index(min(values))] == levels[0]
        assert line[values.index(max(values))] == levels[-1]
    else:
        assert len(set(line)) == 1


@given(st.lists(finite, min_size=1))
def test_a_greater_value_is_never_drawn_lower(values: list[float]) -> None:
    drawn = [BLOCKS.index(c) for c in sparkline(sorted(values))]
    assert drawn == sorted(drawn)


def test_what_is_infinite_leaves_the_others_their_scale() -> None:
    assert sparkline([-math.inf, 0.0, 7.0, math.inf, math.nan, None]) == "▁▁██  "
    assert sparkline([-math.inf]) == "▁"


def test_blocks_are_drawn_only_where_the_encoding_has_them() -> None:
    assert levels_for("utf-8") == BLOCKS
    for encoding in ("ascii", "latin-1", "cp437", "no such encoding"):
        assert levels_for(encoding) == ASCII
    assert ASCII.isascii()
    assert len(ASCII) == len(BLOCKS)


@given(
    first=st.integers(0, 5_000),
    count=st.integers(1, 5_000),
    more=st.integers(0, 5_000),
    width=st.integers(1, 200),
)
def test_a_history_covers_the_whole_search_in_bounded_memory(
    first: int, count: int, more: int, width: int
) -> None:
    history = History()
    for iteration in range(first, first + count):
        history.add(iteration, float(iteration))
    most = first + count - 1 + more
    columns = history.columns(width, most)
    assert len(columns) == width
    known = [value for value in columns if value is not None]
    assert known == sorted(known)
    assert known[-1] == first + count - 1
    each = (most + 1) / width
    for place, value in enumerate(columns):
        if value is not None:
            assert value < (place + 1) * each
        else:
            assert (
                place + 1
            ) * each <= first + 1 + 1e-6 or place * each >= first + count - 1 - 1e-6
    # Not what it is made of, but that it is bounded.
    assert len(vars(history)["_points"]) <= MOST_POINTS


def test_a_history_of_nothing_is_empty() -> None:
    assert History().columns(5, 10) == [None] * 5
    assert History().columns(0, 10) == []


# The time left.


@given(each=st.floats(0.5, 60), steps=st.integers(8, 100), left=st.integers(1, 1_000))
def test_steps_of_one_pace_promise_that_pace(each: float, steps: int, left: int) -> None:
    pace = Pace()
    for step in range(steps):
        pace.step(step * each, 10 * (step + 1))
    promised = pace.seconds_left((steps - 1) * each, left)
    assert promised == pytest.approx(left * each)


def test_what_came_from_the_store_promises_nothing() -> None:
    pace = Pace()
    for step in range(1_000):
        pace.step(step / 1_000, 0)
        assert pace.seconds_left(step / 1_000, 500) is None
    # From here on the model is asked: two seconds a step, not a thousandth.
    for step in range(1, 20):
        pace.step(1 + 2 * step, step)
    assert pace.seconds_left(39.0, 50) == pytest.approx(100, rel=0.05)


def test_only_the_recent_past_tells_the_pace() -> None:
    pace = Pace()
    for step in range(100):
        pace.step(float(step), step + 1)
    for step in range(1, 41):
        pace.step(99.0 + 5 * step, 100 + step)
    assert pace.seconds_left(299.0, 10) == pytest.approx(50)
    assert RECENT < 200


def test_steps_slower_than_the_recent_past_is_long_are_told_all_the_same() -> None:
    pace = Pace()
    for step in range(5):
        pace.step(100.0 * step, step + 1)
    assert pace.seconds_left(400.0, 3) == pytest.approx(300)
    assert pace.seconds_left(450.0, 3) == pytest.approx(250)
    assert pace.seconds_left(520.0, 3) == pytest.approx(200)
    assert pace.seconds_left(900.0, 3) is None


def test_a_pace_keeps_few_moments_however_fast_the_steps_are() -> None:
    pace = Pace()
    for step in range(100_000):
        pace.step(step / 10_000, step + 1)
    assert pace.seconds_left(10.0, 10_000) == pytest.approx(1.0, rel=0.01)
    assert len(vars(pace)["_moments"]) < 200


def test_times_in_words() -> None:
    assert [told_time(s) for s in (0.2, 41, 119, 120, 7_100, 7_200, 2e5)] == [
        "0 s",
        "41 s",
        "119 s",
        "2 min",
        "118 min",
        "2 h",
        "2 days",
    ]
    assert [told_elapsed(s) for s in (0, 7.9, 754, 3_723)] == [
        "0:00",
        "0:07",
        "12:34",
        "1:02:03",
    ]


# The words.


def _words(seen: Seen, width: int) -> list[str]:
    return [words + curve for words, curve in seen.lines(width)]


def test_all_facts_of_a_search_are_shown_in_three_lines() -> None:
    clock = Clock()
    seen = Seen("claims", clock)
    for iteration in range(101):
        seen.progress(event(iteration, chains=3, cached=250))
        clock.now += 0.5
    head, search, spent = _words(seen, 110)
    assert head == "claims  chain 1/3  iteration 100/200  0:50 gone  about 4 min left"
    assert search.startswith("U     0.00  T  1.50  accepted  50%  flips 100  ▁")
    assert re.search(r"▁.*█\.+$", search)
    assert spent == "10,000 tokens  1,250 prompts  20% from the cache (250)"
    assert seen.line() == (
        "claims: chain 1/3  iteration 100/200  U     0.00  T  1.50  accepted  50%  flips 100  "
        "10,000 tokens  1,250 prompts  20% from the cache (250)  about 4 min left"
    )


def test_money_and_requests_are_shown_where_there_are_any() -> None:
    seen = Seen("claims", Clock())
    seen.usage(Usage(requests=5, calls=7, cost_usd=0.01234))
    assert "$0.0123" in seen.line()
    assert "7 requests sent" in seen.line()
    seen.usage(Usage(requests=5, calls=7, unpriced_calls=7))
    assert "price unknown" in seen.line()


def test_within_a_round_tokens_and_prompts_move() -> None:
    seen = Seen("claims", Clock())
    for tokens in (1_000, 2_000):
        seen.usage(Usage(requests=tokens // 10, forwarded_tokens=tokens))
        assert f"{tokens:,} tokens  {tokens // 10:,} prompts" in seen.line()
        assert seen.line().startswith("claims: begins")
    seen.progress(a_round(0))
    seen.progress(a_round(1))
    assert "round 1 of at most 8" in seen.line()
    assert "1,234 labels changed in the last round" in seen.line()
    assert "T " not in seen.line()
    seen.usage(Usage(requests=777))
    assert "777 prompts" in seen.line()


def test_a_search_that_may_end_earlier_is_promised_at_most() -> None:
    clock = Clock()
    seen = Seen("claims", clock)
    for number in range(4):
        seen.progress(a_round(number))
        clock.now += 10
    # 21 rounds at most, of which ten seconds have passed.
    assert "at most about 3 min left" in seen.line()


def test_a_resumed_search_says_that_its_flips_are_counted_from_there() -> None:
    seen = Seen("claims", Clock())
    for iteration in range(100, 121):
        seen.progress(event(iteration))
    assert "flips 20 since resumed" in seen.line()
    _, search, _ = _words(seen, 100)
    assert re.search(r"flips 20 since resumed   +▁.*█\.+$", search)


def test_each_chain_has_a_curve_of_its_own() -> None:
    seen = Seen("claims", Clock())
    for chain in range(2):
        for iteration in range(200):
            seen.progress(event(iteration, chain=chain, chains=2))
            if iteration == 0:
                assert _words(seen, 100)[1].endswith("." * 50)


@given(
    st.lists(st.lists(st.text("ab", max_size=9), min_size=1, max_size=3).map(tuple)),
    st.integers(0, 60),
)
def test_parts_never_pass_the_width(parts: list[tuple[str, ...]], width: int) -> None:
    assert len(fitted(parts, width)) <= width


@given(
    title=st.text(),
    width=st.integers(1, 150),
    iteration=st.integers(0, 10**9),
    objective=st.floats(),
    tokens=st.integers(0, 10**15),
)
def test_lines_never_pass_the_width_whatever_is_told(
    title: str, width: int, iteration: int, objective: float, tokens: int
) -> None:
    seen = Seen(title, Clock())
    state = replace(START, iteration=iteration, objective=objective)
    seen.progress(
        Progress(0, 100, 10**9, state, Usage(forwarded_tokens=tokens, requests=tokens))
    )
    lines = _words(seen, width)
    assert len(lines) == (3 if width >= WIDE else 4)
    assert all(len(line) <= width for line in lines)
    assert all("\n" not in line and "\x1b" not in line for line in [*lines, seen.line()])


# Where it is shown.


def _terminal(width: int, encoding: str = "utf-8") -> tuple[Console, io.BytesIO]:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    return Console(file=file, force_terminal=True, width=width, height=24), raw


def _played(display: Display, *, upto: int = 50) -> None:
    display.usage(Usage(requests=1, forwarded_tokens=3))
    for iteration in range(upto):
        display.progress(event(iteration, chains=2))
    time.sleep(0.4)


@pytest.mark.parametrize("width", [40, 120])
def test_a_terminal_shows_lines_that_fit_it_and_takes_them_away(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    console, raw = _terminal(width)
    with shown_progress(console, "claims") as display:
        _played(display)
    text = raw.getvalue().decode()
    plain = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", text)
    assert "█" in plain
    assert "49/200" in plain
    assert all(len(line) < width for line in re.split(r"[\r\n]+", plain))
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is back
    assert text.endswith("\x1b[2K")  # the last thing done is to clear a line


def test_a_terminal_without_blocks_is_drawn_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console, raw = _terminal(100, "latin-1")
    with shown_progress(console, "claims") as display:
        _played(display)
    assert raw.getvalue().isascii()
    assert ASCII[-1].encode() in raw.getvalue()


def test_no_color_is_drawn_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    console, raw = _terminal(100)
    with shown_progress(console, "claims") as display:
        _played(display)
    assert not re.search(rb"\x1b\[[\d;]*3\dm", raw.getvalue())


def test_drawing_is_bounded_however_many_events_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console, raw = _terminal(100)
    told = [event(iteration) for iteration in range(200)] * 100
    with shown_progress(console, "claims") as display:
        begun = time.perf_counter()
        for one in told:
            display.progress(one)
        took = time.perf_counter() - begun
    drawn = raw.getvalue().count(b"iteration")
    assert drawn <= 3 + 10 * took
    # 20,000 events take some 0.2 s on a slow core; a bound that a busy machine meets.
    assert took < 4


def test_an_error_within_leaves_the_terminal_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console, raw = _terminal(80)
    before = threading.active_count()

    def fail() -> None:
        with shown_progress(console, "claims") as display:
            display.progress(event(1))
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        fail()
    assert raw.getvalue().count(b"\x1b[?25h") == 1
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before
    console.print("after")
    assert raw.getvalue().endswith(b"after\n")


def test_an_interrupt_is_told_what_to_do_next() -> None:
    file = io.StringIO()
    with (
        pytest.raises(KeyboardInterrupt),
        shown_progress(Console(file=file, width=80), "claims"),
    ):
        raise KeyboardInterrupt
    assert file.getvalue() == "interrupted; `elicit runs` shows what can be resumed\n"


@pytest.mark.parametrize("console", ["pipe", "dumb", "not interactive"])
def test_where_nothing_can_move_there_is_a_line_every_few_seconds(
    console: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb" if console == "dumb" else "xterm")
    file, clock = io.StringIO(), Clock()
    written = Console(
        file=file,
        width=40,
        force_terminal=console != "pipe",
        force_interactive=False if console == "not interactive" else None,
        color_system=None,
    )
    with shown_progress(written, "[b]claims", clock) as display:
        for iteration in range(200):
            clock.now += 0.125
            display.progress(event(iteration, chains=2))
    lines = file.getvalue().splitlines()
    assert len(lines) == int(25 / SECONDS_BETWEEN_LINES)
    assert lines[1].startswith("[b]claims: chain 1/2  iteration 79/200  U")
    assert lines[1].endswith("left")
    assert "\x1b" not in file.getvalue()


def test_a_short_search_says_nothing_where_there_is_no_terminal() -> None:
    file = io.StringIO()
    with shown_progress(Console(file=file), "claims") as display:
        for iteration in range(200):
            display.progress(event(iteration))
    assert file.getvalue() == ""


def test_a_warning_is_a_line_of_its_own_above_the_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console, raw = _terminal(80)
    with shown_progress(console, "claims") as display:
        display.progress(event(1))
        logging.getLogger("elicit.somewhere").warning("mind the [gap]")
    assert b"mind the [gap]\n" in raw.getvalue()
    assert logging.getLogger("elicit").handlers == []


def test_lines_follow_the_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console, raw = _terminal(120)
    with shown_progress(console, "claims") as display:
        display.progress(event(20, chains=2))
        time.sleep(0.3)
        console.width = 40
        raw.truncate(0)
        raw.seek(0)
        time.sleep(0.4)
        plain = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", raw.getvalue().decode())
    assert "20/200" in plain
    assert all(len(line) < 40 for line in re.split(r"[\r\n]+", plain))
