"""A GGUF model in the form that Hugging Face's loaders read, which is where it is tuned.

transformers reads the GGUF file and undoes what its maker changed (the order of q and k rows,
quantisation). What it made is held against llama.cpp before it is used: a model that reads
the same tokens otherwise would be tuned into an adapter of nothing.

Needs the extra `lora`: torch, transformers, gguf.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import closing, redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np

from elicit.finetune.parity import Floats, log_softmax
from elicit.providers.base import ModelError
from elicit.providers.llama_cpp.batch import BatchToken
from elicit.providers.llama_cpp.content_hash import content_hash
from elicit.providers.llama_cpp.model import LlamaModel, check_gguf
from elicit.providers.llama_cpp.settings import LlamaSettings

Q_AND_K_IN_PAIRS: Mapping[str, bool] = {"llama": True, "qwen2": False, "qwen3": False}
"""Architectures that are tuned here, by GGUF's names → whether its files have the q and k rows
of a head in the order of interleaved rotary pairs."""

_FORM = 1
"""Counts up when what is written here changes, so that older folders are made anew."""
_WHOLE_WORDS = {"llama-bpe", "llama3", "llama-v3"}
"""Pre-tokenisers whose pieces llama.cpp takes whole where the vocabulary has them (its
`ignore_merges`); transformers reads only the merges."""
_TEXTS = (
    "Hello world, it's 2024! Is the claim true: True\nIs it not: False\n\n  no, 12345.67;\tyes",
    "naïve café über straße Ελλάδα русский 漢字 😀 I'LL say\r\n{'key': [1, 2]} <b>http://x.y</b>",
)
_MEND = "give the model's own Hugging Face folder with --base FOLDER"


def huggingface_form(gguf: Path, folder: Path) -> Path:
    """The Hugging Face form of a GGUF model: config, weights, tokeniser.

    Args:
        gguf: A model of an architecture in `Q_AND_K_IN_PAIRS`.
        folder: Where forms are kept, each under its file's digest; made where it is missing.

    Returns:
        The folder of this model. It is made once and appears whole or not at all. Weights
        that are float32 or bfloat16 in the file stay so, others are float16.

    Raises:
        ModelError: no GGUF file, an architecture or vocabulary that transformers reads in
            another way than llama.cpp; it names what to do.
    """
    check_gguf(gguf)
    made = folder / f"{content_hash(gguf)[:24]}-{_FORM}"
    if made.exists():
        return made
    folder.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder, prefix=".partial-"))
    try:
        _write(gguf.resolve(), partial)
        check_same_model(gguf, partial)
        check_same_tokens(gguf, partial)
        try:
            os.rename(partial, made)
        except OSError:
            # Another process made the same meanwhile.
            if not made.exists():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return made


def architecture(gguf: Path) -> str:
    """The architecture of a GGUF file, one of `Q_AND_K_IN_PAIRS`.

    Raises:
        ModelError: it is another, or has weights that no Hugging Face model of it has.
    """
    import gguf as g

    reader = g.GGUFReader(gguf)
    field = reader.fields.get("general.architecture")
    name = "" if field is None else str(field.contents())
    if name not in Q_AND_K_IN_PAIRS:
        known = ", ".join(Q_AND_K_IN_PAIRS)
        raise ModelError(
            f"{gguf}: is of architecture {name!r}; adapters are made for {known}. Choose a "
            "model of these, or tune it at a provider"
        )
    return name


def check_same_model(gguf: Path, folder: Path) -> None:
    """Hold a Hugging Face folder against the GGUF file of the same model: the likeliest next
    tokens after two texts, and after each half of them.

    Raises:
        ModelError: the log-probabilities differ by more than rounding.
    """
    import torch
    from transformers import AutoModelForCausalLM

    allowed = 0.02 if _weight_types(gguf) == {"F32"} else 1.0
    settings = LlamaSettings(kv_type="f32", flash_attention=False)
    try:
        with redirect_stderr(io.StringIO()):
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype="auto", local_files_only=True
            )
    except (OSError, ValueError, RuntimeError) as error:
        why = _first(error)
        raise ModelError(f"{folder}: transformers can't load it: {why}; {_MEND}") from error
    with closing(LlamaModel(gguf, settings, None)) as llama:
        for text in _TEXTS:
            tokens = ([] if llama.bos is None else [llama.bos]) + llama.tokenize(text)
            ours = log_softmax(_llama_rows(llama, tokens))
            with torch.inference_mode():
                rows = model(torch.tensor([tokens])).logits[0].double().numpy()
            theirs = log_softmax(rows[[len(tokens) // 2, -1], : llama.n_vocab])
            if theirs.shape != ours.shape:
                raise ModelError(
                    f"{folder}: has {rows.shape[1]:,} tokens and {gguf} {llama.n_vocab:,}; "
                    "name the folder of the same model"
                )
            likeliest = np.argsort(ours)[:, -10:]
            gap = np.abs(np.take_along_axis(ours - theirs, likeliest, 1)).max()
            if not gap <= allowed:
                raise ModelError(
                    f"{gguf}: its log-probabilities and those of its Hugging Face form differ "
                    f"by {gap:.2f} nats: that is another model, or transformers reads it "
                    f"otherwise; {_MEND}"
                )


def check_same_tokens(gguf: Path, folder: Path) -> None:
    """Hold the tokeniser of a folder against llama.cpp's: two texts and up to 3,000 tokens of
    the vocabulary, each as a text of its own.

    Raises:
        ModelError: it gives other tokens.
    """
    from transformers import AutoTokenizer

    tokeniser = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    with closing(LlamaModel(gguf, LlamaSettings(), None)) as llama:
        special = {token.id for token in llama.control_tokens()}
        some = range(0, llama.n_vocab, max(1, llama.n_vocab // 3000))
        alone = (str(tokeniser.decode([token])) for token in some if token not in special)
        for text in (*_TEXTS, *alone):
            if tokeniser.encode(text, add_special_tokens=False) != llama.tokenize(text):
                raise ModelError(
                    f"{gguf}: transformers cuts {text[:40]!r} into other tokens than "
                    f"llama.cpp; {_MEND}"
                )


def _write(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    architecture(gguf)
    _refuse_scaled_positions(gguf)
    types = _weight_types(gguf)
    kept = {frozenset({"F32"}): torch.float32, frozenset({"BF16"}): torch.bfloat16}
    try:
        # Its bars of progress can't be turned off otherwise; what is wrong it raises.
        with redirect_stderr(io.StringIO()):
            model = AutoModelForCausalLM.from_pretrained(
                gguf.parent,
                gguf_file=gguf.name,
                dtype=kept.get(frozenset(types), torch.float16),
                quantization_config=GgufConfig(dequantize=True),
                local_files_only=True,
            )
            tokeniser = AutoTokenizer.from_pretrained(
                gguf.parent, gguf_file=gguf.name, local_files_only=True
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"{gguf}: transformers can't read it: {_first(error)}; {_MEND}"
        ) from error
    with redirect_stderr(io.StringIO()):
        model.save_pretrained(folder)
    tokeniser.save_pretrained(folder)
    _mend_tokeniser(gguf, folder, int(model.config.max_position_embeddings))


def _refuse_scaled_positions(gguf: Path) -> None:
    import gguf as g

    # transformers leaves these out, and short texts would hardly show it.
    names = [tensor.name for tensor in g.GGUFReader(gguf).tensors]
    scaled = [name for name in names if name.startswith("rope_")]
    if scaled:
        raise ModelError(f"{gguf}: has scaled rotary positions ({scaled[0]}); {_MEND}")


def _weight_types(gguf: Path) -> set[str]:
    """Names of the types that its matrices have."""
    import gguf as g

    tensors = g.GGUFReader(gguf).tensors
    return {tensor.tensor_type.name for tensor in tensors if len(tensor.shape) > 1}


def _mend_tokeniser(gguf: Path, folder: Path, longest: int) -> None:
    """Whole words where llama.cpp takes them whole, and no token that the file does not have:
    transformers adds its own defaults."""
    import gguf as g

    fields = g.GGUFReader(gguf).fields
    n = len(fields["tokenizer.ggml.tokens"].data)
    pre = fields.get("tokenizer.ggml.pre")
    tokeniser = _read(folder / "tokenizer.json")
    if pre is not None and pre.contents() in _WHOLE_WORDS:
        tokeniser["model"]["ignore_merges"] = True
    tokeniser["added_tokens"] = [t for t in tokeniser["added_tokens"] if t["id"] < n]
    _save(folder / "tokenizer.json", tokeniser)
    config = _read(folder / "tokenizer_config.json")
    for ours in ("is_local", "local_files_only"):
        config.pop(ours, None)
    config |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": longest}
    _save(folder / "tokenizer_config.json", config)


def _llama_rows(llama: LlamaModel, tokens: list[int]) -> Floats:
    """Logits after the first half of the tokens and after all, (2, n_vocab)."""
    wanted = {len(tokens) // 2, len(tokens) - 1}
    context = llama.context()
    context.reserve(len(tokens))
    rows = context.decode([BatchToken(t, i, (0,), i in wanted) for i, t in enumerate(tokens)])
    return np.stack(rows).astype(np.float64)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def _save(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")


def _first(error: Exception) -> str:
    lines: Iterable[str] = str(error).splitlines()
    return next(iter(lines), type(error).__name__)
