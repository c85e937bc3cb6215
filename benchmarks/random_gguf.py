"""Write a GGUF of real-model shapes, random weights and a real tokeniser.

    python benchmarks/random_gguf.py VOCAB.gguf OUT.gguf --preset 0.5b --type f16

VOCAB is one of the vocabulary-only files in llama-cpp-python's source distribution
(`vendor/llama.cpp/models/ggml-vocab-*.gguf`). The weights know nothing: such a model is for
speed and memory, and its accuracy is chance.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

TYPES = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "bf16": gguf.GGMLQuantizationType.BF16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}


@dataclass(frozen=True)
class Shape:
    """Sizes of a Qwen2-architecture model."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    hidden: int
    context: int = 32_768


PRESETS = {
    "test": Shape(layers=2, width=64, heads=4, kv_heads=2, hidden=128),
    # SmolLM2-135M and Qwen2.5-0.5B, as their model cards state them.
    "135m": Shape(layers=30, width=576, heads=9, kv_heads=3, hidden=1536),
    "0.5b": Shape(layers=24, width=896, heads=14, kv_heads=2, hidden=4864),
}


def copy_tokeniser(reader: gguf.GGUFReader, writer: gguf.GGUFWriter) -> int:
    """Copy every tokenizer.* field; returns the number of tokens."""
    for name, field in reader.fields.items():
        if name.startswith("tokenizer."):
            inner = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], inner)
    return len(reader.fields["tokenizer.ggml.tokens"].data)


def tensors(shape: Shape, n_vocab: int) -> list[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor; the output table is the embedding."""
    d, kv = shape.width, shape.width // shape.heads * shape.kv_heads
    found: list[tuple[str, tuple[int, ...]]] = [
        ("token_embd.weight", (n_vocab, d)),
        ("output_norm.weight", (d,)),
    ]
    for layer in range(shape.layers):
        rows = {
            "attn_norm.weight": (d,),
            "attn_q.weight": (d, d),
            "attn_q.bias": (d,),
            "attn_k.weight": (kv, d),
            "attn_k.bias": (kv,),
            "attn_v.weight": (kv, d),
            "attn_v.bias": (kv,),
            "attn_output.weight": (d, d),
            "ffn_norm.weight": (d,),
            "ffn_gate.weight": (shape.hidden, d),
            "ffn_up.weight": (shape.hidden, d),
            "ffn_down.weight": (d, shape.hidden),
        }
        found += [(f"blk.{layer}.{name}", size) for name, size in rows.items()]
    return found


def _random(rng: np.random.Generator, name: str, size: tuple[int, ...]) -> NDArray[np.float32]:
    if "norm" in name:
        return np.ones(size, np.float32)
    scale = 0.02 if len(size) == 1 or "embd" in name else size[-1] ** -0.5
    return rng.standard_normal(size, np.float32) * np.float32(scale)


def write(vocab: Path, out: Path, preset: str, kind: str, seed: int = 0) -> None:
    """Write the model; equal arguments give equal bytes."""
    shape, rng = PRESETS[preset], np.random.default_rng(seed)
    writer = gguf.GGUFWriter(out, "qwen2")
    n_vocab = copy_tokeniser(gguf.GGUFReader(vocab), writer)
    writer.add_name(f"random {preset}")
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(n_vocab)
    for name, size in tensors(shape, n_vocab):
        values = _random(rng, name, size)
        if len(size) == 1:
            writer.add_tensor(name, values)
        elif kind in ("f32", "f16"):
            writer.add_tensor(name, values.astype(np.float16 if kind == "f16" else np.float32))
        else:
            data = gguf.quants.quantize(values, TYPES[kind])
            writer.add_tensor(name, data, raw_dtype=TYPES[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("vocab", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--preset", choices=PRESETS, default="0.5b")
    parser.add_argument("--type", choices=TYPES, default="f16", dest="kind")
    arguments = parser.parse_args()
    write(arguments.vocab, arguments.out, arguments.preset, arguments.kind)


if __name__ == "__main__":
    main()
