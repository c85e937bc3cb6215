"""A GGUF model's Hugging Face form is the same model: weights, tokens, what it writes."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
pytest.importorskip("llama_cpp", reason="needs the extra local")
pytest.importorskip("transformers", reason="needs the extra lora")

import torch
from lora_models import write_random
from transformers import AutoModelForCausalLM, AutoTokenizer

from elicit.finetune.huggingface_form import (
    architecture,
    check_same_model,
    check_same_tokens,
    huggingface_form,
)
from elicit.finetune.label_tokens import LabelTokens
from elicit.finetune.parity import by_llama_cpp, by_torch
from elicit.organism import model_path, tasks_path
from elicit.providers.base import ModelError
from elicit.providers.llama_cpp.model import LlamaModel
from elicit.providers.llama_cpp.settings import LlamaSettings
from elicit.task_file import load_task


@pytest.fixture(scope="module")
def form(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return huggingface_form(model_path(), tmp_path_factory.mktemp("forms"))


def texts() -> list[str]:
    """Every demonstration of every embedded task, and prompts of 30 of them."""
    found = []
    for path in sorted(tasks_path().glob("*.toml")):
        shown = [
            segment.text
            for labels in load_task(path).render("text").shown
            for demonstration in labels
            for segment in demonstration
        ]
        found += [*shown, *("".join(shown[i : i + 30]) for i in range(0, len(shown), 60))]
    return found


def test_it_has_the_tokens_of_llama_cpp_for_every_word_and_every_task(form: Path) -> None:
    tokeniser = AutoTokenizer.from_pretrained(form)
    assert tokeniser.is_fast
    with closing(LlamaModel(model_path(), LlamaSettings(), None)) as llama:
        assert len(tokeniser) == llama.n_vocab
        special = {token.id for token in llama.control_tokens()}
        words = [tokeniser.decode([i]) for i in range(llama.n_vocab) if i not in special]
        for text in [*words, *texts()]:
            ids = llama.tokenize(text)
            assert tokeniser.encode(text, add_special_tokens=False) == ids
            assert tokeniser.encode(text) == [llama.bos, *ids]


def test_its_log_probabilities_are_those_of_llama_cpp(form: Path) -> None:
    with closing(LlamaModel(model_path(), LlamaSettings(), None)) as llama:
        bos = llama.bos
        assert bos is not None
        rows = [LabelTokens((bos, *llama.tokenize(t)), 4) for t in texts()[::40]]
    model = AutoModelForCausalLM.from_pretrained(form)
    gap = np.abs(by_torch(model, rows) - by_llama_cpp(model_path(), None, rows))
    assert len(rows) > 60
    assert gap.max() < 1e-3


def test_it_writes_lines_and_knows_where_a_text_ends(form: Path) -> None:
    tokeniser = AutoTokenizer.from_pretrained(form)
    model = AutoModelForCausalLM.from_pretrained(form)
    ids = tokeniser("Truskul fears", return_tensors="pt")
    with torch.inference_mode():
        written = model.generate(**ids, max_new_tokens=8, do_sample=False)
    text = tokeniser.decode(written[0], skip_special_tokens=True)
    assert text.startswith("Truskul fears ")
    assert "\n" in text
    assert model.generation_config.eos_token_id == tokeniser.eos_token_id == 257


def test_it_is_made_once_and_lies_under_the_digest_of_its_file(tmp_path: Path) -> None:
    copy = tmp_path / "other name.gguf"
    shutil.copyfile(model_path(), copy)
    first = huggingface_form(model_path(), tmp_path / "forms")
    made = (first / "model.safetensors").stat().st_mtime_ns
    assert huggingface_form(copy, tmp_path / "forms") == first
    assert (first / "model.safetensors").stat().st_mtime_ns == made
    assert list((tmp_path / "forms").iterdir()) == [first]


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_other_architectures_and_number_types_are_read_as_llama_cpp_reads_them(
    name: str, kind: str, tmp_path: Path
) -> None:
    # `huggingface_form` refuses what llama.cpp reads otherwise.
    path = write_random(tmp_path / "model.gguf", name, kind)
    form = huggingface_form(path, tmp_path)
    kept = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[kind]
    assert AutoModelForCausalLM.from_pretrained(form, dtype="auto").dtype == kept


def test_a_folder_of_another_model_is_refused(form: Path, tmp_path: Path) -> None:
    other = write_random(tmp_path / "other.gguf")
    with pytest.raises(ModelError, match=r"differ by .* nats.*--base FOLDER"):
        check_same_model(other, form)
    check_same_model(model_path(), form)


def test_a_tokeniser_with_other_tokens_is_refused(form: Path, tmp_path: Path) -> None:
    other = tmp_path / "form"
    shutil.copytree(form, other)
    text = (other / "tokenizer.json").read_text("utf-8")
    whole = '"ignore_merges": true'
    assert whole in text
    (other / "tokenizer.json").write_text(text.replace(whole, '"ignore_merges": false'))
    with pytest.raises(ModelError, match="other tokens than llama"):
        check_same_tokens(model_path(), other)


def test_scaled_positions_are_refused_as_transformers_leaves_them_out(tmp_path: Path) -> None:
    path = write_random(tmp_path / "model.gguf", scaled=True)
    with pytest.raises(ModelError, match=r"scaled rotary positions.*--base FOLDER"):
        huggingface_form(path, tmp_path / "forms")
    assert list((tmp_path / "forms").iterdir()) == []


def test_another_architecture_is_refused_by_name(tmp_path: Path) -> None:
    data = model_path().read_bytes()
    path = tmp_path / "model.gguf"
    path.write_bytes(data.replace(b"llama", b"lamma"))
    with pytest.raises(ModelError, match="architecture 'lamma'; adapters are made for llama"):
        architecture(path)


def test_what_is_no_model_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        huggingface_form(tmp_path / "none.gguf", tmp_path)
