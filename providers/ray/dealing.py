"""Deals units to workers by what each would have to forward. Pure functions.

A worker holds the demonstrations (the trunks) of its last units, so a unit costs it what its
trunk does not share with those, and the unit's own tokens. Units are dealt in stretches of
their order, in which neighbours share the most. Two workers on one block each decode its
trunk: that pays where the block's items take longer than the trunk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from elicit.providers.held_blocks import giving_way
from elicit.providers.llama_cpp.batch import Tokens

HINDRANCE = 0.2
"""How far workers are in each other's way: 0 where each has a machine, 1 where they share all
that makes them fast. A token more that one of n workers forwards then counts as HINDRANCE / n
tokens waited for, though the worker would idle without it."""
BOUNDS = 24
"""Bounds on a worker's tokens that are tried, from the lowest thinkable to all."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A unit as it is dealt: the number of its trunk, and the tokens after it."""

    trunk: int
    cost: int


Memory = tuple[int, ...]
"""Numbers of the trunks that a worker holds, the least recently used first."""


class Costs:
    """Trunks by number, and what decoding one costs a worker by what it holds.

    Args:
        chunk: Tokens of a trunk are kept in whole chunks of so many.
        trunks: How many of them a worker holds at most.
    """

    def __init__(self, chunk: int, trunks: int) -> None:
        self._chunk = chunk
        self._most = trunks
        self._numbers: dict[Tokens, int] = {}
        self._trunks: list[Tokens] = []
        self._arrays: list[NDArray[np.int32]] = []
        self._kept: dict[tuple[int, int], int] = {}
        self._after: dict[tuple[Memory, int], tuple[int, Memory]] = {}

    def number(self, trunk: Tokens) -> int:
        number = self._numbers.setdefault(trunk, len(self._trunks))
        if number == len(self._trunks):
            self._trunks.append(trunk)
            self._arrays.append(np.array(trunk, np.int32))
        return number

    def memory(self, trunks: Sequence[Tokens]) -> Memory:
        return tuple(self.number(trunk) for trunk in trunks)

    def trunks(self, memory: Memory) -> tuple[Tokens, ...]:
        return tuple(self._trunks[number] for number in memory)

    def after(self, memory: Memory, trunk: int) -> tuple[int, Memory]:
        """Tokens of a trunk that must be decoded, and what is held then: as
        `llama_cpp.trunks` has it, but for memory that is cleared when it grows."""
        known = self._after.get((memory, trunk))
        if known is None:
            known = self._after[memory, trunk] = self._decoded(memory, trunk)
        return known

    def _decoded(self, memory: Memory, trunk: int) -> tuple[int, Memory]:
        size = self._arrays[trunk].size
        kept = [self._shared(held, trunk) for held in memory]
        sizes = [self._arrays[held].size for held in memory]
        place = giving_way(size, sizes, kept, self._most)
        if place is None:
            return size, (*memory, trunk)
        rest = memory[:place] + memory[place + 1 :]
        return size - kept[place], (*rest, trunk)

    def _shared(self, held: int, trunk: int) -> int:
        """Tokens of a trunk that stay where another was."""
        if held == trunk:
            return self._arrays[trunk].size
        known = self._kept.get((held, trunk))
        if known is None:
            a, b = self._arrays[held], self._arrays[trunk]
            n = min(a.size, b.size)
            differs = a[:n] != b[:n]
            shared = int(differs.argmax()) if differs.any() else n
            known = self._kept[held, trunk] = shared // self._chunk * self._chunk
        return known


@dataclass(frozen=True, slots=True)
class Post:
    """A worker as it is dealt to: the trunks that it will hold, and the tokens that it has to
    forward before."""

    held: Memory = ()
    ahead: int = 0


Hands = Mapping[int, Sequence[int]]
"""For each worker the numbers of the pieces it gets, in their order."""


def deal(pieces: Sequence[Piece], posts: Mapping[int, Post], costs: Costs) -> Hands:
    """Give each piece to one of the workers, so that little is forwarded and waited for.

    Blocks, the neighbours of one trunk, stay whole unless it is better to split them. A
    greedy fill is tried under many bounds and judged by what it really costs, then under
    bounds near the best.
    """
    every = range(len(pieces))
    blocks = [list(block) for _, block in groupby(every, lambda number: pieces[number].trunk)]
    whole, price = _best(blocks, pieces, posts, costs)
    split, less = _best([[number] for number in every], pieces, posts, costs)
    return split if less < price else whole


def _best(
    groups: Sequence[Sequence[int]],
    pieces: Sequence[Piece],
    posts: Mapping[int, Post],
    costs: Costs,
) -> tuple[Hands, float]:
    """The best deal found that keeps groups whole, and its price."""
    best: Hands = {worker: [] for worker in posts}
    least, near = float("inf"), 1.0
    low = max(1.0, sum(piece.cost for piece in pieces) / len(posts))
    high = low + tokens_of(pieces, (), costs)[0] + max(post.ahead for post in posts.values())
    for _ in range(2):
        bounds = np.geomspace(low, high, BOUNDS).tolist()
        for bound in bounds:
            hands = _filled(groups, bound, pieces, posts, costs)
            price = price_of(hands, pieces, posts, costs)
            if price < least:
                best, least, near = hands, price, bound
        step = bounds[1] / bounds[0]
        low, high = near / step, near * step
    return best, least


def _filled(
    groups: Sequence[Sequence[int]],
    bound: float,
    pieces: Sequence[Piece],
    posts: Mapping[int, Post],
    costs: Costs,
) -> Hands:
    """Give stretches of the groups to one worker after another, each up to `bound` tokens;
    next comes the one that holds most of what is next. The last takes all that is left."""
    hands: dict[int, list[int]] = {worker: [] for worker in posts}
    free = dict(posts)
    held: Memory = ()
    worker, spent = -1, float("inf")
    for group in groups:
        group_pieces = [pieces[number] for number in group]
        tokens, holds = tokens_of(group_pieces, held, costs)
        if free and spent + tokens > bound:
            first = group_pieces[0].trunk
            worker = min(
                free, key=lambda w: free[w].ahead + costs.after(free[w].held, first)[0]
            )
            post = free.pop(worker)
            spent = post.ahead
            tokens, holds = tokens_of(group_pieces, post.held, costs)
        hands[worker] += group
        spent += tokens
        held = holds
    return hands


def price_of(
    hands: Hands, pieces: Sequence[Piece], posts: Mapping[int, Post], costs: Costs
) -> float:
    """What a deal costs, in tokens waited for."""
    spent = {
        worker: tokens_of([pieces[n] for n in hand], posts[worker].held, costs)[0]
        for worker, hand in hands.items()
    }
    waiting = max(tokens + posts[worker].ahead for worker, tokens in spent.items())
    return waiting + HINDRANCE / len(posts) * sum(spent.values())


def tokens_of(pieces: Sequence[Piece], held: Memory, costs: Costs) -> tuple[int, Memory]:
    """Tokens that a worker forwards for these pieces, one after another, and what it holds
    then."""
    total = 0
    for piece in pieces:
        decoded, held = costs.after(held, piece.trunk)
        total += decoded + piece.cost
    return total, held
