"""Rate-limit headers of each vendor are read to one form; garbage is left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elicit.providers.rate_headers import Measure, RateWindow, read_windows

DATE = "Wed, 25 Nov 2026 10:00:00 GMT"


def triple(prefix: str, limit: str, remaining: str, reset: str) -> dict[str, str]:
    """Headers in OpenAI's order of words; `prefix` names what is counted."""
    return {
        f"x-ratelimit-limit-{prefix}": limit,
        f"x-ratelimit-remaining-{prefix}": remaining,
        f"x-ratelimit-reset-{prefix}": reset,
    }


def test_openai_s_requests_and_tokens_are_read() -> None:
    headers = triple("requests", "60", "59", "1s") | triple(
        "tokens", "150000", "149984", "6m0s"
    )
    assert read_windows(headers, 0.0) == {
        "requests": RateWindow(60, 59, 1.0),
        "tokens": RateWindow(150000, 149984, 360.0),
    }


def test_anthropic_s_times_are_measured_against_its_own_clock() -> None:
    names = {
        "requests": "requests",
        "tokens": "tokens",
        "input-tokens": "input_tokens",
        "output-tokens": "output_tokens",
    }
    headers = {"Date": DATE}
    for name in names:
        headers |= {
            f"anthropic-ratelimit-{name}-limit": "1000",
            f"anthropic-ratelimit-{name}-remaining": "999",
            f"anthropic-ratelimit-{name}-reset": "2026-11-25T10:00:05Z",
        }
    expected = RateWindow(1000, 999, 5.0, 60.0)
    assert read_windows(headers, now=1e9) == dict.fromkeys(names.values(), expected)


def test_a_reset_before_the_answer_s_own_date_is_now() -> None:
    headers = {
        "date": DATE,
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-reset": "2026-11-25T09:59:59Z",
    }
    assert read_windows(headers, 0.0)["requests"].reset_seconds == 0.0


def test_fireworks_states_tokens_a_second_and_counts_them_a_minute() -> None:
    headers = {"X-Ratelimit-Limit-Tokens-Prompt": "60000"}
    assert read_windows(headers, 0.0) == {
        "input_tokens": RateWindow(3_600_000, window_seconds=60.0)
    }


def test_together_s_limits_are_a_second_s() -> None:
    headers = {
        "x-ratelimit-limit": "10",
        "x-ratelimit-remaining": "9",
        "x-ratelimit-reset": "1",
        "x-tokenlimit-limit": "3000",
        "x-tokenlimit-remaining": "2500",
    }
    assert read_windows(headers, 0.0) == {
        "requests": RateWindow(10, 9, 1.0, 1.0),
        "tokens": RateWindow(3000, 2500, None, 1.0),
    }


def test_a_reset_given_as_an_epoch_is_measured_against_the_server_s_date() -> None:
    headers = {"date": DATE, "x-ratelimit-limit": "20", "x-ratelimit-remaining": "0"}
    for epoch in ("1795600830", "1795600830000"):  # 10:00:30
        found = read_windows(headers | {"x-ratelimit-reset": epoch}, 0.0)
        assert found["requests"] == RateWindow(20, 0, 30.0)


@pytest.mark.parametrize(
    "headers",
    [
        {
            "ratelimit-limit": "100, 100;w=60",
            "ratelimit-remaining": "95",
            "ratelimit-reset": "25",
        },
        {
            "ratelimit-limit": "100",
            "ratelimit-policy": "9;w=1, 100;w=60",
            "ratelimit-remaining": "95",
            "ratelimit-reset": "25",
        },
        {"ratelimit": '"d";r=95;t=25', "ratelimit-policy": '"d";q=100;w=60'},
    ],
)
def test_each_draft_of_the_standard_is_read(headers: dict[str, str]) -> None:
    assert read_windows(headers, 0.0) == {"requests": RateWindow(100, 95, 25.0, 60.0)}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20ms", 0.02),
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3723.0),
        ("1d", 86400.0),
        ("0s", 0.0),
        ("12", 12.0),
        ("1.5", 1.5),
        ("", None),
        ("soon", None),
        ("-3s", None),
        ("nan", None),
        ("5 parsecs", None),
    ],
)
def test_a_reset_is_read_in_every_spelling(text: str, seconds: float | None) -> None:
    found = read_windows(triple("requests", "60", "59", text), 0.0)
    assert found["requests"].reset_seconds == (
        None if seconds is None else pytest.approx(seconds, abs=1e-9)
    )


@pytest.mark.parametrize("limit", ["", "many", "0", "-1", "nan", "inf", "1e999"])
def test_a_limit_that_is_none_is_left_out(limit: str) -> None:
    assert read_windows(triple("requests", limit, "1", "1s"), 0.0) == {}


def test_more_left_than_the_limit_is_the_limit() -> None:
    assert read_windows(triple("tokens", "10", "12", "1s"), 0.0)["tokens"].remaining == 10


names = st.sampled_from(
    [
        *triple("requests", "", "", ""),
        *triple("tokens", "", "", ""),
        "anthropic-ratelimit-tokens-limit",
        "anthropic-ratelimit-tokens-reset",
        "x-ratelimit-limit",
        "x-tokenlimit-limit",
        "ratelimit-limit",
        "ratelimit-policy",
        "ratelimit",
        "date",
    ]
)
values = st.text(max_size=30) | st.from_regex(r'"?[a-z]?"?[;,]?[qrtw]?=?-?\d{0,25}[smhd]{0,2}')


@given(st.dictionaries(names, values))
def test_no_header_is_an_error_and_every_window_is_sound(headers: dict[str, str]) -> None:
    found: dict[Measure, RateWindow] = read_windows(headers, 0.0)
    for window in found.values():
        assert window.limit >= 1
        assert window.remaining is None or 0 <= window.remaining <= window.limit
        assert window.reset_seconds is None or 0 <= window.reset_seconds < float("inf")
        assert window.window_seconds is None or 0 < window.window_seconds < float("inf")
