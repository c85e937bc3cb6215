"""What a hosted model charges, from a dated table: `prices.toml`, or the user's own.

A price that no table states is unknown, never guessed: a model's relatives, its fine-tuned
children and whatever merely starts with its name have no price but their own. A server of
the user's own costs nothing only if the user's table says so.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path

from elicit.cache.errors import InputError

VARIABLE = "ELICIT_PRICES"
"""Names the user's own table."""

_RATES = ("input", "cached_input", "cache_write", "output")
_FIELDS = ("provider", "model", *_RATES, "batch", "as_of", "source", "long")
_SNAPSHOT = re.compile(r"(?P<base>.+)-(?:\d{4}-\d{2}-\d{2}|\d{8})")

Table = Mapping[tuple[str, str], "Price"]
"""`(provider, model)` to its price."""


@dataclass(frozen=True, slots=True)
class LongPrompts:
    """USD per million tokens of a whole request whose prompt has more tokens than `above`."""

    above: int
    input: float
    cached_input: float
    cache_write: float
    output: float


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens, when that was stated, and where."""

    input: float
    cached_input: float
    """Tokens read from a prompt cache; as `input` where no discount is known."""
    cache_write: float
    """Tokens written to a cache that bills its writes; as `input` where it does not."""
    output: float
    batch: float | None
    """Factor on every price through a batch API; None where none is known."""
    as_of: date
    source: str
    long: LongPrompts | None = None

    def cost(
        self,
        *,
        input_tokens: int,
        cached_tokens: int,
        cache_write_tokens: int,
        output_tokens: int,
        batch: bool = False,
    ) -> float:
        """USD of one request. The three kinds of prompt tokens do not overlap.

        `input_tokens` are those billed at the full rate: neither read from a cache nor
        written to one. Sums over requests are right only where `long` is None, as the
        length of each prompt decides its rate.

        Raises:
            InputError: a batch price is asked for and none is known.
        """
        if min(input_tokens, cached_tokens, cache_write_tokens, output_tokens) < 0:
            raise ValueError("a request can't have fewer than no tokens")
        prompt = input_tokens + cached_tokens + cache_write_tokens
        rates = self if self.long is None or prompt <= self.long.above else self.long
        dollars = (
            input_tokens * rates.input
            + cached_tokens * rates.cached_input
            + cache_write_tokens * rates.cache_write
            + output_tokens * rates.output
        ) / 1e6
        if not batch:
            return dollars
        if self.batch is None:
            raise InputError(
                f"no batch price is known (price of {self.as_of}, {self.source}); "
                f"give the factor as batch = ... in your own table ({VARIABLE})"
            )
        return dollars * self.batch


def find_price(provider: str, model: str, own: Path | None = None) -> Price | None:
    """The price of a model, or None where no table states it.

    The user's own table (`own`, else the file named by ELICIT_PRICES) is asked first, for
    the exact name and then for the name without its date; so is the shipped one after it.

    Raises:
        InputError: the user's table is missing or damaged; names file, entry and field.
    """
    named = os.environ.get(VARIABLE, "")
    path = own if own is not None else (Path(named).expanduser() if named else None)
    tables = [_shipped()] if path is None else [read_prices(path), _shipped()]
    for table in tables:
        for name in _names(model):
            if (provider, name) in table:
                return table[provider, name]
    return None


def _names(model: str) -> list[str]:
    """A model's exact name, then the name whose dated snapshot it is."""
    snapshot = None if model.startswith("ft:") else _SNAPSHOT.fullmatch(model)
    return [model] if snapshot is None else [model, snapshot["base"]]


@cache
def _shipped() -> Table:
    text = (files("elicit.providers") / "prices.toml").read_text(encoding="utf-8")
    return _parsed(text, "prices.toml")


def read_prices(path: Path) -> Table:
    """Read a table in the form of the shipped `prices.toml`; see `find_price`."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: there is no such price table; mend or unset {VARIABLE}"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from error
    return _parsed(text, str(path))


def _parsed(text: str, where: str) -> Table:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not TOML: {error}") from error
    entries = data.pop("price", [])
    if data:
        raise InputError(f"{where}: unknown {next(iter(data))!r}; write [[price]] entries")
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise InputError(f"{where}: price: write [[price]] with two brackets")
    table: dict[tuple[str, str], Price] = {}
    for number, entry in enumerate(entries, 1):
        place = f"{where}: [[price]] {number}"
        key = (_text(entry, "provider", place), _text(entry, "model", place))
        if key in table:
            raise InputError(f"{place}: model: {' '.join(key)} stands twice; remove one")
        table[key] = _price(entry, f"{place} ({' '.join(key)})")
    return table


def _price(entry: Mapping[str, object], place: str) -> Price:
    _known(entry, _FIELDS, place)
    day = entry.get("as_of")
    if not isinstance(day, date) or isinstance(day, datetime):
        raise InputError(f"{place}: as_of: must be a date without quotes, as_of = 2026-01-31")
    batch = _number(entry, "batch", place) if "batch" in entry else None
    if batch is not None and not 0 < batch <= 1:
        raise InputError(f"{place}: batch: must be a factor above 0 and up to 1, not {batch}")
    long = entry.get("long")
    if long is not None and not isinstance(long, dict):
        raise InputError(f"{place}: long: must be a table; write [price.long]")
    return Price(
        *_rates(entry, place),
        batch=batch,
        as_of=day,
        source=_text(entry, "source", place),
        long=None if long is None else _long(long, f"{place}: [price.long]"),
    )


def _long(table: Mapping[str, object], place: str) -> LongPrompts:
    _known(table, ("above", *_RATES), place)
    above = table.get("above")
    if not isinstance(above, int) or isinstance(above, bool) or above < 1:
        raise InputError(f"{place}: above: must be a whole number of tokens, not {above!r}")
    return LongPrompts(above, *_rates(table, place))


def _rates(table: Mapping[str, object], place: str) -> tuple[float, float, float, float]:
    full = _number(table, "input", place)
    cached, write = (
        _number(table, name, place) if name in table else full
        for name in ("cached_input", "cache_write")
    )
    return full, cached, write, _number(table, "output", place)


def _number(table: Mapping[str, object], name: str, place: str) -> float:
    if name not in table:
        raise InputError(f"{place}: {name} is missing: give USD per million tokens")
    value = table[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{place}: {name}: must be a number, not {value!r}")
    if not math.isfinite(value) or value < 0:
        raise InputError(f"{place}: {name}: must be 0 or more, not {value}")
    return float(value)


def _text(table: Mapping[str, object], name: str, place: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f'{place}: {name}: must be a text; write {name} = "..."')
    return value


def _known(table: Mapping[str, object], names: tuple[str, ...], place: str) -> None:
    for name in table:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(
                f"{place}: unknown field {name!r}{hint} (known: {', '.join(names)})"
            )
