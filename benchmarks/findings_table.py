"""The table of findings: what was measured, the target, whether it is met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from findings_results import Results, spread
from findings_scale import LARGE, SMALL
from scipy import stats

TASKS = ("claims", "sizes", "facts")
SIZES = (64, 128, 256, 512, 1024)
METHODS = ("icm", "bootstrap")
FREE = "without constraints"
OTHER = [f"{m}, {what}" for m in METHODS for what in ("the marker", "the truth")]
OTHER += ["surest items that show the truth", "warned"]
SPURIOUS = ["icm", "icm, where the marker misleads", "bootstrap"]
SPURIOUS += ["bootstrap, where the marker misleads", "the marker as labels"]
RARE = [
    f"{method}{prior}{what}"
    for method in METHODS
    for prior in ("", ", prior")
    for what in ("", ", balanced")
]
RARE += ["majority"]
MIXED = [
    f"{method}{where}"
    for method in METHODS
    for where in ("", ", known creatures", ", unknown creatures")
]


@dataclass(frozen=True)
class Said:
    """What a line of the table says of the measurements. `met` is None without a target."""

    found: str
    met: bool | None
    seeds: int


Judge = Callable[[Results], Said | None]
"""None where something it needs was not measured."""


@dataclass(frozen=True)
class Line:
    """A finding of the paper, what is wanted, and what the measurements say of it."""

    finding: str
    target: str
    judge: Judge


@dataclass(frozen=True)
class Difference:
    """A mean difference in points over seeds, paired, with its 95 % t-interval."""

    mean: float
    low: float
    high: float

    @staticmethod
    def of(a: Sequence[float], b: Sequence[float]) -> Difference:
        points = 100 * (np.array(a) - np.array(b))
        mean, n = float(points.mean()), points.size
        if n < 2:
            return Difference(mean, -np.inf, np.inf)
        half = float(stats.t.ppf(0.975, n - 1) * points.std(ddof=1) / np.sqrt(n))
        return Difference(mean, mean - half, mean + half)

    def __str__(self) -> str:
        if not np.isfinite(self.low):
            return f"{self.mean:+.1f}"
        return f"{self.mean:+.1f} ({self.low:+.1f} to {self.high:+.1f})"


def column(results: Results, row: str, key: str) -> list[float]:
    """Over the seeds in order; empty where it was not measured."""
    found = sorted(results.all(row).items())
    return [float(values[key]) for _, values in found if key in values]


def compared(
    mine: str, other: str, enough: Callable[[Difference], bool], tasks: Sequence[str] = TASKS
) -> Judge:
    """Judges one way to label against another on tasks, each of which must be good enough."""

    def judge(results: Results) -> Said | None:
        parts, met, seeds = [], [], []
        for task in tasks:
            a, b = (column(results, f"labels {task}", key) for key in (mine, other))
            if not a or len(a) != len(b):
                continue
            gap = Difference.of(a, b)
            parts.append(f"{task}: {spread(a)} against {spread(b)}, {gap}")
            met.append(enough(gap))
            seeds.append(len(a))
        return Said("; ".join(parts), all(met), min(seeds)) if parts else None

    return judge


def listed(row: str, keys: Sequence[str], met: Callable[[Results], bool | None]) -> Judge:
    """Says the spread of each of these values, as shares."""

    def judge(results: Results) -> Said | None:
        found = {key: column(results, row, key) for key in keys}
        if not any(found.values()):
            return None
        said = [f"{key}: {spread(values)}" for key, values in found.items() if values]
        return Said("; ".join(said), met(results), len(results.all(row)))

    return judge


def _without_constraints(results: Results) -> Said | None:
    parts, worse, seeds = [], [], []
    for task in TASKS:
        for method in METHODS:
            row = f"labels {task}"
            a, b = (column(results, row, key) for key in (method, f"{method} {FREE}"))
            if not b:
                continue
            gap = Difference.of(b, a)
            one = column(results, row, f"{method} {FREE}, share of one label")
            told = f"{spread(b)} without, {spread(a)} with, {gap}; one label has {spread(one)}"
            parts.append(f"{task}, {method}: {told}")
            worse.append(method == "icm" and gap.high < 0)
            seeds.append(len(b))
    return Said("; ".join(parts), any(worse), min(seeds)) if parts else None


def _starts(results: Results) -> Said | None:
    base = column(results, "starts", "random")
    if not base:
        return None
    parts, met = [f"random: {spread(base)}"], []
    for name in ("all wrong", "all False", "all True"):
        values = column(results, "starts", name)
        gap = Difference.of(values, base)
        parts.append(f"{name}: {spread(values)}, {gap}")
        met.append(gap.mean >= -3)
    return Said("; ".join(parts), all(met), len(base))


def _nothing(results: Results) -> Said | None:
    runs, right = (sum(column(results, "diagnoses", key)) for key in ("runs", "right"))
    found = {m: column(results, "nothing", m) for m in METHODS}
    if not runs or not found["icm"]:
        return None
    said = [f"{method}: {spread(values)}" for method, values in found.items()]
    vain, missed = (
        sum(column(results, "diagnoses", key)) for key in ("warned in vain", "not warned")
    )
    said.append(
        f"diagnose right in {right:.0f} of {runs:.0f} runs ({vain:.0f} warned of in vain, "
        f"{missed:.0f} not warned of)"
    )
    met = all(_is_chance(values) for values in found.values()) and right >= 0.95 * runs
    return Said("; ".join(said), met, len(found["icm"]))


def _is_chance(values: Sequence[float]) -> bool:
    return abs(float(np.mean(values)) - 0.5) <= 0.05


def _another(results: Results) -> bool:
    return all(
        _is_chance(column(results, "another", f"{method}, the marker")) for method in METHODS
    )


def _with_warnings(row: str, keys: Sequence[str]) -> Judge:
    """Measured and reported as it is, with what the diagnoses said and how often."""
    plain = listed(row, keys, lambda _: None)

    def judge(results: Results) -> Said | None:
        said = plain(results)
        if said is None:
            return None
        every = results.all(row).values()
        codes = sorted({key for values in every for key in values if key.startswith("says ")})
        told = [
            f"{code.removeprefix('says ')} {sum(values.get(code, 0) for values in every):.0f}"
            for code in codes
        ]
        text = f"{said.found}; of {len(every)} diagnoses: {', '.join(told) or 'nothing said'}"
        return Said(text, None, said.seeds)

    return judge


def _cost(results: Results) -> Said | None:
    by_loo = column(results, "loo", "icm by loo")
    names = ("icm tokens", "icm tokens by loo", "bootstrap tokens")
    by_folds, loo_tokens, rounds = (column(results, "whole", name) for name in names)
    if not by_loo or not by_folds:
        return None
    parts, losses = [f"{SMALL} items, leave-one-out: {spread(by_loo)}"], []
    for name in ("icm by folds", "bootstrap"):
        values = column(results, "loo", name)
        gap = Difference.of(values, by_loo)
        losses.append(gap.mean)
        parts.append(f"{name}: {spread(values)}, {gap}")
    parts += [f"{LARGE} items, {n}: {spread(column(results, 'whole', n))}" for n in METHODS]
    fewer = [float(np.mean(loo_tokens) / np.mean(mine)) for mine in (by_folds, rounds)]
    parts.append(
        f"tokens there: {np.mean(loo_tokens):,.0f} by leave-one-out (counted on the path of "
        f"folds), {np.mean(by_folds):,.0f} by folds ({fewer[0]:,.0f} times fewer), "
        f"{np.mean(rounds):,.0f} by bootstrap ({fewer[1]:,.0f} times fewer)"
    )
    met = fewer[0] >= 10 and fewer[1] >= 20 and min(losses) >= -1
    return Said("; ".join(parts), met, min(len(by_folds), len(by_loo)))


def growth(
    results: Results, method: str, key: str
) -> tuple[list[int], list[float], str] | None:
    """Sizes and values of all seeds, and the fitted exponent with its 95 % interval.

    A value of 0 has no logarithm and is left out; None where too few are left for a fit.
    """
    sizes, values = [], []
    for size in SIZES:
        for value in column(results, f"{method} {size}", key):
            if value > 0:
                sizes.append(size)
                values.append(value)
    if len(set(sizes)) < 2 or len(sizes) < 3:
        return None
    fit = stats.linregress(np.log(sizes), np.log(values))
    half = float(stats.t.ppf(0.975, len(sizes) - 2) * fit.stderr)
    slope = float(fit.slope)
    return sizes, values, f"{slope:.2f} ({slope - half:.2f} to {slope + half:.2f})"


def _growth(results: Results) -> Said | None:
    parts, seeds = [], []
    for method in METHODS:
        for key in ("iterations to nearly", "tokens to nearly"):
            found = growth(results, method, key)
            if found is None:
                every_value = [v for n in SIZES for v in column(results, f"{method} {n}", key)]
                if every_value and not any(every_value):
                    parts.append(f"{method}: reached by the first labels, before any round")
                continue
            sizes, values, exponent = found
            means = [
                f"{np.mean([v for s, v in zip(sizes, values, strict=True) if s == n]):,.0f}"
                for n in sorted(set(sizes))
            ]
            every = [sizes.count(n) for n in set(sizes)]
            seeds.append(min(every))
            what = key.removesuffix(" to nearly")
            range_of = " → ".join(str(n) for n in sorted(set(sizes)))
            parts.append(
                f"{method}, {what} at {range_of}: {' → '.join(means)}, exponent {exponent}"
            )
    return Said("; ".join(parts), None, min(seeds)) if parts else None


def lines() -> list[Line]:
    """The table's lines, in the order of the paper's claims."""
    found = []
    for method, name in (("icm", "ICM"), ("bootstrap", "bootstrap")):
        found += [
            Line(
                f"{name} against golden many-shot",
                "within 2 points",
                compared(method, "golden many-shot", lambda gap: gap.mean >= -2),
            ),
            Line(
                f"{name} against many-shot with human labels",
                "better by more than the interval",
                compared(method, "human many-shot", lambda gap: gap.low > 0),
            ),
            Line(
                f"{name} against zero-shot",
                "better by 15 points",
                compared(method, "zero-shot", lambda gap: gap.mean >= 15),
            ),
            Line(
                f"{name} against zero-shot chat",
                "better by 10 points",
                compared(method, "zero-shot chat", lambda gap: gap.mean >= 10),
            ),
            Line(
                f"{name} against random few-shot",
                "better by 5 points",
                compared(method, "random few-shot", lambda gap: gap.mean >= 5),
            ),
        ]
    return [
        *found,
        Line("without constraints", "clearly worse on at least one task", _without_constraints),
        Line("worst first labels, ICM", "at most 3 points less than random ones", _starts),
        Line(
            "nothing known separates the items (marker)",
            "50 ± 5, and 95 % of 40 diagnoses right",
            _nothing,
        ),
        Line(
            "another concept is salient (marked)",
            "50 ± 5 on the one wanted",
            listed("another", OTHER, _another),
        ),
        Line("a planted spurious feature", "as it is", _with_warnings("spurious", SPURIOUS)),
        Line("one in ten is true", "as it is", _with_warnings("rare", RARE)),
        Line("two concepts mixed", "as it is", _with_warnings("mixed", MIXED)),
        Line(
            "bootstrap and ICM by folds against leave-one-out",
            "20 and 10 times fewer tokens at 256 items, at most 1 point less",
            _cost,
        ),
        Line("iterations and tokens to 95 % of the accuracy", "the exponent", _growth),
    ]


def markdown(results: Results) -> str:
    """The table; a line whose measurements are missing says so."""
    rows = ["| finding | target | found, mean (95 % interval) | seeds | met |"]
    rows.append("| --- | --- | --- | --- | --- |")
    for line in lines():
        said = line.judge(results)
        if said is None:
            rows.append(f"| {line.finding} | {line.target} | not measured | | |")
            continue
        met = {True: "yes", False: "**no**", None: "–"}[said.met]
        found = said.found.replace("; ", "<br>")
        rows.append(f"| {line.finding} | {line.target} | {found} | {said.seeds} | {met} |")
    return "\n".join(rows)
