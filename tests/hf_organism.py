"""The embedded model in the form Hugging Face's loaders read, made from its GGUF.

Only numbers and words change places: the same weights in float32, the same tokens.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elicit.organism import model_path

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
)
"""The messages' contents, joined: a chat reads to the model as the same text alone would."""

HF_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
OUTER_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}

LLAMA_BPE = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How the pre-tokeniser that llama.cpp calls "llama-bpe" cuts text."""

FloatArray = NDArray[np.float32]


def write_hf_form(folder: Path) -> Path:
    """Write config.json, model.safetensors, tokenizer.json and tokenizer_config.json.

    Args:
        folder: made where it is missing; files of these names are replaced.

    Returns:
        The folder.
    """
    import gguf

    reader = gguf.GGUFReader(model_path())
    fields = {name: field.contents() for name, field in reader.fields.items()}
    heads = int(fields["llama.attention.head_count"])
    tensors = {
        t.name: np.asarray(t.data, np.float32).reshape([int(n) for n in reversed(t.shape)])
        for t in reader.tensors
    }
    folder.mkdir(parents=True, exist_ok=True)
    _write_safetensors(folder / "model.safetensors", _renamed(tensors, heads))
    tokens = fields["tokenizer.ggml.tokens"]
    bos = tokens[fields["tokenizer.ggml.bos_token_id"]]
    eos = tokens[fields["tokenizer.ggml.eos_token_id"]]
    _write_json(folder / "config.json", _config(fields, len(tokens)))
    _write_json(
        folder / "tokenizer.json",
        _tokeniser(tokens, fields["tokenizer.ggml.merges"], bos, eos),
    )
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": bos,
            "eos_token": eos,
            "model_max_length": fields["llama.context_length"],
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        },
    )
    return folder


def _renamed(tensors: dict[str, FloatArray], heads: int) -> dict[str, FloatArray]:
    found: dict[str, FloatArray] = {}
    for name, array in tensors.items():
        if name in OUTER_NAMES:
            found[OUTER_NAMES[name]] = array
            continue
        _, layer, kind, weight = name.split(".")
        rows = _halves(array, heads) if kind in {"attn_q", "attn_k"} else array
        found[f"model.layers.{layer}.{HF_NAMES[kind]}.{weight}"] = rows
    return found


def _halves(rows: FloatArray, heads: int) -> FloatArray:
    """[out, in]: from rotary pairs (2i, 2i + 1) of each head, as GGUF's "llama" has them, to
    pairs (i, i + half)."""
    out, width = rows.shape
    pairs = rows.reshape(heads, out // heads // 2, 2, width)
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(out, width)


def _write_safetensors(path: Path, tensors: dict[str, FloatArray]) -> None:
    """Length of the header in 8 bytes, the header as JSON, then the numbers."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, array in tensors.items():
        offsets = [start, start + array.nbytes]
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": offsets}
        start += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for array in tensors.values():
            file.write(array.astype("<f4").tobytes())


def _config(fields: dict[str, object], vocabulary: int) -> dict[str, object]:
    heads = fields["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": fields["llama.rope.dimension_count"],
        "max_position_embeddings": fields["llama.context_length"],
        "rms_norm_eps": fields["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": fields["llama.rope.freq_base"],
        "hidden_act": "silu",
        "vocab_size": vocabulary,
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
    }


def _tokeniser(tokens: list[str], merges: list[str], bos: str, eos: str) -> dict[str, object]:
    ids = {token: number for number, token in enumerate(tokens)}
    control = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    cut = {"type": "Split", "pattern": {"Regex": LLAMA_BPE}, "behavior": "Isolated"}
    begin = {"SpecialToken": {"id": bos, "type_id": 0}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": ids[token], "content": token, "special": True, **control}
            for token in (bos, eos)
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{**cut, "invert": False}, byte_level],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [
                begin,
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 0}},
            ],
            "special_tokens": {bos: {"id": bos, "ids": [ids[bos]], "tokens": [bos]}},
        },
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,
            "vocab": ids,
            "merges": merges,
        },
    }


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
