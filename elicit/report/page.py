"""A report as one HTML file that needs nothing else and asks nothing of any network.

Whatever the data hold stays data: templates escape all that they are given, scripts read the
items from one block of JSON and set them as text, and the page's policy lets no script or
style run but its own, by their digests, and no request leave.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from elicit.report import charts, run_charts
from elicit.report.embedded import block, comparison_data, run_data
from elicit.report.facts import MISSING, Comparison, RunFacts
from elicit.verdict import Finding

LARGEST = 1_900_000
"""Bytes of a page of up to 1,000 items; items beyond may take `MORE` bytes each."""
MORE = 500
RUN_SCRIPTS = ("table.js", "prompt.js", "items.js")
COMPARISON_SCRIPTS = ("table.js", "compare.js")
_UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Characters that HTML can't hold, or that show as nothing."""


@dataclass(frozen=True, slots=True)
class Labels:
    """How many items have each label, in the order of the label names, and how many none."""

    counts: tuple[int, ...]
    none: int

    @property
    def total(self) -> int:
        """All items."""
        return sum(self.counts) + self.none

    def share(self, count: int) -> float:
        """0 to 1; 0 where there are no items."""
        return count / self.total if self.total else 0.0


def page(facts: RunFacts, *, refresh_seconds: int | None = None) -> str:
    """A run's report as an HTML document.

    With `refresh_seconds` it says that the run is going on and loads itself again that often.
    Up to 1,000 items it takes less than 2 MB of UTF-8: texts that are too long for that are
    cut, and the page says how long they are.
    """
    values: dict[str, object] = {
        "facts": facts,
        "done": facts.status == "done",
        "running": facts.status == "running",
        "mixed": mixed(facts),
        "labels": labels_of(facts),
        "warnings": [f for f in told(facts) if f.kind == "warning"],
        "findings": told(facts),
        "usage": Counter(facts.usage),
        "search": run_charts.search_charts(facts),
        "agreement_chart": run_charts.agreement_chart(facts),
        "confidence": run_charts.confidence_charts(facts),
        "gold_charts": run_charts.gold_charts(facts),
        "taken": [run_charts.taken(chain.curve) for chain in facts.chains],
        "steps": "Rounds" if facts.method == "bootstrap" else "Iterations",
        "refresh": refresh_seconds,
    }
    rest = _rendered("page.html.jinja", RUN_SCRIPTS, run_data(facts, 0), values)
    room = _largest(len(facts.items)) - len(rest.encode())
    return _rendered("page.html.jinja", RUN_SCRIPTS, run_data(facts, room), values)


def comparison_page(comparison: Comparison) -> str:
    """Runs side by side as an HTML document, as large as `page`."""
    values: dict[str, object] = {
        "comparison": comparison,
        "labels": [labels_of(run) for run in comparison.runs],
        "usages": [Counter(run.usage) for run in comparison.runs],
        "names": list(dict.fromkeys(n for run in comparison.runs for n in run.label_names)),
        "refresh": None,
    }
    data = comparison_data(comparison, 0)
    rest = _rendered("comparison.html.jinja", COMPARISON_SCRIPTS, data, values)
    room = _largest(len(comparison.ids)) - len(rest.encode())
    data = comparison_data(comparison, room)
    return _rendered("comparison.html.jinja", COMPARISON_SCRIPTS, data, values)


def labels_of(facts: RunFacts) -> Labels:
    """Of the answer, or of the labels as they stand."""
    found = Counter(item.label for item in facts.items)
    return Labels(tuple(found[k] for k in range(len(facts.label_names))), found[MISSING])


def told(facts: RunFacts) -> tuple[Finding, ...]:
    """What the diagnosis found, then what the run alone tells beside it; warnings first."""
    diagnosed = () if facts.diagnosis is None else facts.diagnosis.findings
    codes = {finding.code for finding in diagnosed}
    if facts.diagnosis is not None:
        # It tells the reader to diagnose.
        codes.add("one-search")
    more = [finding for finding in facts.findings if finding.code not in codes]
    return tuple(sorted((*diagnosed, *more), key=lambda finding: finding.kind != "warning"))


def mixed(facts: RunFacts) -> bool:
    """Whether the answer is a mixture of several chains, and so no chain's own labels."""
    several = facts.status == "done" and len(facts.chains) > 1
    return several and not any(chain.answered for chain in facts.chains)


def _largest(n_items: int) -> int:
    return LARGEST + MORE * max(0, n_items - 1_000)


def _rendered(
    template: str,
    scripts: tuple[str, ...],
    data: Mapping[str, object],
    values: Mapping[str, object],
) -> str:
    first, style = _asset("frame.js"), _asset("style.css")
    script = "".join(_asset(name) for name in scripts)
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src {_digest(first)} {_digest(script)}; style-src {_digest(style)}"
    )
    document = (
        _environment()
        .get_template(template)
        .render(
            values,
            policy=policy,
            style=Markup(style),
            first_script=Markup(first),
            script=Markup(script),
            data=block(data),
        )
    )
    return _UNSHOWN.sub("\ufffd", document)


@cache
def _asset(name: str) -> str:
    return files("elicit.report").joinpath("assets", name).read_text("utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "cut": cut,
        "percent": percent,
        "number": number,
        "count": count,
        "time": time,
        "lasted": lasted,
        "quoted": shlex.quote,
    }
    environment.globals |= {
        "label_class": charts.label_class,
        "shares_bar": charts.shares,
        "mixed_of": mixed,
    }
    return environment


def cut(text: str, most: int = 200) -> str:
    """The text, or its beginning and how long it is."""
    if len(text) <= most:
        return text
    return f"{text[:most]}… ({len(text):,} characters)"


def percent(share: float | None, digits: int = 1) -> str:
    """A share of 1 in percent; a dash where it is not known."""
    if share is None or not math.isfinite(share):
        return "–"
    return f"{100 * share:.{digits}f} %"


def number(value: float | None, digits: int = 3) -> str:
    """A number with a minus sign; a dash where it is not known."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:,.{digits}f}" if math.isfinite(value) else f"{'-' * (value < 0)}∞"
    return text.replace("-", "\N{MINUS SIGN}")


def count(value: float) -> str:
    """A whole number with separators."""
    return f"{value:,.0f}"


def time(seconds: float) -> str:
    """A Unix time as a date and a time of day, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def lasted(seconds: float) -> str:
    """A length of time in two units at most."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3_600, whole % 3_600 // 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
