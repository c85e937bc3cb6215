"""The pieces of a task's prompts as numbers: which are the same, how many tokens each is."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from elicit.prompt import RenderedTask
from elicit.providers.base import Prompt, Provider, ScoreRequest, Segment
from elicit.scorer import Ask, FloatArray, IntArray
from elicit.tally import Group


@dataclass(frozen=True)
class Pieces:
    """Numbers, equal for equal text, and tokens of all that a prompt is made of."""

    opening: float
    """Tokens that every prompt begins with."""
    questions: IntArray
    """(n_items,); each is the number of the first item with that text."""
    question_tokens: FloatArray
    shown: IntArray
    """(n_items, n_labels): the demonstration of an item with a label; from 1 on."""
    shown_tokens: FloatArray

    def group(self, ask: Ask, items: IntArray) -> Group:
        """The prompts of some items after an ask's demonstrations."""
        pieces = np.concatenate([[0], self.shown[ask.context, ask.labels]])
        tokens = np.concatenate([[self.opening], self.shown_tokens[ask.context, ask.labels]])
        return Group(pieces, tokens, self.question_tokens[items])


def pieces_by_ratio(rendered: RenderedTask, tokens_per_character: float) -> Pieces:
    """Tokens guessed from characters, for a model whose tokeniser is not at hand."""

    def tokens(prompt: Iterable[Segment]) -> float:
        return sum(len(segment.text) for segment in prompt) * tokens_per_character

    return _pieces(
        rendered,
        tokens(rendered.opening),
        [tokens([question]) for question in rendered.questions],
        [[tokens(shown) for shown in every] for every in rendered.shown],
    )


def pieces_by_tokeniser(rendered: RenderedTask, provider: Provider) -> Pieces | None:
    """Tokens as a local model's provider counts them; None where it can't.

    It counts whole prompts with their longest label, so that pieces are told from
    differences of two counts.
    """
    opening, labels = rendered.opening, rendered.verbalizers
    first, *_ = rendered.questions

    def count(prompts: Sequence[Prompt]) -> list[int] | None:
        return provider.count_tokens([ScoreRequest(prompt, labels) for prompt in prompts])

    alone = count([(*opening, question) for question in rendered.questions])
    ended = count([(*opening, *rendered.shown[0][0])])
    written = count([(*opening, first, Segment.of(label, first.role)) for label in labels])
    shown = count([(*opening, *d, first) for every in rendered.shown for d in every])
    if alone is None or ended is None or written is None or shown is None:
        return None
    label = max(max(written) - alone[0], 0)
    before = max(alone[0] - label - (shown[0] - ended[0]), 0)
    questions = [float(total - label - before) for total in alone]
    table = (np.array(shown, float) - alone[0]).reshape(len(questions), -1)
    return _pieces(rendered, float(before), questions, table.tolist())


def _pieces(
    rendered: RenderedTask,
    opening: float,
    questions: Sequence[float],
    shown: Sequence[Sequence[float]],
) -> Pieces:
    first: dict[Hashable, int] = {}
    for number, question in enumerate(rendered.questions):
        first.setdefault(question.digest, number)
    known: dict[Hashable, int] = {}
    numbers = [
        [known.setdefault(tuple(s.digest for s in d), len(known) + 1) for d in every]
        for every in rendered.shown
    ]
    return Pieces(
        opening=opening,
        questions=np.array([first[q.digest] for q in rendered.questions], np.int64),
        question_tokens=np.array(questions, float),
        shown=np.array(numbers, np.int64),
        shown_tokens=np.array(shown, float),
    )
