"""Models for tests of local tuning: the embedded one's vocabulary, random weights."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import gguf
import numpy as np

from elicit.organism import model_path

WIDTH, HEADS, KV_HEADS, HIDDEN, LAYERS = 128, 4, 2, 320, 2
HEAD = {"llama": 32, "qwen2": 32, "qwen3": 128}
"""Width of a head; transformers takes a Qwen3 file's for 128, as all have it."""

TEMPLATE = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
"""A chat reads as lines."""


def write_random(
    path: Path, architecture: str = "llama", kind: str = "F32", *, scaled: bool = False
) -> Path:
    """A model with grouped heads. `scaled` gives it scaled rotary positions, as Llama 3.1."""
    head = HEAD[architecture]
    rng = np.random.default_rng(0)
    reader = gguf.GGUFReader(model_path())
    n_vocab = len(reader.fields["tokenizer.ggml.tokens"].data)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (n_vocab, WIDTH),
        "output.weight": (n_vocab, WIDTH),
        "output_norm.weight": (WIDTH,),
    }
    for layer in range(LAYERS):
        shapes |= {f"blk.{layer}.{name}": size for name, size in _layer(architecture).items()}
    writer = gguf.GGUFWriter(path, architecture)
    copy_tokeniser(reader, writer, leave={"tokenizer.ggml.pre"})
    writer.add_tokenizer_pre("llama-bpe" if architecture == "llama" else "qwen2")
    writer.add_block_count(LAYERS)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(head)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(n_vocab)
    wanted = gguf.GGMLQuantizationType[kind]
    for name, shape in shapes.items():
        # Norms around one; matrices of a size that lets every part of the model speak.
        near = 1.0 if name.endswith("norm.weight") else 0.0
        values = (near + rng.normal(0, 2 * WIDTH**-0.5, shape)).astype(np.float32)
        if len(shape) > 1:
            writer.add_tensor(name, gguf.quantize(values, wanted), raw_dtype=wanted)
        else:
            writer.add_tensor(name, values)
    if scaled:
        writer.add_tensor("rope_freqs.weight", np.ones(head // 2, np.float32))
    _write(writer)
    return path


def write_with_template(path: Path) -> Path:
    """The embedded model with a chat template."""
    reader = gguf.GGUFReader(model_path())
    writer = gguf.GGUFWriter(path, "llama")
    copy_tokeniser(reader, writer, prefix="")
    writer.add_chat_template(TEMPLATE)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    _write(writer)
    return path


def copy_tokeniser(
    reader: gguf.GGUFReader,
    writer: gguf.GGUFWriter,
    prefix: str = "tokenizer.",
    leave: Collection[str] = (),
) -> None:
    """Copy the fields that begin so, but for those to leave."""
    for name, field in reader.fields.items():
        written = name.startswith("GGUF.") or name == "general.architecture"
        if name.startswith(prefix) and not written and name not in leave:
            inner = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], inner)


def _layer(architecture: str) -> dict[str, tuple[int, ...]]:
    head = HEAD[architecture]
    q, kv = head * HEADS, head * KV_HEADS
    made: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (WIDTH,),
        "ffn_norm.weight": (WIDTH,),
        "attn_q.weight": (q, WIDTH),
        "attn_k.weight": (kv, WIDTH),
        "attn_v.weight": (kv, WIDTH),
        "attn_output.weight": (WIDTH, q),
        "ffn_gate.weight": (HIDDEN, WIDTH),
        "ffn_up.weight": (HIDDEN, WIDTH),
        "ffn_down.weight": (WIDTH, HIDDEN),
    }
    if architecture == "qwen2":
        made |= {"attn_q.bias": (q,), "attn_k.bias": (kv,), "attn_v.bias": (kv,)}
    if architecture == "qwen3":
        made |= {"attn_q_norm.weight": (head,), "attn_k_norm.weight": (head,)}
    return made


def _write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
