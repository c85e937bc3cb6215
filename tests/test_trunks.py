"""Blocks of demonstrations held side by side: the same numbers, for fewer tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("llama_cpp", reason="needs the extra local")

from elicit.cache.errors import InputError
from elicit.organism import model_path, tasks_path
from elicit.prompt import RenderedTask
from elicit.providers.base import ScoreRequest, Usage
from elicit.providers.llama_cpp import LlamaCppProvider, LlamaSettings
from elicit.task_file import load_task

LABELS = (" False", " True")
SHOTS = 60
"""Demonstrations of a block: some 360 tokens, of which 256 are whole chunks."""


@cache
def rendered() -> RenderedTask:
    return load_task(tasks_path() / "claims.toml").render()


def block(number: int, flipped: int | None = None) -> list[ScoreRequest]:
    """Questions after one of several blocks, of which one demonstration may be flipped."""
    shown = np.arange(8 + 60 * number, 8 + 60 * number + SHOTS) % 216
    labels = np.zeros(SHOTS, np.int64)
    if flipped is not None:
        labels[flipped] = 1
    context = rendered().context(shown, labels)
    return [ScoreRequest((*context, rendered().questions[i]), LABELS) for i in range(8)]


def asked(
    provider: LlamaCppProvider, requests: list[ScoreRequest]
) -> tuple[list[tuple[float, ...]], Usage]:
    """The log-probabilities, and what they took."""
    units = list(provider.score(requests))
    found = dict(one for unit in units for one in unit.scores)
    return [found[i].log_probs for i in range(len(requests))], sum(
        (unit.usage for unit in units), Usage()
    )


@pytest.fixture(scope="module")
def providers() -> Iterator[list[LlamaCppProvider]]:
    """Of one block, two and three."""
    made = [
        LlamaCppProvider(model_path(), settings=LlamaSettings(trunks=n, threads=1))
        for n in (1, 2, 3)
    ]
    yield made
    for provider in made:
        provider.close()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, SHOTS - 1)), max_size=6))
@settings(max_examples=15, deadline=None)
def test_scores_are_the_same_to_the_last_bit_however_many_are_held(
    providers: list[LlamaCppProvider], history: list[tuple[int, int]]
) -> None:
    for number, flipped in history:
        requests = block(number, flipped)
        one, *others = [asked(provider, requests)[0] for provider in providers]
        assert all(other == one for other in others)


def test_going_to_and_fro_between_blocks_decodes_each_once() -> None:
    for trunks, times in ((1, 3), (2, 1)):
        made = LlamaSettings(trunks=trunks)
        with closing(LlamaCppProvider(model_path(), settings=made)) as provider:
            first = asked(provider, block(0))[1].forwarded_tokens
            there = asked(provider, block(1))[1].forwarded_tokens
            back = asked(provider, block(0))[1].forwarded_tokens
            again = asked(provider, block(1))[1].forwarded_tokens
        questions = 8 * 4
        assert first == there == 1 + SHOTS * 6 + questions
        assert (back, again) == ((first, there) if times == 3 else (questions, questions))


def test_a_changed_demonstration_takes_the_place_of_the_block_it_changed() -> None:
    made = LlamaSettings(trunks=2)
    with closing(LlamaCppProvider(model_path(), settings=made)) as provider:
        asked(provider, block(0))
        asked(provider, block(1))
        late = asked(provider, block(0, flipped=SHOTS - 1))[1].forwarded_tokens
        kept = asked(provider, block(1))[1].forwarded_tokens
    assert late == 1 + SHOTS * 6 - 256 + 8 * 4
    assert kept == 8 * 4


def test_how_many_are_held_is_no_part_of_a_model_s_identity() -> None:
    assert LlamaSettings(trunks=1).identity() == LlamaSettings(trunks=4).identity()
    with pytest.raises(InputError, match="model setting trunks"):
        LlamaSettings(trunks=0)
