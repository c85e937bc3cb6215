"""A model's last day is told before a run is paid for."""

from __future__ import annotations

from datetime import date

import pytest

from elicit.providers.shutdowns import shutdown_date


@pytest.mark.parametrize(
    ("provider", "model", "day"),
    [
        ("openai", "gpt-4o-mini", date(2027, 1, 14)),
        ("openai", "gpt-4o-mini-2024-07-18", date(2027, 1, 14)),
        ("openai", "gpt-4o-2024-05-13", date(2026, 10, 23)),
        ("openai", "davinci-002", date(2026, 9, 28)),
        ("anthropic", "claude-sonnet-4-5", date(2026, 11, 30)),
    ],
)
def test_an_announced_shutdown_is_known(provider: str, model: str, day: date) -> None:
    assert shutdown_date(provider, model) == day


def test_a_fine_tuned_model_goes_with_its_base() -> None:
    assert shutdown_date("openai", "ft:gpt-4.1-mini-2025-04-14:me::x") == date(2027, 1, 14)


def test_no_date_is_made_up() -> None:
    assert shutdown_date("openai", "gpt-6-luna") is None
    assert shutdown_date("openai", "gpt-4o-mini-2030-01-01") is None
    assert shutdown_date("together", "gpt-4o-mini") is None


def test_the_table_has_every_date_that_the_sdk_announces() -> None:
    chat_model = pytest.importorskip("openai.types.shared.chat_model")
    with open(chat_model.__file__, encoding="utf-8") as file:
        announced = file.read().partition('"""Deprecated values:')[2]
    for item in announced.split("\n- ")[1:]:
        names, told, rest = " ".join(item.split()).partition("shutdown date: ")
        for name in names.split('"')[1::2] if told else []:
            assert shutdown_date("openai", name) == date.fromisoformat(rest[:10]), name
