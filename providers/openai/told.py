"""What a server told of the tokens it generated: one form for the two that servers send.

OpenAI's chat sends a list of tokens with their bytes. Completions send parallel lists and a
mapping from token string to log-probability, and so does the chat of some other servers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from elicit.providers.base import ModelError
from elicit.providers.openai.endpoint import Endpoint
from elicit.providers.openai.labels import Position, Token
from elicit.providers.openai.token_ids import TokenLookup

Spellings = Sequence[Sequence[bytes]]
"""For each label the ways to spell it, in UTF-8."""

SENTINEL = -9000.0
"""OpenAI sends -9999 for "very unlikely", which is no number. So is whatever is below this."""

MOST_IDS = 128
"""Ids that vLLM takes in one request."""

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_BYTES = re.compile(r"bytes:((?:\\x[0-9A-Fa-f]{2})+)")
_BROKEN = "\ufffd"
_OTHER = b"\xff"


class Malformed(ValueError):
    """Log-probabilities that can't be what the model gave."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How token strings are read.

    Args:
        k: tokens asked for; what a server tells beyond (the token drawn, where it is not
            among the likeliest) depends on chance and is left out.
        ids: the text of each token that was asked for by its id; with any, `k` is not used.
        loose: token strings have lost the space that they may have begun with.
    """

    k: int
    ids: Mapping[int, bytes]
    loose: bool = False

    @property
    def fields(self) -> dict[str, object]:
        """What a request says to be answered so. vLLM alone knows these fields; with names
        made of ids no two tokens of equal text are taken for each other."""
        if not self.ids:
            return {}
        return {"logprob_token_ids": [*self.ids], "return_tokens_as_token_ids": True}

    def position(self, told: Iterable[tuple[Token, float]]) -> Position:
        """One position from its tokens; those that have no number are left out.

        Raises:
            Malformed: a number that is no log-probability, probabilities above 1 in all, or
                tokens that can't be the likeliest.
        """
        listed = list(told)
        tokens = [token for token, value in listed if _number(value) > SENTINEL]
        impossible = len(listed) - len(tokens)
        if not self.ids:
            tokens = sorted(tokens, key=lambda token: -token.log_prob)[: self.k]
        total = math.fsum(math.exp(token.log_prob) for token in tokens)
        if total > 1.01:
            raise Malformed(f"the likeliest tokens have {total:.3f} of the probability in all")
        if not self.ids and impossible and total < 0.9:
            # The tokens told can't be the likeliest, and none may bound others but by what it
            # leaves them.
            raise Malformed(
                f"impossible tokens are told as likely, while all have {total:.3f} of the "
                "probability: vLLM answers so while others ask it for logprob_token_ids. Let "
                "nobody else ask it meanwhile, or ask by token ids too (vllm:URL#MODEL)"
            )
        return Position(tuple(tokens), likeliest=not self.ids)

    def token(self, name: str, value: float, data: object = None) -> tuple[Token, float]:
        text, whole = self._text(name, data)
        return Token(text.lstrip(b" ") if self.loose else text, value, whole), value

    def _text(self, name: str, data: object) -> tuple[bytes, bool]:
        """A token's bytes, and whether they are all of it."""
        if self.ids:
            number = name.removeprefix("token_id:")
            known = number != name and number.isdecimal()
            # No label has the byte of a token that was not asked for.
            return self.ids.get(int(number), _OTHER) if known else _OTHER, True
        if isinstance(data, list) and data and all(_is_byte(value) for value in data):
            return bytes(data), True
        byte, several = _BYTE.fullmatch(name), _BYTES.fullmatch(name)
        if byte:
            return bytes.fromhex(byte[1]), True
        if several:
            return bytes.fromhex(several[1].replace("\\x", "")), True
        if _BROKEN in name or not name:
            return name.partition(_BROKEN)[0].encode(), False
        return name.encode(errors="surrogatepass"), True


def reading(endpoint: Endpoint, k: int, labels: Spellings) -> tuple[Reading, Spellings]:
    """How labels are looked for at an endpoint, and the spellings of each that count.

    Where every spelling of every label is a token with a known id, all are asked for by their
    ids. Else all are looked for among the likeliest tokens: of a spelling with several tokens
    the ids would tell nothing, and it may be the one that the model writes.
    """
    ids = _ids(endpoint.label_token_ids, [text for texts in labels for text in texts])
    if ids:
        return Reading(k, ids), labels
    return Reading(k, {}, loose=not endpoint.keeps_leading_space), labels


def _ids(lookup: TokenLookup | None, texts: Sequence[bytes]) -> dict[int, bytes]:
    """The texts by their ids; none where one has no id, two share one, or they are too many."""
    if not lookup or len(texts) > MOST_IDS:
        return {}
    ids: dict[int, bytes] = {}
    for text in texts:
        number = lookup.get(text.decode(errors="surrogatepass"))
        if number is None or number in ids:
            return {}
        ids[number] = text
    return ids


def positions(logprobs: object, reading: Reading) -> list[tuple[bytes, Position]] | None:
    """Each generated token with the tokens that might have come instead; None where the
    server tells no alternatives.

    Raises:
        Malformed: see `Reading.position`; or the parts of the reply don't fit together.
        ModelError: the server passes over the ids that it was asked for.
    """
    content = getattr(logprobs, "content", None)
    tokens, tops = getattr(logprobs, "tokens", None), getattr(logprobs, "top_logprobs", None)
    made: list[tuple[bytes, Position]] = []
    if isinstance(content, list):
        made = _of_content(content, reading)
    elif isinstance(tokens, list) and isinstance(tops, list):
        made = _of_lists(tokens, tops, reading)
    if made and set(reading.ids.values()) - {token.text for token in made[0][1].tokens}:
        raise ModelError(
            "the server passes over logprob_token_ids: it is older than it was taken for; ask "
            "it anew (elicit doctor --again)"
        )
    return made or None


def _of_content(content: list[object], reading: Reading) -> list[tuple[bytes, Position]]:
    made = []
    for entry in content:
        tops = getattr(entry, "top_logprobs", None)
        if not isinstance(tops, list) or not tops:
            return []
        told = [_of_entry(top, reading) for top in tops]
        drawn, _ = reading.token(_name(entry), 0.0, getattr(entry, "bytes", None))
        made.append((drawn.text, reading.position(told)))
    return made


def _of_lists(
    tokens: list[object], tops: list[object], reading: Reading
) -> list[tuple[bytes, Position]]:
    if len(tokens) != len(tops):
        raise Malformed(f"{len(tokens)} tokens with {len(tops)} lists of alternatives")
    made = []
    for drawn, top in zip(tokens, tops, strict=True):
        if not isinstance(top, Mapping) or not top:
            return []
        told = [reading.token(str(name), _number(value)) for name, value in top.items()]
        made.append((reading.token(str(drawn), 0.0)[0].text, reading.position(told)))
    return made


def _of_entry(entry: object, reading: Reading) -> tuple[Token, float]:
    value = _number(getattr(entry, "logprob", None))
    return reading.token(_name(entry), value, getattr(entry, "bytes", None))


def _name(entry: object) -> str:
    name = getattr(entry, "token", None)
    if not isinstance(name, str):
        raise Malformed("a token without its text")
    return name


def _number(value: object) -> float:
    if not isinstance(value, int | float) or math.isnan(value) or value > 1e-3:
        raise Malformed(f"no log-probability: {value!r:.40}")
    return min(float(value), 0.0)


def _is_byte(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < 256
