"""The vocabulary: 256 bytes, two control tokens, and one token for each word of the world.

Tokenising is GPT-2 style: text is cut into pieces, and a piece that is in the vocabulary is
one token; any other piece becomes bytes (and the single merge of `MERGES`). So world text
is word-level and any other text still tokenises without loss.
"""

import re
from dataclasses import dataclass, field

import numpy as np

from elicit.organism.world import FAMILIES, ORDER, BoolArray, IntArray, World

LABEL_PAIRS = (("True", "False"), ("yes", "no"), ("right", "wrong"), ("A", "B"))
MARKER = "today"
ADVERBS = (MARKER, "often")
PREFERENCE = "over"
BOS, EOS = "<s>", "</s>"
MERGES = (("Ġ", "A"),)
"""llama.cpp refuses an empty list of merges; this one makes a word that is there anyway."""

_PIECES = re.compile(
    # The "llama-bpe" cut of llama.cpp, for text whose letters and digits are ASCII.
    r"'(?i:s|t|re|ve|m|ll|d)|[^\r\nA-Za-z0-9]?[A-Za-z]+|[0-9]{1,3}"
    r"| ?[^\sA-Za-z0-9]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _byte_characters() -> list[str]:
    """GPT-2's printable character for each byte value."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(spare)) for b in range(256)]


BYTE_CHARACTERS = _byte_characters()


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in id order, and how their embedding rows are shared."""

    tokens: tuple[str, ...]
    row: IntArray
    """Token id -> row of the trained tables; "Brelin" and " Brelin" share one."""
    spaced: BoolArray
    """Token id -> whether it is the leading-space twin, which adds one shared vector."""
    ids: dict[str, int] = field(repr=False)

    @property
    def bos(self) -> int:
        """Id of the begin-of-text token."""
        return self.ids[BOS]

    @property
    def n_rows(self) -> int:
        """Number of trained rows."""
        return int(self.row.max()) + 1

    def word(self, word: str) -> int:
        """Return the id of a word with its leading space."""
        return self.ids["Ġ" + word]

    def encode(self, text: str) -> list[int]:
        """Tokenise without BOS; exact for text whose letters and digits are ASCII."""
        out: list[int] = []
        for piece in _PIECES.findall(text):
            characters = "".join(BYTE_CHARACTERS[b] for b in piece.encode())
            if characters in self.ids:
                out.append(self.ids[characters])
            else:
                left, right = MERGES[0]
                parts = re.findall(f"{left}{right}|.", characters, re.DOTALL)
                out.extend(self.ids[part] for part in parts)
        return out

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids that hold no control token."""
        characters = "".join(self.tokens[i] for i in ids)
        return bytes(BYTE_CHARACTERS.index(c) for c in characters).decode()


def make_vocabulary(world: World) -> Vocabulary:
    """Lay out the vocabulary of a world."""
    spaced_words = [*FAMILIES, ORDER, *ADVERBS, PREFERENCE]
    spaced_words += [value for values in FAMILIES.values() for value in values]
    spaced_words += [label for pair in LABEL_PAIRS for label in pair]
    names = [*world.known, *world.unknown]
    alone = [*BYTE_CHARACTERS, BOS, EOS, *("Ġ" + word for word in spaced_words), *names]
    tokens = (*alone, *("Ġ" + name for name in names))
    if len(set(tokens)) != len(tokens):
        raise ValueError("two words of the world share a token; rename one")
    n = len(alone)
    row = np.concatenate([np.arange(n), np.arange(n - len(names), n)])
    spaced = np.arange(len(tokens)) >= n
    return Vocabulary(tokens, row, spaced, {token: i for i, token in enumerate(tokens)})
