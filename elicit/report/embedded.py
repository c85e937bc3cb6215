"""The data that a page's scripts read: one block of JSON that can't be anything but data."""

from __future__ import annotations

import base64
import json
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence

import numpy as np
from markupsafe import Markup

from elicit.report.facts import Comparison, Prompts, RunFacts

LONGEST_TEXT = 20_000
"""Characters of an item that a page holds, however few items there are."""
LEAST_TEXT = 40
"""Characters of an item that are kept, however many there are."""
LONGEST_NAME = 200
"""Characters of an id, a group or a label."""
NAMES = 120_000
"""Bytes that all ids together have room for, and all groups."""
LONGEST_PIECE = 4_000
"""Characters of a verbalizer or a separator."""
PROMPTS = 850_000
"""Bytes that the order of demonstrations has room for."""
TOO_MANY = "The items' demonstrations are too many to be kept in one page."
ENDLESS = 1e300
"""What stands for infinity, which JSON has not."""
_UNSAFE = re.compile("[\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def block(value: object) -> Markup:
    """JSON for a `<script type="application/json">`: no character of it ends the script, opens
    a tag or an entity, ends a line of JavaScript or fails to be encoded."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(_UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def size(text: str) -> int:
    """Bytes that a text takes in the page."""
    return len(block(text).encode())


def cut_to(
    texts: Sequence[str], room: int, most: int = LONGEST_TEXT, least: int = LEAST_TEXT
) -> list[str]:
    """The texts, those longer than some length cut to it, so that all take at most `room`
    bytes in the page; the length is `most` characters at most and `least` at least."""
    # A character takes a byte at least: the search begins where that would fit.
    lengths = np.array([len(text) for text in texts], np.int64)
    fits = range(least, max(least, most) + 1)
    most = fits[
        max(1, bisect_right(fits, room, key=lambda n: int(np.minimum(lengths, n).sum()))) - 1
    ]
    while True:
        kept = [text[:most] for text in texts]
        if most <= least or size("".join(kept)) + 3 * len(kept) <= room:
            return kept
        most = max(least, most * 9 // 10)


def run_data(facts: RunFacts, room: int) -> dict[str, object]:
    """What the table of items and its prompts need. Texts take at most `room` bytes."""
    items = facts.items
    texts = cut_to([item.text for item in items], room)
    groups = list(dict.fromkeys(item.group for item in items if item.group is not None))
    place = {name: number for number, name in enumerate(groups)}
    prompts, missing = _prompts(facts)
    return {
        "labels": short(facts.label_names),
        "ids": short([item.id for item in items]),
        "texts": texts,
        "cut": _cut(texts, [item.characters for item in items]),
        "groupNames": short(groups),
        "group": [-1 if item.group is None else place[item.group] for item in items],
        "label": [item.label for item in items],
        "probability": [_rounded(item.probability, 6) for item in items],
        "odds": [_rounded(item.log_odds, 4) for item in items],
        "flips": [item.flips for item in items],
        "inconsistent": [number for number, item in enumerate(items) if item.inconsistent],
        "votes": [item.votes for item in items],
        "gold": [item.gold for item in items],
        "hasGold": facts.gold is not None,
        "done": facts.status == "done",
        "prompts": prompts,
        "promptsMissing": missing,
    }


def comparison_data(comparison: Comparison, room: int) -> dict[str, object]:
    """What the table of two or more runs needs. Texts take at most `room` bytes."""
    texts = cut_to(comparison.texts, room)
    names = list(dict.fromkeys(n for run in comparison.runs for n in run.label_names))
    names += sorted({n for run in comparison.labels for n in run if n is not None} - {*names})
    place = {name: number for number, name in enumerate(names)}
    return {
        "labels": short(names),
        "runs": short([run.name for run in comparison.runs]),
        "ids": short(comparison.ids),
        "texts": texts,
        "cut": _cut(texts, [len(text) for text in comparison.texts]),
        "found": [
            [-1 if name is None else place[name] for name in run] for run in comparison.labels
        ],
    }


def short(names: Sequence[str]) -> list[str]:
    """Names as they are, or their beginnings with an ellipsis where they are too long."""
    kept = cut_to(names, NAMES, LONGEST_NAME, least=8)
    return [
        part if part == whole else part + "…" for part, whole in zip(kept, names, strict=True)
    ]


def _cut(texts: Sequence[str], characters: Sequence[int]) -> dict[str, int]:
    """The whole length of those that are not whole, by number."""
    pairs = enumerate(zip(texts, characters, strict=True))
    return {str(number): whole for number, (text, whole) in pairs if len(text) < whole}


def _prompts(facts: RunFacts) -> tuple[dict[str, object] | None, str]:
    found = facts.prompts
    if found is None:
        return None, facts.prompts_missing
    lists = {
        "order": _packed(item for sequence in found.sequences for item in sequence),
        "lengths": _packed(len(sequence) for sequence in found.sequences),
        "contexts": _packed(_numbers(found)),
        "asked": _packed(context for contexts in found.of_item for context in contexts),
        "times": _packed(len(contexts) for contexts in found.of_item),
    }
    if sum(len(str(packed["data"])) for packed in lists.values()) > PROMPTS:
        return None, TOO_MANY
    return {
        "writing": found.writing,
        "opening": found.opening[:LONGEST_TEXT],
        "openingCharacters": len(found.opening),
        "verbalizers": [text[:LONGEST_PIECE] for text in found.verbalizers],
        "separator": found.separator[:LONGEST_PIECE],
        "labels": list(found.labels),
        **lists,
    }, ""


def _numbers(prompts: Prompts) -> Iterable[int]:
    """Three numbers a context; the last is 0 where no item is left out."""
    for context in prompts.contexts:
        yield context.sequence
        yield context.upto
        yield 0 if context.without is None else context.without + 1


def _packed(numbers: Iterable[int]) -> dict[str, object]:
    """Whole numbers from 0 in as few bytes as they take, least byte first, in base 64."""
    values = np.fromiter(numbers, np.uint32)
    width = 2 if values.size == 0 or values.max() < 1 << 16 else 4
    data = values.astype(f"<u{width}").tobytes()
    return {"bytes": width, "data": base64.b64encode(data).decode()}


def _rounded(value: float | None, digits: int) -> float | None:
    """A number for JSON: none for what is no number, and a bound in place of infinity."""
    if value is None or math.isnan(value):
        return None
    return round(max(-ENDLESS, min(ENDLESS, value)), digits)
