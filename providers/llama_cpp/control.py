"""Control tokens in a text, which is cut at them as llama.cpp cuts it.

A chat template writes control tokens by their spelling. Whoever writes the same spelling in
a prompt must not thereby end a turn or begin another. So the spellings in messages stand
behind marks while the template is applied, the text is cut at the control tokens that the
template wrote, and what the marks stand for is then tokenised as plain text.

The cut is the one of llama.cpp's tokeniser (`tokenizer_st_partition` in its
`llama-vocab.cpp`): longer tokens first, wherever they occur, and the spaces beside a token
that takes them are dropped. What is user-defined and no control token it finds in plain
text as well.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from elicit.providers.llama_cpp.batch import Tokens
from elicit.providers.llama_cpp.joined import Joined

_SPACES = " \t\n\v\f\r"
_MARKS = range(0xF0000, 0xFFFFE)
"""Code points of private use: no tokeniser and no template has a meaning for them."""


@dataclass(frozen=True, slots=True)
class ControlToken:
    """A token that plain text never has, however it is spelled there."""

    id: int
    text: str
    takes_left: bool = False
    """Whether it takes the spaces before it with it."""
    takes_right: bool = False


@dataclass(frozen=True, slots=True)
class Marks:
    """Characters that stand for something else while a template is applied."""

    joint: str
    """Stands between two texts whose tokens are best looked up apart."""
    of: Mapping[str, str]
    """Spelling of a control token → its mark."""

    def hide(self, text: str) -> str:
        """The text with its spellings of control tokens behind marks, the longest first."""
        if not self.of:
            return text
        longest = sorted(self.of, key=len, reverse=True)
        found = re.compile("|".join(map(re.escape, longest)))
        return found.sub(lambda spelling: self.of[spelling.group()], text)

    def show(self, text: str) -> str:
        """What the marks for spellings stand for in their place."""
        for spelling, mark in self.of.items():
            text = text.replace(mark, spelling)
        return text


class ControlTokeniser:
    """Tokenises a text in which control tokens count. `tokenize` leaves them text."""

    def __init__(
        self, tokenize: Callable[[str], list[int]], control: Iterable[ControlToken]
    ) -> None:
        self._joined = Joined(tokenize)
        ordered = sorted(
            (token for token in control if token.text), key=lambda t: -len(t.text.encode())
        )
        spellings = "|".join(re.escape(token.text) for token in ordered)
        self._spellings = re.compile(spellings) if spellings else None
        self._takes_right = {token.id for token in ordered if token.takes_right}
        # Some vocabularies have thousands that begin alike; a text mostly has none of them.
        self._by_head: dict[str, list[tuple[int, ControlToken]]] = defaultdict(list)
        for place, token in enumerate(ordered):
            self._by_head[token.text[:2]].append((place, token))

    def marked(
        self, said: Sequence[Sequence[str]], ends: Sequence[str], template: str
    ) -> tuple[list[str], Marks]:
        """Messages, each given as the texts that it joins, with marks that neither they nor
        the ends nor the template have."""
        free = _unused([*(text for texts in said for text in texts), *ends, template])
        joint = next(free)
        joined = [_join(texts, joint) for texts in said]
        spelled: set[str] = set()
        if self._spellings is not None:
            spelled.update(
                s for text in (*joined, *ends) for s in self._spellings.findall(text)
            )
        marks = Marks(joint, {spelling: next(free) for spelling in sorted(spelled)})
        return [marks.hide(text) for text in joined], marks

    def encode(self, text: str, ends: Sequence[str], marks: Marks) -> list[Tokens]:
        """Tokens of a text with marks, and of the text with each of the ends. What marks
        stand for is plain text, and so are the ends."""
        *pieces, last = self._cut(text) or [""]
        if isinstance(last, int):
            pieces, tail = [*pieces, last], ""
            ends = [end.lstrip(_SPACES) for end in ends] if last in self._takes_right else ends
        else:
            tail = last
        head = self._tokens(pieces, marks)
        return [
            head + self._tokens(self._cut(tail + marks.hide(end)), marks) for end in ("", *ends)
        ]

    def _tokens(self, pieces: Sequence[str | int], marks: Marks) -> Tokens:
        tokens: list[int] = []
        for piece in pieces:
            if isinstance(piece, int):
                tokens.append(piece)
            else:
                tokens += self._joined.tokens(
                    [marks.show(text) for text in piece.split(marks.joint)]
                )
        return tuple(tokens)

    def _cut(self, text: str) -> list[str | int]:
        pieces: list[str | int] = [text]
        for token in self._within(text):
            pieces = [
                part
                for piece in pieces
                for part in ([piece] if isinstance(piece, int) else _cut_at(token, piece))
            ]
        return [piece for piece in pieces if piece != ""]

    def _within(self, text: str) -> list[ControlToken]:
        found = [
            entry
            for head, entries in self._by_head.items()
            if head in text
            for entry in entries
            if entry[1].text in text
        ]
        return [token for _, token in sorted(found, key=lambda entry: entry[0])]


def _join(texts: Sequence[str], joint: str) -> str:
    """The texts as one, with joints. There is none at the ends, which a template may trim,
    nor where but spaces are between it and an end."""
    solid = [bool(text.strip()) for text in texts]
    before = list(accumulate(solid, bool.__or__))
    after = list(accumulate(reversed(solid), bool.__or__))[::-1]
    parts = list(texts[:1])
    for place in range(1, len(texts)):
        parts += [joint] if before[place - 1] and after[place] else []
        parts.append(texts[place])
    return "".join(parts)


def _cut_at(token: ControlToken, text: str) -> list[str | int]:
    first, *others = text.split(token.text)
    pieces: list[str | int] = [first]
    for other in others:
        left = pieces[-1]
        if token.takes_left and isinstance(left, str):
            pieces[-1] = left.rstrip(_SPACES)
        pieces += [token.id, other.lstrip(_SPACES) if token.takes_right else other]
    return pieces


def _unused(texts: Sequence[str]) -> Iterator[str]:
    return (mark for mark in map(chr, _MARKS) if not any(mark in text for text in texts))
