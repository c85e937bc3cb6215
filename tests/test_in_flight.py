"""Many requests in flight, by the count of a server that is a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="needs the extra hosted")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from in_flight import measure

RATE = 9_000
"""Requests a minute: at 0.4 s each, some 58 at once use it up."""
REQUESTS = 600


def test_many_are_in_flight_and_a_stated_rate_is_never_passed() -> None:
    seen = measure(RATE, 0.4, REQUESTS, concurrency=64)
    assert seen.answered == seen.stored == REQUESTS
    assert 32 < seen.most_at_once <= 64
    # The server refuses what is more than a second's worth ahead of the rate.
    assert seen.refused == 0
    assert REQUESTS / seen.seconds <= RATE / 60
    # Each connection is used again.
    assert seen.connections <= 64


def test_what_the_http_client_holds_at_once_is_bounded_by_the_setting_alone() -> None:
    seen = measure(60_000, 0.7, 400, concurrency=120)
    assert 100 < seen.most_at_once <= 120
