"""Examples as tokens: the ones that scoring sees, by the same rule and the same vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from elicit.cache.errors import InputError
from elicit.finetune.examples import Example
from elicit.providers.base import ScoreRequest
from elicit.providers.llama_cpp.batch import Tokens
from elicit.providers.llama_cpp.model import LlamaModel
from elicit.providers.llama_cpp.prompt_tokens import template_of, tokeniser_of
from elicit.providers.llama_cpp.settings import LlamaSettings


@dataclass(frozen=True, slots=True)
class LabelTokens:
    """A prompt with its label, as token ids; `label` of them, at the end, are the label."""

    ids: Tokens
    label: int


def label_tokens(
    examples: Sequence[Example], gguf: Path, settings: LlamaSettings
) -> list[LabelTokens]:
    """The tokens of each example. Of a label's spellings in a chat it is the plain one.

    Args:
        settings: As the model is scored; only `chat` and `system` matter.

    Raises:
        ModelError: labels that this model's tokens can't tell apart; prompts of a chat for a
            model that is asked in plain text, or the other way round.
        InputError: an example is longer than the model's context; it names the example.
    """
    answers = tuple(sorted({example.answer for example in examples}))
    with closing(LlamaModel(gguf, settings, None)) as model:
        limit = settings.n_ctx or model.trained_context
        requests = [ScoreRequest(example.prompt, answers) for example in examples]
        template = template_of(model, gguf, settings)
        prompts = tokeniser_of(model, template, settings).encode(requests)
    made = []
    for example, prompt in zip(examples, prompts, strict=True):
        number = answers.index(example.answer)
        place = prompt.meant.index(number) if prompt.meant else number
        label = prompt.labels[place]
        ids = (*prompt.prompt, *label)
        if len(ids) > limit:
            raise InputError(
                f"item {example.id}: has {len(ids):,} tokens with its label, the model's "
                f"context is {limit:,}; leave the item out, or tune a model that takes more"
            )
        made.append(LabelTokens(ids, len(label)))
    return made
