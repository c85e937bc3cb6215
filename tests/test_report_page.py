"""A report is one file that stands alone, of bounded size, whatever a run holds."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_world import (
    begun,
    comparison,
    curve,
    facts,
    items,
    prompts_of,
    without_gold,
)

from elicit.evaluation import Estimate
from elicit.report.axes import Scale, apart, limits, thinned, ticks
from elicit.report.embedded import block, cut_to, size
from elicit.report.facts import MISSING, ChainFacts, RunFacts
from elicit.report.page import comparison_page, page

MEGABYTE = 1_000_000
VOID = {"meta", "input", "br"}
OUTSIDE = re.compile(r"""(?:src|href|action|url|@import)\s*[=(]\s*["']?\s*(?!#)[\w/]""", re.I)


class Tags(HTMLParser):
    """Holds that every tag that is opened is closed, in order, and that no id comes twice."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.names: list[str] = []
        self.feed(document)
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self.names.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def data_of(document: str) -> dict[str, object]:
    found = re.search('<script type="application/json" id="data">(.*?)</script>', document)
    assert found is not None

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    loaded: dict[str, object] = json.loads(found[1], parse_constant=refuse)
    return loaded


@pytest.mark.parametrize(
    "run",
    [
        facts(),
        facts(chains=1),
        facts(60, labels=12),
        without_gold(facts()),
        begun(),
        facts(prompts=None, prompts_missing="They were too many."),
        facts(items=tuple(replace(i, label=MISSING, probability=None) for i in items(9)),
              gold=None, gold_missing="None."),
        facts(chains=0),
        facts(objective=-math.inf, usage={"calls": 3.0, "unpriced_calls": 3.0}),
        facts(items=tuple(replace(i, log_odds=math.inf, flips=None) for i in items(9)),
              gold=None, gold_missing="None."),
    ],
    ids=["whole", "one chain", "12 labels", "no gold", "begun", "no prompts", "all abstained",
         "no chain", "infinite", "endless odds"],
)  # fmt: skip
def test_a_page_is_well_formed_whatever_is_missing(run: RunFacts) -> None:
    document = page(run)
    Tags(document)
    assert "nan" not in re.sub("<script.*?</script>|<style.*?</style>", "", document).lower()
    assert len(data_of(document)["ids"]) == len(run.items)  # type: ignore[arg-type]  # a list


def test_a_comparison_is_well_formed() -> None:
    Tags(comparison_page(comparison()))
    Tags(
        comparison_page(comparison(facts(), replace(begun(), name="begun"), facts(9, name="c")))
    )


@pytest.mark.parametrize("text", ["", "<&\u2028" * 33_000, "語" * 100_000, "\x00\x1f" * 50_000])
def test_a_page_of_a_thousand_items_is_under_two_megabytes(text: str) -> None:
    found = items(1_000, texts=[text] if text else None)
    run = facts(items=found, chains=8)
    for long in (run, replace(run, name=text, model=text, task=text, command=text)):
        document = page(long)
        assert len(document.encode()) < 2 * MEGABYTE
        cut = data_of(document)["cut"]
        assert cut == ({str(k): len(text) for k in range(1_000)} if text else {})
    whole = comparison_page(comparison(run, replace(run, name="again")))
    assert len(whole.encode()) < 2 * MEGABYTE


def test_a_page_of_a_thousand_items_with_long_ids_and_groups_is_under_two_megabytes() -> None:
    long = "<\x01語" * 30_000
    found = tuple(
        replace(item, id=f"{k}{long}", group=f"{k}{long}", text=long, characters=len(long))
        for k, item in enumerate(items(1_000))
    )
    names = (f"{long}a", f"{long}b")
    document = page(facts(items=found, label_names=names))
    assert len(document.encode()) < 2 * MEGABYTE


def test_a_page_with_more_prompts_than_it_has_room_for_says_so() -> None:
    found = items(1_000)
    some = prompts_of(1_000)
    own = tuple(tuple((k + j) % 1_000 for j in range(600)) for k in range(1_000))
    document = page(facts(items=found, prompts=replace(some, sequences=own)))
    assert len(document.encode()) < 2 * MEGABYTE
    assert data_of(document)["prompts"] is None
    assert "too many" in str(data_of(document)["promptsMissing"])


def test_a_short_text_is_kept_whole_beside_a_long_one() -> None:
    found = items(1_000, texts=["x" * 100_000, "short"])
    texts = data_of(page(facts(items=found)))["texts"]
    assert isinstance(texts, list)
    assert texts[1] == "short"
    assert 100 < len(texts[0]) < 100_000


@pytest.mark.parametrize("document", [page(facts()), comparison_page(comparison())])
def test_a_page_refers_to_nothing_outside_itself(document: str) -> None:
    assert not {"link", "img", "iframe", "object", "embed", "form", "base"} & {
        *Tags(document).names
    }
    assert OUTSIDE.search(document) is None
    assert "//" not in re.sub("<script>.*?</script>", "", document, flags=re.DOTALL)
    assert "default-src &#39;none&#39;" in document
    assert "unsafe" not in document


def test_a_page_of_a_run_that_goes_on_loads_again_and_says_so() -> None:
    document = page(begun(), refresh_seconds=5)
    assert '<meta http-equiv="refresh" content="5">' in document
    assert "This run is going on" in document
    assert "going on" not in re.sub("<script>.*?</script>", "", page(begun()), flags=re.DOTALL)


def test_what_was_asked_is_said_with_what_is_not_the_default() -> None:
    document = page(facts())
    told = re.sub("<[^>]*>", "", document)
    assert "elicit run tasks/claims.toml --model tiny --method icm --chains 3 --seed 7" in told
    assert re.search('class="chosen"><dt>chains', document)
    assert "elicit diagnose tasks/claims.toml" in told
    assert "Add a constraint." in told


def test_a_price_that_is_unknown_is_said_to_be() -> None:
    assert "price unknown" in page(facts(usage={"calls": 3.0, "unpriced_calls": 3.0}))
    assert "$0.0123" in page(facts(usage={"calls": 3.0, "cost_usd": 0.0123}))


def test_an_interval_of_values_that_are_all_alike_is_none() -> None:
    run = facts()
    assert run.gold is not None
    alike = replace(run.gold.evaluation, accuracy=Estimate(1.0, 1.0, 1.0, 40, 8))
    assert "all 8 alike" in page(replace(run, gold=replace(run.gold, evaluation=alike)))


def test_a_long_search_is_drawn_with_fewer_points_and_says_so() -> None:
    chain = ChainFacts(-2.0, 0, (0.5, 0.5), answered=True, curve=curve(5_000))
    document = page(replace(facts(chains=1), chains=(chain,)))
    assert "Of the 5,000 points of a line at most 400 are drawn" in document
    assert len(document) < MEGABYTE


points = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=900).map(
    lambda ys: [(float(x), y) for x, y in enumerate(ys)]
)


@given(points, st.integers(6, 100))
def test_thinning_keeps_the_first_the_last_and_the_extremes(
    line: list[tuple[float, float]], most: int
) -> None:
    kept = thinned(line, most)
    ys = [y for _, y in line]
    assert len(kept) <= most or len(kept) == len(line)
    assert (kept[0], kept[-1]) == (line[0], line[-1])
    assert {min(ys), max(ys)} <= {y for _, y in kept}
    assert kept == sorted(kept)
    assert set(kept) <= set(line)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.booleans(), st.booleans())
def test_ticks_are_few_and_within_the_limits(
    values: list[float], from_zero: bool, whole: bool
) -> None:
    low, high = limits(values, from_zero=from_zero)
    assert low < high
    assert low <= min(values)
    assert max(values) <= high
    found = ticks(low, high, whole=whole)
    room = (high - low) * 1e-6
    assert len(found) <= 7
    assert all(low - room <= tick <= high + room for tick in found)
    assert not whole or all(tick == int(tick) for tick in found)
    assert all(0 <= Scale(low, high, 0, 100)(value) <= 100 for value in values)


@given(st.lists(st.floats(0, 200), max_size=12))
def test_names_at_the_ends_of_lines_are_not_on_each_other(places: list[float]) -> None:
    moved = sorted(apart(places, 12, 0, 200))
    assert all(b - a > 11.99 for a, b in pairwise(moved))


@given(st.text(st.characters(exclude_categories=[])))
def test_a_block_of_data_is_json_that_ends_no_script_and_can_be_encoded(text: str) -> None:
    written = block({"text": text})
    assert not {"<", ">", "&", "\u2028", "\u2029"} & set(written)
    assert json.loads(written.encode().decode()) == json.loads(json.dumps({"text": text}))


@given(st.lists(st.text(max_size=90), max_size=20), st.integers(0, 2_000))
def test_texts_are_cut_to_one_length_that_fits(texts: list[str], room: int) -> None:
    kept = cut_to(texts, room, most=80, least=4)
    longest = max(map(len, kept), default=0)
    assert all(
        part == whole or (whole.startswith(part) and len(part) == longest)
        for part, whole in zip(kept, texts, strict=True)
    )
    assert longest <= 4 or sum(size(part) for part in kept) <= room + 2
