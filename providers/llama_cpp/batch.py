"""Plans what is decoded: demonstrations once, then a branch an item and label path.

Pure functions over token ids; a plan depends on the requests alone, never on what the
model happens to hold, so the same unit is decoded the same way whenever it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BatchToken:
    """A token to forward: its position, the sequences it belongs to, whether its logits
    are wanted."""

    id: int
    position: int
    sequences: tuple[int, ...]
    wanted: bool


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """A request as tokens. `prompt` leads with the `shared` tokens of the demonstrations."""

    index: int
    prompt: Tokens
    shared: int
    labels: tuple[Tokens, ...]
    meant: tuple[int, ...] = ()
    """For each of `labels` the number of the label that it is a spelling of; empty where
    each label has one spelling."""

    def nodes(self) -> tuple[Tokens, ...]:
        """The proper prefixes of the labels: after each, the model is asked what follows."""
        found = {label[:k] for label in self.labels for k in range(len(label))}
        return tuple(sorted(found, key=lambda node: (len(node), node)))

    def leaves(self) -> tuple[Tokens, ...]:
        """The nodes that no other continues: each is one path to decode."""
        nodes = self.nodes()
        return tuple(
            n for n in nodes if not any(len(m) > len(n) and m[: len(n)] == n for m in nodes)
        )

    @property
    def cost(self) -> int:
        """Tokens decoded after the demonstrations."""
        return len(self.prompt) - self.shared + len(self.nodes()) - 1


@dataclass(frozen=True, slots=True)
class Unit:
    """Prompts that are decoded together: all begin with `trunk`."""

    trunk: Tokens
    prompts: tuple[TokenPrompt, ...]

    @property
    def cost(self) -> int:
        """Tokens decoded after the trunk."""
        return sum(prompt.cost for prompt in self.prompts)


@dataclass(frozen=True, slots=True)
class Branches:
    """The batch of a unit, and where each prompt's rows are among the wanted ones."""

    tokens: tuple[BatchToken, ...]
    sequences: int
    rows: tuple[dict[Tokens, int], ...]
    """For each prompt: label prefix → number of its row."""


def plan(prompts: Sequence[TokenPrompt], *, sequences: int, tokens: int) -> list[Unit]:
    """Units of neighbours with the same demonstrations, filled greedily in order.

    Greedy filling means that leaving out whole units leaves the others as they are: a call
    that is repeated after some units are stored measures the rest alike.
    """
    units: list[Unit] = []
    current: list[TokenPrompt] = []
    used_sequences = used_tokens = 0
    for prompt in prompts:
        paths = len(prompt.leaves())
        if current and (
            prompt.prompt[: prompt.shared] != current[0].prompt[: current[0].shared]
            or used_sequences + paths > sequences
            or used_tokens + prompt.cost > tokens
        ):
            units.append(_unit(current))
            current, used_sequences, used_tokens = [], 0, 0
        current.append(prompt)
        used_sequences += paths
        used_tokens += prompt.cost
    if current:
        units.append(_unit(current))
    return units


def _unit(prompts: Sequence[TokenPrompt]) -> Unit:
    first = prompts[0]
    return Unit(first.prompt[: first.shared], tuple(prompts))


def branches(unit: Unit) -> Branches:
    """Lay out the tokens after the trunk. Sequence 0 is the trunk's; paths count from 1."""
    tokens: list[BatchToken] = []
    rows: list[dict[Tokens, int]] = []
    next_sequence, next_row = 1, 0
    for prompt in unit.prompts:
        leaves = prompt.leaves()
        paths = {leaf: next_sequence + k for k, leaf in enumerate(leaves)}
        next_sequence += len(leaves)
        every = tuple(paths.values())
        body = prompt.prompt[len(unit.trunk) :]
        for k, token in enumerate(body):
            wanted = k == len(body) - 1
            tokens.append(BatchToken(token, len(unit.trunk) + k, every, wanted))
        where: dict[Tokens, int] = {(): next_row}
        next_row += 1
        for node in prompt.nodes()[1:]:
            through = tuple(s for leaf, s in paths.items() if leaf[: len(node)] == node)
            position = len(prompt.prompt) + len(node) - 1
            tokens.append(BatchToken(node[-1], position, through, True))
            where[node] = next_row
            next_row += 1
        rows.append(where)
    return Branches(tuple(tokens), next_sequence - 1, tuple(rows))


def trunk_chunks(trunk: Tokens, start: int, size: int) -> list[list[BatchToken]]:
    """The trunk from `start` (a multiple of `size`) on, cut at fixed positions."""
    return [
        [
            BatchToken(token, at + k, (0,), False)
            for k, token in enumerate(trunk[at : at + size])
        ]
        for at in range(start, len(trunk), size)
    ]


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Number of leading tokens two sequences share."""
    n = min(len(a), len(b))
    if a[:n] == b[:n]:
        return n
    return next(i for i in range(n) if a[i] != b[i])
