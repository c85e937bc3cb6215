"""From a trained LoRA to an adapter that llama.cpp loads.

A GGUF adapter has `NAME.lora_a` (rank, in) and `NAME.lora_b` (out, rank) for the weight NAME,
and llama.cpp adds (alpha / rank) B A to it. The rows of B are those of the weight: where the
model's file has its q and k rows in rotary pairs, so has B.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elicit.finetune.huggingface_form import Q_AND_K_IN_PAIRS, architecture
from elicit.providers.base import ModelError
from elicit.providers.llama_cpp.content_hash import ADAPTER_OF, content_hash

if TYPE_CHECKING:
    import gguf as g

Floats = NDArray[np.float32]

PEFT_WEIGHTS, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
_BEFORE, _AFTER = "base_model.model.", ".weight"


def write_adapter(peft: Path, base: Path, adapter: Path) -> Path:
    """Write a PEFT adapter as a GGUF adapter of the model `base`.

    Args:
        peft: A folder with `adapter_model.safetensors` and `adapter_config.json`.
        base: The GGUF model that it is for.
        adapter: The file to write; it appears whole or not at all.

    Raises:
        ModelError: the adapter is no plain LoRA, or not one of this model.
    """
    import gguf as g
    from safetensors.numpy import load_file

    config = json.loads((peft / PEFT_CONFIG).read_text("utf-8"))
    _refuse_variants(config, peft)
    kind = architecture(base)
    reader = g.GGUFReader(base)
    heads = _heads(reader, kind)
    layers = int(reader.fields[f"{kind}.block_count"].contents())
    arch = next(a for a, name in g.MODEL_ARCH_NAMES.items() if name == kind)
    names = g.get_tensor_name_map(arch, layers)
    shapes = {t.name: tuple(int(n) for n in reversed(t.shape)) for t in reader.tensors}
    made: dict[str, Floats] = {}
    for name, values in load_file(peft / PEFT_WEIGHTS).items():
        module, _, part = name.removeprefix(_BEFORE).removesuffix(_AFTER).rpartition(".lora_")
        known = names.get_name(module)
        if known is None or part not in {"A", "B"} or f"{known}.weight" not in shapes:
            raise ModelError(f"{peft}: {name} is of no matrix that {base} has")
        weights = np.asarray(values, np.float32)
        if part == "B" and known.rpartition(".")[2] in heads:
            weights = in_pairs(weights, heads[known.rpartition(".")[2]])
        side = 0 if part == "B" else 1
        if weights.shape[side] != shapes[f"{known}.weight"][side]:
            raise ModelError(
                f"{peft}: {name} is {weights.shape}, {known} of {base} "
                f"{shapes[f'{known}.weight']}: it was trained on another model"
            )
        made[f"{known}.weight.lora_{part.lower()}"] = weights
    partial = adapter.with_name(f".{adapter.name}.partial")
    writer = g.GGUFWriter(partial, kind)
    writer.add_type(g.GGUFType.ADAPTER)
    writer.add_string(g.Keys.Adapter.TYPE, "lora")
    writer.add_string(ADAPTER_OF, content_hash(base))
    writer.add_float32(g.Keys.Adapter.LORA_ALPHA, float(config["lora_alpha"]))
    for name in sorted(made):
        writer.add_tensor(name, np.ascontiguousarray(made[name]))
    finish(writer, partial, adapter)
    return adapter


def in_pairs(rows: Floats, heads: int) -> Floats:
    """(out, width): from rotary pairs (i, i + half) of each head, as Hugging Face's Llama has
    them, to pairs (2i, 2i + 1), as GGUF's has."""
    out, width = rows.shape
    halves = rows.reshape(heads, 2, out // heads // 2, width)
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(out, width)


def _heads(reader: g.GGUFReader, kind: str) -> Mapping[str, int]:
    """Matrices whose rows are in pairs → the number of their heads."""
    if not Q_AND_K_IN_PAIRS[kind]:
        return {}
    heads = int(reader.fields[f"{kind}.attention.head_count"].contents())
    shared = reader.fields.get(f"{kind}.attention.head_count_kv")
    return {"attn_q": heads, "attn_k": heads if shared is None else int(shared.contents())}


def _refuse_variants(config: Mapping[str, Any], peft: Path) -> None:
    for name in ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "modules_to_save"):
        if config.get(name):
            raise ModelError(f"{peft}: has {name}, which llama.cpp can't apply; train without")
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none":
        raise ModelError(f"{peft}: is no plain LoRA without biases")


def finish(writer: g.GGUFWriter, partial: Path, whole: Path) -> None:
    """Write all that the writer of `partial` was given, and make it `whole` in one step."""
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(partial, whole)
    finally:
        partial.unlink(missing_ok=True)
