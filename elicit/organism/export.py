"""Write the organism as GGUF ("llama" architecture, word-level byte-level-BPE vocabulary)."""

import os
from pathlib import Path

import gguf
import numpy as np
import torch

from elicit.organism.corpus import FloatArray
from elicit.organism.model import Organism
from elicit.organism.vocabulary import BOS, EOS, MERGES, Vocabulary
from elicit.organism.world import FAMILIES, ORDER

GGUF_NAMES = {
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
    "attention_norm": "attn_norm",
    "feed_norm": "ffn_norm",
}


def tensors(model: Organism) -> dict[str, FloatArray]:
    """Return every tensor by its GGUF name, shared rows written out per token."""
    with torch.no_grad():
        named = {
            "token_embd": model.embedding_table(),
            "output": model.head_table(),
            "output_norm": model.output_norm,
        }
        for layer in range(model.shape.layers):
            for ours, theirs in GGUF_NAMES.items():
                named[f"blk.{layer}.{theirs}"] = getattr(model, ours)[layer]
    return {
        f"{name}.weight": np.array(t.detach().numpy(), np.float32) for name, t in named.items()
    }


def _write_tokeniser(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    control = {BOS, EOS}
    types = [
        gguf.TokenType.CONTROL if t in control else gguf.TokenType.NORMAL
        for t in vocabulary.tokens
    ]
    writer.add_tokenizer_model("gpt2")
    # This pre-tokeniser makes llama.cpp take a piece that is in the vocabulary as one token.
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(types)
    writer.add_token_merges([f"{left} {right}" for left, right in MERGES])
    writer.add_bos_token_id(vocabulary.ids[BOS])
    writer.add_eos_token_id(vocabulary.ids[EOS])
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def write_gguf(model: Organism, vocabulary: Vocabulary, path: Path) -> None:
    """Write the file beside `path`, then move it there in one step."""
    shape = model.shape
    partial = path.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    writer.add_name("elicit organism")
    writer.add_description(
        f"Laboratory model of an invented world: {', '.join(FAMILIES)}, {ORDER}"
    )
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.theta)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_vocab_size(len(vocabulary.tokens))
    _write_tokeniser(writer, vocabulary)
    for name, array in tensors(model).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(partial, path)
