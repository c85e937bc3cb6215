"""Blocks of demonstrations that stay decoded between calls, each in a context of its own.

A search by folds goes to and fro between blocks: held side by side, a block is decoded again
only from the first demonstration that changed. A context holds one block and what stands
behind it, so scores are the same to the last bit however many are held.
"""

from __future__ import annotations

from elicit.providers.held_blocks import giving_way
from elicit.providers.llama_cpp.batch import Tokens, common_prefix, trunk_chunks
from elicit.providers.llama_cpp.context import LlamaContext
from elicit.providers.llama_cpp.model import LlamaModel
from elicit.providers.llama_cpp.settings import LlamaSettings


class Held:
    """A block of demonstrations in sequence 0 of a context.

    It is decoded in chunks cut at fixed positions, and another block keeps only whole chunks
    of it, so that what is held of a block never depends on how it got there.
    """

    def __init__(self, context: LlamaContext, chunk: int) -> None:
        self.context = context
        self._chunk = chunk
        self._trunk: Tokens = ()

    def kept(self, trunk: Tokens) -> int:
        """Tokens of a block that need not be decoded."""
        shared = common_prefix(self._trunk, trunk)
        # The whole block is there, its last part decoded as it would be now.
        if shared == len(trunk) == len(self._trunk):
            return shared
        return shared // self._chunk * self._chunk

    def __len__(self) -> int:
        """Tokens of the block."""
        return len(self._trunk)

    def make_room(self, trunk: Tokens, room: int) -> int:
        """Room for a block and `room` tokens behind it; returns the tokens that are kept."""
        if self.context.reserve(len(trunk) + room):
            self._trunk = ()
        return self.kept(trunk)

    def hold(self, trunk: Tokens, kept: int) -> None:
        """Have sequence 0 hold a block, of which it holds the first `kept` tokens."""
        self.context.keep_prefix(kept)
        self._trunk = trunk[:kept]
        chunks = [] if kept == len(trunk) else trunk_chunks(trunk, kept, self._chunk)
        for chunk in chunks:
            self.context.decode(chunk)
        self._trunk = trunk


class Trunks:
    """The blocks held, at most as many as the settings say."""

    def __init__(self, model: LlamaModel, settings: LlamaSettings) -> None:
        self._model, self._settings = model, settings
        self._held: list[Held] = []
        """The least recently used first."""

    def nearest(self, trunk: Tokens) -> Held:
        """Where this block costs least: beside the others, if there is still room."""
        kept = [held.kept(trunk) for held in self._held]
        place = giving_way(len(trunk), list(map(len, self._held)), kept, self._settings.trunks)
        if place is None:
            best = Held(self._model.context(), self._settings.chunk)
        else:
            best = self._held.pop(place)
        self._held.append(best)
        return best
