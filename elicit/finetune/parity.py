"""log P(label | prompt) by torch, which trains it, and by llama.cpp, which scores with it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from elicit.finetune.label_tokens import LabelTokens
from elicit.providers.llama_cpp.batch import BatchToken
from elicit.providers.llama_cpp.context import LlamaContext
from elicit.providers.llama_cpp.model import LlamaModel
from elicit.providers.llama_cpp.settings import LlamaSettings

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]


def label_losses(model: torch.nn.Module, rows: Sequence[LabelTokens]) -> torch.Tensor:
    """-log P(label | prompt) of each row, nats, (n,), with its gradient.

    Args:
        model: A causal model of Hugging Face's, with its layers in `model` and its output
            table in `lm_head`; logits are made at the labels' places alone.
    """
    import torch

    device = model.lm_head.weight.device
    longest = max(len(row.ids) for row in rows)
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    of, asked, wanted = [], [], []
    for i, row in enumerate(rows):
        # Padding stands behind the label, where a causal model can't see it.
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        for place in range(len(row.ids) - row.label, len(row.ids)):
            of.append(i)
            asked.append(place - 1)
            wanted.append(row.ids[place])
    hidden = model.model(ids.to(device), use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[of, asked]).float()
    each = torch.nn.functional.cross_entropy(
        logits, torch.tensor(wanted, device=device), reduction="none"
    )
    sums = torch.zeros(len(rows), device=device)
    return sums.index_add(0, torch.tensor(of, device=device), each)


def by_torch(model: torch.nn.Module, rows: Sequence[LabelTokens]) -> Floats:
    """log P(label | prompt) of each row, nats, (n,), one at a time and without dropout."""
    import torch

    training = model.training
    model.eval()
    with torch.inference_mode():
        found = [-float(label_losses(model, [row])) for row in rows]
    model.train(training)
    return np.array(found)


def by_llama_cpp(base: Path, adapter: Path | None, rows: Sequence[LabelTokens]) -> Floats:
    """log P(label | prompt) of each row, nats, (n,), one at a time, keys and values in
    float32."""
    settings = LlamaSettings(kv_type="f32", flash_attention=False)
    found = []
    with closing(LlamaModel(base, settings, adapter)) as model:
        context = model.context()
        for row in rows:
            first = len(row.ids) - row.label
            context.reserve(len(row.ids))
            context.keep_prefix(0)
            tokens = [
                BatchToken(token, place, (0,), place >= first - 1)
                for place, token in enumerate(row.ids[:-1])
            ]
            logits = np.stack(in_batches(context, tokens, settings)).astype(np.float64)
            found.append(float(log_softmax(logits)[range(row.label), row.ids[first:]].sum()))
    return np.array(found)


def in_batches(
    context: LlamaContext, tokens: Sequence[BatchToken], settings: LlamaSettings
) -> list[NDArray[np.float32]]:
    """The logits that the tokens ask for, decoded as many at once as the settings allow."""
    size = max(settings.chunk, settings.branch_tokens)
    return [
        row
        for start in range(0, len(tokens), size)
        for row in context.decode(tokens[start : start + size])
    ]


def log_softmax(rows: Floats) -> Floats:
    """Of each row of logits, (n, n_vocab)."""
    wide = rows - rows.max(1, keepdims=True)
    found: Floats = wide - np.log(np.exp(wide).sum(1, keepdims=True))
    return found
