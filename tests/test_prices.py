"""A price is one that a page states, for exactly this model, or it is unknown."""

from __future__ import annotations

import tomllib
from datetime import date
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elicit.cache.errors import InputError
from elicit.providers.prices import Price, find_price, read_prices

ENTRY = """
[[price]]
provider = "openai"
model = "gpt-4o-mini"
input = 9.0
output = 18.0
as_of = 2026-01-31
source = "my contract"
"""

tokens = st.integers(0, 200_000)


@pytest.fixture(autouse=True)
def no_table_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELICIT_PRICES", raising=False)


def price(provider: str, model: str, own: Path | None = None) -> Price:
    found = find_price(provider, model, own)
    assert found is not None
    return found


def table(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_shipped_price_has_a_date_and_a_page() -> None:
    shipped = (files("elicit.providers") / "prices.toml").read_text(encoding="utf-8")
    for entry in tomllib.loads(shipped)["price"]:
        found = price(entry["provider"], entry["model"])
        assert found.source.startswith("https://")
        assert date(2023, 1, 1) < found.as_of < date(2030, 1, 1)
        assert found.cached_input <= found.input <= found.cache_write
        assert found.long is None or found.long.input > found.input


def test_a_dated_snapshot_costs_what_its_name_costs() -> None:
    assert price("openai", "gpt-4o-mini-2024-07-18") == price("openai", "gpt-4o-mini")
    assert price("anthropic", "claude-haiku-4-5-20251001") == price(
        "anthropic", "claude-haiku-4-5"
    )


def test_a_snapshot_with_an_entry_of_its_own_has_its_own_price() -> None:
    assert price("openai", "gpt-4o-2024-05-13").input == 5.0
    assert price("openai", "gpt-4o-2024-11-20").input == 2.5


def test_a_name_that_only_starts_like_a_known_one_has_no_price() -> None:
    assert price("openai", "gpt-4o") != price("openai", "gpt-4o-mini")
    for name in ("gpt-4o-audio-preview", "gpt-4", "gpt-4o-", "gpt-4o-2024", "gpt-4o-0513"):
        assert find_price("openai", name) is None


def test_a_fine_tuned_model_has_no_price_but_one_that_is_listed(tmp_path: Path) -> None:
    tuned = "ft:gpt-4o-mini-2024-07-18:me::abc"
    assert find_price("openai", tuned) is None
    assert find_price("openai", "ft:gpt-4o-mini-2024-07-18") is None
    own = table(tmp_path, ENTRY.replace("gpt-4o-mini", tuned))
    assert price("openai", tuned, own).input == 9.0
    own = table(tmp_path, ENTRY.replace("gpt-4o-mini", "ft:gpt-4o-mini"))
    assert find_price("openai", "ft:gpt-4o-mini-2024-07-18", own) is None


def test_the_same_name_elsewhere_is_another_model() -> None:
    assert find_price("openrouter", "gpt-4o") is None
    assert price("groq", "openai/gpt-oss-20b") != price(
        "fireworks", "accounts/fireworks/models/gpt-oss-20b"
    )


@pytest.mark.parametrize("local", ["compatible", "vllm", "ollama", "lm-studio", "llama-server"])
def test_a_local_model_costs_nothing_only_if_the_user_says_so(
    local: str, tmp_path: Path
) -> None:
    assert find_price(local, "qwen3") is None
    free = ENTRY.replace("openai", local).replace("gpt-4o-mini", "qwen3")
    own = table(tmp_path, free.replace("9.0", "0").replace("18.0", "0"))
    assert (
        price(local, "qwen3", own).cost(
            input_tokens=10**6, cached_tokens=0, cache_write_tokens=0, output_tokens=10**6
        )
        == 0
    )


def test_the_users_own_price_wins_and_the_rest_is_still_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = table(tmp_path, ENTRY)
    monkeypatch.setenv("ELICIT_PRICES", str(own))
    assert price("openai", "gpt-4o-mini").input == 9.0
    assert price("openai", "gpt-4o-mini-2024-07-18").source == "my contract"
    assert price("openai", "gpt-4o").input == 2.5


def test_a_request_costs_its_tokens_at_their_rates() -> None:
    luna = price("openai", "gpt-6-luna")
    dollars = luna.cost(
        input_tokens=100_000, cached_tokens=50_000, cache_write_tokens=20_000, output_tokens=10
    )
    assert dollars == pytest.approx(0.01 + 0.0005 + 0.0025 + 0.000005)


def test_a_long_prompt_is_billed_whole_at_the_long_rate() -> None:
    luna = price("openai", "gpt-6-luna")

    def dollars(prompt: int) -> float:
        return luna.cost(
            input_tokens=prompt, cached_tokens=0, cache_write_tokens=0, output_tokens=0
        )

    assert dollars(272_000) == pytest.approx(0.0272)
    assert dollars(272_001) == pytest.approx(2 * 0.0272, rel=1e-4)


@given(tokens, tokens, tokens, tokens)
def test_a_batch_costs_its_factor_and_no_token_is_free(a: int, b: int, c: int, d: int) -> None:
    mini = price("openai", "gpt-4o-mini")

    def dollars(batch: bool) -> float:
        return mini.cost(
            input_tokens=a, cached_tokens=b, cache_write_tokens=c, output_tokens=d, batch=batch
        )

    assert dollars(True) == pytest.approx(dollars(False) / 2)
    assert (dollars(False) == 0) == (a == b == c == d == 0)


def test_what_no_entry_discounts_costs_as_input(tmp_path: Path) -> None:
    own = price("openai", "gpt-4o-mini", table(tmp_path, ENTRY))
    assert own.cached_input == own.cache_write == own.input == 9.0


def test_a_batch_price_that_is_not_known_is_not_made_up(tmp_path: Path) -> None:
    own = price("openai", "gpt-4o-mini", table(tmp_path, ENTRY))
    with pytest.raises(InputError, match=r"no batch price is known .*batch = "):
        own.cost(
            input_tokens=1, cached_tokens=0, cache_write_tokens=0, output_tokens=0, batch=True
        )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("input = 9.0", "inptu = 9.0", "unknown field 'inptu'; did you mean 'input'"),
        ("input = 9.0", "", "input is missing: give USD per million tokens"),
        ("input = 9.0", 'input = "9"', "input: must be a number, not '9'"),
        ("input = 9.0", "input = true", "input: must be a number, not True"),
        ("input = 9.0", "input = -1", "input: must be 0 or more, not -1"),
        ("input = 9.0", "input = nan", "input: must be 0 or more, not nan"),
        ("2026-01-31", '"2026-01-31"', "as_of: must be a date without quotes"),
        ("2026-01-31", "2026-01-31T00:00:00", "as_of: must be a date without quotes"),
        ('source = "my contract"', "", "source: must be a text"),
        ('model = "gpt-4o-mini"', "model = 4", "model: must be a text"),
        (
            "input = 9.0",
            "input = 9.0\nbatch = 2",
            "batch: must be a factor above 0 and up to 1",
        ),
        ("input = 9.0", "input = 9.0\nlong = 2", "long: must be a table; write .price.long."),
        (
            'contract"',
            'contract"\n[price.long]\ninput = 1\noutput = 1',
            "above: must be a whole",
        ),
        ("[[price]]", "[price]", "price: write ..price.. with two brackets"),
        ("[[price]]", "[[prices]]", "unknown 'prices'; write ..price.. entries"),
        ("[[price]]", "[[price]", "not TOML"),
        (ENTRY, ENTRY + ENTRY, "openai gpt-4o-mini stands twice; remove one"),
    ],
)
def test_a_damaged_table_is_one_error_that_names_file_entry_field_and_mend(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    path = table(tmp_path, ENTRY.replace(old, new))
    with pytest.raises(InputError, match=f"mine.toml: .*{message}"):
        find_price("openai", "gpt-4o", path)


def test_a_table_that_is_not_there_is_an_error_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELICIT_PRICES", str(tmp_path / "gone.toml"))
    with pytest.raises(InputError, match=r"gone.toml: there is no such price table.*ELICIT_PR"):
        find_price("openai", "gpt-4o")
    with pytest.raises(InputError, match="can't be read"):
        read_prices(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"\xff")
    with pytest.raises(InputError, match="not UTF-8 at byte 0"):
        read_prices(tmp_path / "latin.toml")
