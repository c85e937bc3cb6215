"""A model with an adapter added to its weights: a GGUF file, a Hugging Face folder, a card."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
import warnings
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from elicit.cache.errors import InputError
from elicit.finetune.adapter import Floats, finish
from elicit.finetune.lora import ADAPTER, CARD, FIGURES, PEFT
from elicit.finetune.model_card import model_card
from elicit.providers.base import ModelError

if TYPE_CHECKING:
    import gguf as g

GGUF = "model.gguf"


def merged(tuned: Path, base: Path, form: Path, out: Path) -> Path:
    """Write the weights that a finished job's adapter makes, in both forms, with a card.

    Args:
        tuned: The job's folder.
        base: The GGUF model that was tuned.
        form: The same in Hugging Face's form.
        out: The folder to write, which must not be there; it appears whole or not at all.

    Raises:
        InputError: the job has not finished, or `out` is there.
        ModelError: the adapter is not one of this model.
    """
    try:
        told = json.loads((tuned / FIGURES).read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{tuned}: holds no finished tuning job") from error
    if out.exists():
        raise InputError(f"{out}: is there already; choose another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=out.parent, prefix=".partial-"))
    try:
        merged_gguf(base, tuned / ADAPTER, partial / GGUF)
        _merge_form(form, tuned / PEFT, partial)
        files = {GGUF: "for llama.cpp", "the other files": "for Hugging Face's loaders"}
        card = model_card(base, told, files, merged=True)
        (partial / CARD).write_text(card, "utf-8")
        os.rename(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def merged_gguf(base: Path, adapter: Path, merged: Path) -> Path:
    """Write the model `base` with the adapter added to its weights, as one GGUF file.

    Matrices that the adapter changes keep their type where it is float32, float16 or
    bfloat16; quantised ones become float16, as quantising them again would lose the change.

    Raises:
        InputError: `merged` would be written over one of the two.
        ModelError: the adapter is no LoRA, or not one of this model.
    """
    import gguf as g

    if merged.resolve() in {base.resolve(), adapter.resolve()}:
        raise InputError(f"{merged}: is what it is made of; choose another file")
    changes, scale = _changes(adapter)
    reader = g.GGUFReader(base)
    partial = merged.with_name(f".{merged.name}.partial")
    writer = g.GGUFWriter(partial, str(reader.fields["general.architecture"].contents()))
    _copy_fields(reader, writer)
    missing = set(changes)
    for tensor in reader.tensors:
        if tensor.name not in changes:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
            continue
        missing.discard(tensor.name)
        down, up = changes[tensor.name]
        weights = g.dequantize(tensor.data, tensor.tensor_type)
        if weights.shape != (up.shape[0], down.shape[1]):
            raise ModelError(f"{adapter}: {tensor.name} is of another shape in {base}")
        keeps = {g.GGMLQuantizationType[name] for name in ("F32", "F16", "BF16")}
        kind = tensor.tensor_type
        kind = kind if kind in keeps else g.GGMLQuantizationType.F16
        summed = weights + np.float32(scale / down.shape[0]) * (up @ down)
        writer.add_tensor(tensor.name, g.quantize(summed, kind), raw_dtype=kind)
    if missing:
        writer.close()
        partial.unlink(missing_ok=True)
        raise ModelError(f"{adapter}: {min(missing)} is no weight of {base}")
    finish(writer, partial, merged)
    return merged


def _merge_form(form: Path, peft: Path, out: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    with redirect_stderr(io.StringIO()), warnings.catch_warnings():
        # What peft asks of transformers by a name that will go.
        warnings.simplefilter("ignore", FutureWarning)
        base = AutoModelForCausalLM.from_pretrained(form, dtype="auto", local_files_only=True)
        PeftModel.from_pretrained(base, peft).merge_and_unload().save_pretrained(out)
    for file in form.iterdir():
        weights = file.suffix in {".safetensors", ".bin", ".gguf"} or "index" in file.name
        if file.is_file() and not weights and not (out / file.name).exists():
            shutil.copyfile(file, out / file.name)


def _changes(adapter: Path) -> tuple[dict[str, tuple[Floats, Floats]], float]:
    """Of each weight the (A, B) of an adapter, and its alpha."""
    import gguf as g

    reader = g.GGUFReader(adapter)
    alpha = reader.fields.get(g.Keys.Adapter.LORA_ALPHA)
    if alpha is None:
        raise ModelError(f"{adapter}: is no LoRA adapter (no {g.Keys.Adapter.LORA_ALPHA})")
    parts = {t.name: g.dequantize(t.data, t.tensor_type) for t in reader.tensors}
    weights = {name.removesuffix(".lora_a") for name in parts if name.endswith(".lora_a")}
    return {w: (parts[f"{w}.lora_a"], parts[f"{w}.lora_b"]) for w in weights}, float(
        alpha.contents()
    )


def _copy_fields(reader: g.GGUFReader, writer: g.GGUFWriter) -> None:
    import gguf as g

    for field in reader.fields.values():
        # The writer writes these itself.
        if field.name == g.Keys.General.ARCHITECTURE or field.name.startswith("GGUF."):
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == g.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=inner)
