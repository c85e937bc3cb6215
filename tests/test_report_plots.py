"""Plots of a run: which files there are, that they tell the facts, and what odd data does."""

from __future__ import annotations

import csv
import math
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elicit.cache.errors import InputError
from elicit.calibration import Point
from elicit.evaluate import evaluate
from elicit.report.facts import MISSING, ChainFacts, Curve, Gold, ItemFacts, RunFacts
from elicit.report.plot_data import (
    BINS,
    agreement_table,
    confidence_table,
    curve_table,
    odds_table,
    safe_cell,
)
from elicit.report.plots import draw, plots_of
from elicit.report.run_charts import agreement_chart, confidence_charts

pytest.importorskip("matplotlib", reason="needs the extra plots")

ALL = (
    "objective",
    "temperature",
    "inconsistency",
    "agreement",
    "confidence",
    "log-odds",
    "calibration",
    "risk-coverage",
)
ODD = (
    "$x$ and \\frac{1}{0} $",
    "two\nlines\tand \x1b[31m, \x00",
    "_hidden",
    "emoji \U0001f600, 正确, \ud800",
    "<script>alert(1)</script>",
    "--> & ]]>",
    "",
    "a" * 100_000,
    "עברית and عربى",
)
texts = st.text(st.characters(blacklist_categories=()), max_size=30)


def _chain(seed: int, steps: int, *, answered: bool, heat: float = 10.0) -> ChainFacts:
    rng = np.random.default_rng(seed)
    curve = Curve(
        tuple(range(steps)),
        tuple(np.cumsum(rng.normal(0.1, 1, steps)).tolist()),
        tuple(rng.integers(0, 9, steps).tolist()),
        tuple(heat / (1 + i) for i in range(steps)),
        (None, *(True,) * (steps - 1)),
        (1,) * steps,
    )
    return ChainFacts(-1.0, 0, (0.5, 0.5), answered, curve)


def _facts(
    *, names: tuple[str, ...] = ("False", "True"), chains: int = 3, steps: int = 60
) -> RunFacts:
    """A finished run of 40 items, labels taken in turns, that has everything to draw."""
    rng = np.random.default_rng(7)
    labels, odds = np.arange(40) % len(names), rng.normal(3, 2, 40)
    gold = np.where(rng.random(40) < 0.8, labels, (labels + 1) % len(names))
    votes = tuple(chains if k == 0 else 0 for k in range(len(names)))
    items = tuple(
        ItemFacts(
            str(i),
            None,
            "text",
            4,
            int(labels[i]),
            float(1 / (1 + np.exp(-odds[i]))),
            float(odds[i]),
            0,
            False,
            votes if i else tuple(int(k < chains) for k in range(len(names))),
            int(gold[i]),
        )
        for i in range(40)
    )
    evaluation = evaluate(labels, odds, gold, range(40), n_labels=len(names))
    return RunFacts(
        name="a run",
        task="claims",
        task_path="claims.toml",
        model="tiny",
        method="icm",
        seed=0,
        status="done",
        created=0.0,
        updated=0.0,
        version="0",
        label_names=names,
        settings=(),
        command="elicit run claims",
        chains=tuple(_chain(k, steps, answered=k == 1) for k in range(chains)),
        planned_chains=chains,
        agreement=0.9 if chains > 1 else None,
        agreement_up_to_names=None,
        objective=-1.0,
        inconsistency=0,
        mean_coverage=None,
        bounded_share=None,
        usage={},
        usage_known=True,
        findings=(),
        diagnosis=None,
        items=items,
        prompts=None,
        prompts_missing="",
        gold=Gold("gold", evaluation),
        gold_missing="",
    )


FACTS = _facts()


NAMES_ONLY = replace(FACTS, chains=(), gold=None, items=FACTS.items[:3])
"""What draws label names, and little else."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All plots of `FACTS`."""
    folder = tmp_path_factory.mktemp("plots") / "new" / "folder"
    files = draw(FACTS, folder)
    assert sorted(files) == sorted(folder.iterdir())
    return folder


def _stems(facts: RunFacts) -> tuple[str, ...]:
    return tuple(plot.stem for plot in plots_of(facts))


def _read(folder: Path, stem: str) -> list[dict[str, str]]:
    with (folder / f"{stem}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_plot_is_an_svg_and_a_png_with_its_data(drawn: Path) -> None:
    files = list(drawn.iterdir())
    assert _stems(FACTS) == ALL
    assert {file.name for file in files} == {
        f"{stem}.{ending}" for stem in ALL for ending in ("svg", "png", "csv")
    }
    for file in files:
        if file.suffix == ".svg":
            assert ElementTree.fromstring(file.read_bytes()).tag.endswith("svg")
        if file.suffix == ".png":
            assert file.read_bytes().startswith(b"\x89PNG")


def test_the_same_facts_give_the_same_bytes_whatever_the_user_set(
    drawn: Path, tmp_path: Path
) -> None:
    import matplotlib as mpl

    first = {file.name: file.read_bytes() for file in drawn.iterdir()}
    with mpl.rc_context({"font.size": 30.0, "axes.grid": False, "svg.fonttype": "none"}):
        second = {file.name: file.read_bytes() for file in draw(FACTS, tmp_path)}
        assert mpl.rcParams["font.size"] == 30.0
    assert first == second


@pytest.mark.parametrize("quantity", ["objective", "temperature", "inconsistency"])
def test_the_data_of_a_curve_is_that_of_the_facts(drawn: Path, quantity: str) -> None:
    rows = _read(drawn, quantity)
    for number, chain in enumerate(FACTS.chains, 1):
        own = [row for row in rows if row["chain"] == str(number)]
        assert tuple(int(row["iteration"]) for row in own) == chain.curve.iterations
        told = tuple(float(row[quantity]) for row in own)
        assert told == getattr(chain.curve, quantity)


@pytest.mark.parametrize(
    ("stem", "x", "y"),
    [("calibration", "confidence", "accuracy"), ("risk-coverage", "coverage", "error")],
)
def test_the_data_of_what_needs_gold_is_that_of_the_facts(
    drawn: Path, stem: str, x: str, y: str
) -> None:
    assert FACTS.gold is not None
    points = getattr(FACTS.gold.evaluation, stem.replace("-", "_"))
    told = tuple(
        Point(
            float(row[x]),
            float(row[y]),
            int(row["items"]),
            float(row["low"]),
            float(row["high"]),
        )
        for row in _read(drawn, stem)
    )
    assert told == points


@pytest.mark.parametrize(
    ("stem", "value", "low", "high"),
    [
        ("confidence", "probability", "from", "to"),
        ("log-odds", "log_odds", "from_nats", "to_nats"),
    ],
)
def test_every_labelled_item_is_in_one_bin_of_its_label(
    drawn: Path, stem: str, value: str, low: str, high: str
) -> None:
    rows = _read(drawn, stem)
    for row in rows:
        inside = [
            item
            for item in FACTS.items
            if item.label == int(row["label"])
            and float(row[low]) <= getattr(item, value) < float(row[high])
        ]
        assert int(row["items"]) == len(inside)
        assert row["name"] == FACTS.label_names[int(row["label"])]
    assert sum(int(row["items"]) for row in rows) == 40


def test_confidence_and_agreement_are_those_of_the_page(drawn: Path) -> None:
    page_confidence, _ = confidence_charts(FACTS)
    own = [
        [float(row["items"]) for row in _read(drawn, "confidence") if row["label"] == label]
        for label in ("0", "1")
    ]
    filled = [pair for pair in zip(*own, strict=True) if any(pair)]
    assert [tuple(map(float, counts)) for _, *counts in page_confidence.rows] == filled
    page_agreement = agreement_chart(FACTS)
    assert page_agreement is not None
    assert page_agreement.rows == (("1", "1"), ("3", "39"))
    told = [(r["chains_agreeing"], r["items"]) for r in _read(drawn, "agreement")]
    assert told == [("1", "1"), ("2", "0"), ("3", "39")]


@given(st.lists(st.integers(0, 100).map(lambda n: n / 100), min_size=1, max_size=30))
def test_a_probability_at_the_end_of_a_bin_is_in_the_bin_above(shares: list[float]) -> None:
    items = tuple(replace(FACTS.items[0], probability=share) for share in shares)
    table = confidence_table(replace(FACTS, items=items))
    assert table is not None
    for row in table.rows[:BINS]:
        # Whole hundredths, told exactly: a bin holds four of them, the last one more.
        begin = 4 * round(float(row[2]) * BINS)
        end = begin + 4 + (begin == 96)
        assert row[4] == sum(begin <= round(100 * share) < end for share in shares)


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=30))
def test_no_confidence_is_lost_and_bins_are_few(odds: list[float]) -> None:
    # Floats of any size: nats beyond some thousands are none that a model gives.
    bounded = [x if math.isinf(x) else math.remainder(x, 1e4) for x in odds]
    items = tuple(replace(FACTS.items[0], log_odds=x) for x in bounded)
    table = odds_table(replace(FACTS, items=items))
    assert table is not None
    assert sum(int(row[4]) for row in table.rows) == len(odds)
    assert len(table.rows) <= 2 * 28


def test_agreement_counts_the_chains_of_the_commonest_label(drawn: Path) -> None:
    told = {int(r["chains_agreeing"]): int(r["items"]) for r in _read(drawn, "agreement")}
    assert told == {1: 1, 2: 0, 3: 39}


def test_what_is_not_known_is_left_out() -> None:
    cold = tuple(_chain(k, 60, answered=k == 0, heat=0.0) for k in range(2))
    unknown = tuple(replace(i, label=MISSING, log_odds=None, votes=(0, 0)) for i in FACTS.items)
    odds_only = tuple(replace(i, probability=None) for i in FACTS.items)
    left = {
        "gold": (replace(FACTS, gold=None), ("calibration", "risk-coverage")),
        "heat": (replace(FACTS, chains=cold), ("temperature",)),
        "chains": (replace(FACTS, chains=FACTS.chains[:1]), ("agreement",)),
        "labels": (replace(FACTS, items=unknown), ("agreement", "confidence", "log-odds")),
        "probabilities": (replace(FACTS, items=odds_only), ("confidence",)),
        "all": (replace(FACTS, chains=(), items=(), gold=None), ALL),
    }
    for name, (facts, missing) in left.items():
        expected = tuple(stem for stem in ALL if stem not in missing)
        assert _stems(facts) == expected, name


def test_a_chain_that_has_not_begun_and_values_that_are_not_finite_are_drawn_around(
    tmp_path: Path,
) -> None:
    empty = replace(FACTS.chains[0], curve=Curve((), (), (), (), (), ()))
    curve = FACTS.chains[1].curve
    endless = replace(
        FACTS.chains[1],
        curve=replace(curve, objective=(-math.inf, math.nan, *curve.objective[2:])),
    )
    draw(replace(FACTS, chains=(empty, endless), items=(), gold=None), tmp_path)
    told = [float(row["objective"]) for row in _read(tmp_path, "objective")]
    assert told[0] == -math.inf
    assert math.isnan(told[1])
    none = replace(endless, curve=replace(curve, objective=(-math.inf,) * 60))
    assert curve_table(replace(FACTS, chains=(none,)), "objective") is None


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_drawn_as_text_with_no_warning(tmp_path: Path, name: str) -> None:
    facts = replace(NAMES_ONLY, label_names=(name, name, "other"), name=name)
    for file in draw(facts, tmp_path):
        if file.suffix == ".svg":
            ElementTree.fromstring(file.read_bytes())


@settings(max_examples=8, deadline=None)
@given(name=texts)
def test_any_name_is_drawn(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    facts = replace(NAMES_ONLY, label_names=(name, "other"), name=name)
    for file in draw(facts, tmp_path_factory.mktemp("any")):
        if file.suffix == ".svg":
            ElementTree.fromstring(file.read_bytes())


def test_many_chains_and_many_labels_are_drawn(tmp_path: Path) -> None:
    facts = _facts(names=tuple(f"label {k}" for k in range(30)), chains=12)
    draw(replace(facts, gold=None), tmp_path)
    assert {row["label"] for row in _read(tmp_path, "confidence")} == set(map(str, range(30)))
    assert {row["chain"] for row in _read(tmp_path, "objective")} == set(map(str, range(1, 13)))


def test_a_name_that_a_spreadsheet_would_run_is_written_as_text() -> None:
    assert safe_cell("=1+1") == "'=1+1"
    assert safe_cell("@SUM(A1)") == "'@SUM(A1)"
    assert safe_cell("-2+cmd|' /C calc'!A0") == "'-2+cmd|' /C calc'!A0"
    for name in ("-1", "+1", "+", "-", "True", "a=b", ""):
        assert safe_cell(name) == name


def test_agreement_of_one_chain_is_none() -> None:
    assert agreement_table(replace(FACTS, chains=FACTS.chains[:1])) is None


def test_without_matplotlib_there_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"pip install 'elicit-lm\[plots\]'"):
        draw(FACTS, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_can_not_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="can't be written"):
        draw(FACTS, tmp_path / "file")
