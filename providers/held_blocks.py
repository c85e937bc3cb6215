"""Which block of demonstrations gives way to a new one: told once, for who decodes blocks, who
deals them to workers and who counts beforehand."""

from __future__ import annotations

from collections.abc import Sequence


def giving_way(
    tokens: float, held: Sequence[float], kept: Sequence[float], most: int
) -> int | None:
    """The place where a block costs least: tokens to decode for it, and those that are lost by
    it. None where it costs less beside the others, of which at most `most` are held.

    Args:
        tokens: Of the block.
        held: Tokens of each block that is held.
        kept: For each the tokens of the new block that need not be decoded after it.
    """
    costs = [tokens + own - 2 * same for own, same in zip(held, kept, strict=True)]
    if not costs or (len(costs) < most and min(costs) > tokens):
        return None
    return costs.index(min(costs))
