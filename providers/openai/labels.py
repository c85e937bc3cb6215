"""From the likeliest tokens to label probabilities, with bounds where a label is not told.

A label's probability is that of its text. A server tells it in one token, or along a path:
a token that begins the label, then what follows once that token stands. Of a token that is
not told we know that it is no likelier than the last one told, and that all those not told
share what the told ones leave. So each label has a lower and an upper bound. Where the two
are as good as equal the label has a number; else its value is the upper bound, openly.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from elicit.providers.base import LabelScores

TOLERANCE = 0.05
"""Nats between a label's bounds up to which the lower one counts as its number: two askings
of a hosted model differ by about as much."""

_SLACK = 1e-6
"""What rounding may hide of the probability that is left."""

_NEVER = -math.inf


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its natural-log probability.

    `whole` is False where the server did not spell the token out: its text is then what is
    known of its beginning, before the first byte of a broken character.
    """

    text: bytes
    log_prob: float
    whole: bool = True

    def begins(self, rest: bytes) -> bool:
        """Whether a label that goes on with `rest` may go on with this token, and further."""
        if len(self.text) >= len(rest) or not rest.startswith(self.text):
            return False
        return bool(self.text) if self.whole else rest[len(self.text)] >= 0x80


@dataclass(frozen=True, slots=True)
class Position:
    """What a server told of the tokens that may come next.

    `likeliest` is False where they were asked for by name: others may be likelier.
    """

    tokens: tuple[Token, ...]
    likeliest: bool = True

    @property
    def left(self) -> float:
        """Log of the most that all tokens not told have together."""
        told = math.fsum(math.exp(token.log_prob) for token in self.tokens)
        return math.log(min(1.0, max(0.0, 1.0 - told) + _SLACK))

    @property
    def untold(self) -> float:
        """Log of the most that one token which was not told may have."""
        last = min((token.log_prob for token in self.tokens), default=0.0)
        return min(last, self.left) if self.likeliest else self.left


Told = Mapping[bytes, Position]
"""What was told after the prompt (at `b""`) and after it with so much of an answer."""


@dataclass(frozen=True, slots=True)
class Untold:
    """No label was told, not even in part: there is no score."""

    at_most: float
    """Probability that all labels have together, at most."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """A label without a number might be likelier than the one that is surely likely: a score
    would let what is not known outvote what is."""

    label: int
    at_most: float
    """Probability that it may have, no less than `best`."""
    best: float
    """The most that any label is known to have at least."""
    begins: bytes | None
    """A told token that the label may begin with; None where it is just not told."""


def label_scores(
    labels: Sequence[Sequence[bytes]], told: Told, *, loose: bool = False
) -> LabelScores | Untold | Unclear:
    """Scores of labels, each given by the spellings that count as it.

    Where there is a score, the label with the largest value is the likeliest one (within
    `TOLERANCE`), whatever the truth behind the bounds of others is.

    Args:
        labels: for each label its spellings in UTF-8, which differ from one another.
        told: has at least `b""`.
        loose: tokens lack the space that they may have begun with (and `told` is keyed by
            such tokens), so a label's spaces are passed over.
    """
    spans = [_span_of_label(spellings, told, loose) for spellings in labels]
    bounded = tuple(i for i, span in enumerate(spans) if _width(span) > TOLERANCE)
    values = tuple(high if i in bounded else low for i, (low, high) in enumerate(spans))
    best = max(low for low, _ in spans)
    if best == _NEVER:
        return Untold(min(1.0, math.fsum(map(math.exp, values))))
    winner = max(_may_win(spans), key=lambda index: values[index], default=None)
    if winner is not None:
        begins = _begins(labels[winner], told, loose)
        return Unclear(winner, math.exp(values[winner]), math.exp(best), begins)
    return LabelScores(values, "top_k", bounded)


def _may_win(spans: Sequence[tuple[float, float]]) -> set[int]:
    """Labels without a number that may be likelier than the one of which most is known; none
    where nothing is known of any."""
    first = max(range(len(spans)), key=lambda index: spans[index][0])
    best = spans[first][0]
    if best == _NEVER:
        return set()
    return {
        index
        for index, span in enumerate(spans)
        if index != first and _width(span) > TOLERANCE and span[1] >= best
    }


def _begins(spellings: Sequence[bytes], told: Told, loose: bool) -> bytes | None:
    """The likeliest token that may begin one of the spellings."""
    beginnings = [
        token
        for token in told[b""].tokens
        for spelling in spellings
        if token.begins(spelling.lstrip(b" ") if loose else spelling)
    ]
    likeliest = max(beginnings, key=lambda token: token.log_prob, default=None)
    return None if likeliest is None else likeliest.text


def worth_asking(labels: Sequence[Sequence[bytes]], told: Told) -> bytes | None:
    """The beginning of an answer after which the next tokens would tell the labels better.

    It must be able to make a number of a bound, beside which what untold tokens may have is
    nothing; to tell labels apart that begin alike; or to lower a bound that may outvote a
    number. The likeliest comes first; None where there is none.
    """
    spans = [_span_of_label(spellings, told, loose=False) for spellings in labels]
    winners = _may_win(spans)
    likely: dict[bytes, float] = {}
    wanting: Counter[bytes] = Counter()
    for index, spellings in enumerate(labels):
        if _width(spans[index]) <= TOLERANCE:
            continue
        ends = {e.text: e for spelling in spellings for e in _open_ends(spelling, told)}
        likely |= {text: end.log_prob for text, end in ends.items()}
        wanting.update(ends.keys())
        wanting.update(
            text for text, end in ends.items() if end.may_be_number or index in winners
        )
    worth = [text for text, reasons in wanting.items() if reasons > 1]
    return max(worth, key=lambda text: (likely[text], text)) if worth else None


@dataclass(frozen=True, slots=True)
class _OpenEnd:
    """A told beginning of a label whose next tokens are not told."""

    text: bytes
    log_prob: float
    may_be_number: bool
    """Beside it, what untold tokens may have is nothing."""


def _width(span: tuple[float, float]) -> float:
    low, high = span
    return high - low if low < high else 0.0


def _span_of_label(spellings: Sequence[bytes], told: Told, loose: bool) -> tuple[float, float]:
    """Log of the least and of the most that a label may have."""
    spans = [_span(spelling, b"", told, loose) for spelling in spellings]
    low = log_sum(span[0] for span in spans)
    high = log_sum(span[1] for span in spans)
    if low == high:
        return low, high
    # All spellings together have no more than the told tokens of others leave.
    others = math.fsum(
        math.exp(token.log_prob)
        for token in told[b""].tokens
        if not any(_concerns(token, spelling, loose) for spelling in spellings)
    )
    cap = math.log(min(1.0, max(0.0, 1.0 - others) + _SLACK))
    return low, max(low, min(high, cap))


def _concerns(token: Token, spelling: bytes, loose: bool) -> bool:
    rest = spelling.lstrip(b" ") if loose else spelling
    return token.begins(rest) or (token.whole and token.text == rest)


def _span(rest: bytes, done: bytes, told: Told, loose: bool) -> tuple[float, float]:
    """The same for one spelling, given that its beginning stands.

    A tokeniser writes a text in one way. So where the rest is told as one token, that is its
    probability; the other ways to spell it out are not looked at.
    """
    position = told[done]
    rest = rest.lstrip(b" ") if loose else rest
    same = [t.log_prob for t in position.tokens if t.whole and t.text == rest]
    if same:
        return (log_sum(same),) * 2
    lows, highs = [], [position.untold]
    for token in position.tokens:
        if not token.begins(rest):
            continue
        low, high = _NEVER, 0.0
        if token.whole and done + token.text in told:
            low, high = _span(rest[len(token.text) :], done + token.text, told, loose)
        lows.append(token.log_prob + low)
        highs.append(token.log_prob + high)
    return log_sum(lows), min(0.0, log_sum(highs))


def _open_ends(spelling: bytes, told: Told) -> Iterator[_OpenEnd]:
    paths = [(0.0, b"")]
    while paths:
        log_prob, done = paths.pop()
        position, rest = told[done], spelling[len(done) :]
        if any(token.whole and token.text == rest for token in position.tokens):
            continue
        for token in position.tokens:
            if not (token.whole and token.begins(rest) and _is_text(done + token.text)):
                continue
            path = (log_prob + token.log_prob, done + token.text)
            if path[1] in told:
                paths.append(path)
            else:
                clear = position.untold - token.log_prob <= math.log(math.expm1(TOLERANCE))
                yield _OpenEnd(path[1], path[0], may_be_number=clear)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def log_sum(values: Iterable[float]) -> float:
    """log Σ exp(vᵢ) of finite values or -∞; -∞ for none."""
    listed = list(values)
    top = max(listed, default=_NEVER)
    if top == _NEVER:
        return _NEVER
    return top + math.log(math.fsum(math.exp(value - top) for value in listed))
