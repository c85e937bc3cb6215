"""A model tuned on this machine: what is trained is what is scored, whatever stops the job."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

os.environ["HF_HUB_OFFLINE"] = "1"
pytest.importorskip("llama_cpp", reason="needs the extra local")
pytest.importorskip("peft", reason="needs the extra lora")

import torch
from lora_models import write_random, write_with_template
from lora_process import gold_examples, steps_until
from peft import PeftModel
from transformers import AutoModelForCausalLM

from elicit.cache.errors import InputError
from elicit.finetune.adapter import write_adapter
from elicit.finetune.examples import Example
from elicit.finetune.huggingface_form import huggingface_form
from elicit.finetune.label_tokens import LabelTokens, label_tokens
from elicit.finetune.lora import Tuned, train
from elicit.finetune.lora_settings import LoraSettings
from elicit.finetune.lora_trainer import Step, batches, parts
from elicit.finetune.merged import merged
from elicit.finetune.parity import by_torch
from elicit.gold import load_gold
from elicit.organism import model_path, tasks_path
from elicit.providers.base import ModelError, Prompt, ScoreRequest, Segment
from elicit.providers.llama_cpp import LlamaSettings
from elicit.providers.llama_cpp.content_hash import content_hash
from elicit.providers.llama_cpp.model import LlamaModel
from elicit.providers.registry import open_model
from elicit.task_file import load_task

Floats = NDArray[np.float64]
TASK = tasks_path() / "claims.toml"
TRAINED = 152
QUICK = LoraSettings(epochs=1, rank=4)


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("forms")


@pytest.fixture(scope="module")
def form(forms: Path) -> Path:
    return huggingface_form(model_path(), forms)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("job") / "claims"


@pytest.fixture(scope="module")
def tuned(job: Path, form: Path) -> Tuned:
    """Tuned on the true labels of the first claims."""
    return train(gold_examples("claims", TRAINED), model_path(), form, job)


def scored(model: str, prompts: Sequence[Prompt], labels: tuple[str, ...]) -> Floats:
    """Log-probabilities, (n_prompts, n_labels), as a run asks for them."""
    found = np.full((len(prompts), len(labels)), np.nan)
    with closing(open_model(model)) as provider:
        for unit in provider.score([ScoreRequest(p, labels) for p in prompts]):
            for index, scores in unit.scores:
                found[index] = scores.log_probs
    return found


def by_peft(form: Path, peft: Path | None, examples: Sequence[Example]) -> Floats:
    """log P(answer | prompt) by transformers and PEFT from their own files, float32."""
    model = AutoModelForCausalLM.from_pretrained(form, dtype=torch.float32)
    if peft is not None:
        with warnings.catch_warnings():
            # What peft asks of transformers by a name that will go.
            warnings.simplefilter("ignore", FutureWarning)
            model = PeftModel.from_pretrained(model, peft).get_base_model()
    return by_torch(model, label_tokens(examples, model_path(), LlamaSettings()))


def prompts_with_demonstrations(n: int) -> list[Prompt]:
    """Claims with 0 to 64 demonstrations before them."""
    rng = np.random.default_rng(0)
    rendered = load_task(TASK).render("text")
    made = []
    for _ in range(n):
        shown = rng.permutation(len(rendered.questions))[: rng.integers(1, 66)]
        labels = rng.integers(0, 2, len(shown))
        made.append((*rendered.context(shown[1:], labels[1:]), rendered.questions[shown[0]]))
    return made


def adapted(tuned: Tuned) -> str:
    return f"llama-cpp:{model_path()}+{tuned.adapter}"


def test_a_model_tuned_on_true_labels_answers_claims_that_it_was_not_shown(
    tuned: Tuned,
) -> None:
    task = load_task(TASK)
    gold = load_gold(TASK, [item.id for item in task.items])
    assert gold is not None
    rendered = task.render("text")
    prompts = [(question,) for question in rendered.questions[TRAINED:]]
    right = [
        (scored(model, prompts, rendered.verbalizers).argmax(1) == gold[TRAINED:]).mean()
        for model in ("tiny", adapted(tuned))
    ]
    assert right[0] < 0.6
    assert right[1] > 0.85


def test_llama_cpp_scores_with_the_adapter_what_peft_does(
    tuned: Tuned, job: Path, form: Path, tmp_path: Path
) -> None:
    labels = (" True", " False")
    prompts = prompts_with_demonstrations(60)
    asked = [Example("", prompt, label) for prompt in prompts for label in labels]
    peft = by_peft(form, job / "peft", asked).reshape(-1, 2)
    base = scored("tiny", prompts, labels)
    assert np.abs(peft - base).max() > 1
    assert np.abs(peft - scored(adapted(tuned), prompts, labels)).max() < 0.02
    whole = merged(job, model_path(), form, tmp_path / "merged")
    assert np.abs(peft - by_peft(whole, None, asked).reshape(-1, 2)).max() < 1e-3
    by_gguf = scored(f"llama-cpp:{whole / 'model.gguf'}", prompts, labels)
    assert np.abs(peft - by_gguf).max() < 0.02


@pytest.mark.parametrize("kind", ["F32", "F16"])
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_adapters_fit_models_with_grouped_heads_of_each_architecture(
    architecture: str, kind: str, tmp_path: Path
) -> None:
    base = write_random(tmp_path / "model.gguf", architecture, kind)
    form = huggingface_form(base, tmp_path / "forms")
    settings = replace(QUICK, learning_rate=5e-3, epochs=2)
    tuned = train(gold_examples("claims", 32), base, form, tmp_path / "job", settings)
    assert tuned.took.losses[-1] < tuned.took.losses[0] / 2
    assert tuned.took.gap < (1e-4 if kind == "F32" else 0.01)


def test_the_first_loss_is_what_scoring_gives(form: Path, tmp_path: Path) -> None:
    examples = gold_examples("claims", 24)
    told: list[Step] = []
    settings = replace(QUICK, batch_size=24)
    tuned = train(examples, model_path(), form, tmp_path / "job", settings, told.append)
    labels = (" False", " True")
    logs = scored("tiny", [e.prompt for e in examples], labels)
    mean = -np.mean(
        [row[labels.index(e.answer)] for row, e in zip(logs, examples, strict=True)]
    )
    assert told == [Step(1, 1, tuned.took.losses[0])]
    assert told[0].loss == pytest.approx(mean, abs=2e-3)


def test_a_chat_is_tuned_in_the_words_of_its_template(tmp_path: Path) -> None:
    base = write_with_template(tmp_path / "chat.gguf")
    form = huggingface_form(base, tmp_path / "forms")
    task = load_task(TASK).render("block")
    examples = [
        Example(str(i), (*task.opening, question), task.verbalizers[i % 2])
        for i, question in enumerate(task.questions[:16])
    ]
    with closing(LlamaModel(base, LlamaSettings(), None)) as llama:
        first, answer = examples[0].prompt, llama.tokenize(examples[0].answer)
        shown = llama.tokenize("".join(segment.text + "\n" for segment in first))
    (row, *_) = label_tokens(examples, base, LlamaSettings(chat="on"))
    assert row == LabelTokens((*shown, *answer), len(answer))
    tuned = train(examples, base, form, tmp_path / "job", replace(QUICK, epochs=6))
    assert tuned.took.losses[-1] < tuned.took.losses[0] - 10
    assert tuned.took.gap < 1e-3
    with closing(open_model(f"llama-cpp:{base}+{tuned.adapter}?chat=on")) as provider:
        assert provider.capabilities.form == "chat"


def test_an_adapter_is_part_of_what_scores_are_stored_under(tuned: Tuned) -> None:
    with closing(open_model(adapted(tuned))) as provider, closing(open_model("tiny")) as plain:
        assert content_hash(tuned.adapter) in provider.identity.revision
        assert provider.identity.digest() != plain.identity.digest()


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(
    form: Path, tmp_path: Path
) -> None:
    examples = gold_examples("claims", 16)
    made = [
        train(examples, model_path(), form, tmp_path / name, replace(QUICK, seed=seed)).adapter
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    first, again, other = (path.read_bytes() for path in made)
    assert first == again != other


def test_a_job_killed_at_many_steps_ends_as_one_that_never_was(
    form: Path, tmp_path: Path
) -> None:
    settings = {"epochs": 2, "rank": 4, "dropout": 0.1, "checkpoint_seconds": 0}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert steps_until(whole, form, settings, None) == list(range(1, 13))
    # After the last step its checkpoint is there, and the adapter is being written.
    kills = (1, 2, 3, 5, 6, 8, 9, 10, 11, 12)
    seen = [steps_until(killed, form, settings, step) for step in kills]
    seen.append(steps_until(killed, form, settings, None))
    assert [run[0] for run in seen if run] == [1, *(step + 1 for step in kills[:-1])]
    names = ("adapter.gguf", "peft/adapter_model.safetensors", "peft/adapter_config.json")
    for name in names:
        assert (whole / name).read_bytes() == (killed / name).read_bytes()
    losses = [
        json.loads((job / "figures.json").read_text())["figures"]["losses"]
        for job in (whole, killed)
    ]
    assert losses[0] == losses[1]
    left = {path.name for path in killed.iterdir()}
    assert left == {"adapter.gguf", "peft", "README.md", "figures.json"}


def test_a_finished_job_is_told_again_and_not_done_again(
    tuned: Tuned, job: Path, form: Path
) -> None:
    told: list[Step] = []
    examples = gold_examples("claims", TRAINED)
    again = train(examples, model_path(), form, job, LoraSettings(), told.append)
    assert (again, told) == (tuned, [])


def test_a_folder_of_another_job_is_refused(tuned: Tuned, job: Path, form: Path) -> None:
    assert tuned.adapter.parent == job
    with pytest.raises(InputError, match="another job"):
        train(gold_examples("claims", 8), model_path(), form, job)


def test_a_checkpoint_of_another_job_is_refused(form: Path, tmp_path: Path) -> None:
    settings = replace(QUICK, checkpoint_seconds=0.0)

    def stop(_step: Step) -> None:
        raise KeyboardInterrupt

    for n in (24, 32):
        caught = KeyboardInterrupt if n == 24 else InputError
        with pytest.raises(caught):
            train(
                gold_examples("claims", n), model_path(), form, tmp_path / "job", settings, stop
            )


def test_an_example_that_is_too_long_is_named(form: Path, tmp_path: Path) -> None:
    long = Example("c7", (Segment.of("Truskul fears wolves\n" * 600 + "Truskul:"),), " True")
    with pytest.raises(InputError, match=r"item c7: has .* tokens.*2,048"):
        train([long], model_path(), form, tmp_path / "job", QUICK)


def test_a_rate_that_breaks_the_model_is_an_error(form: Path, tmp_path: Path) -> None:
    wild = replace(QUICK, learning_rate=1e30, epochs=4)
    with pytest.raises(InputError, match="choose a learning_rate below 1e"):
        train(gold_examples("claims", 32), model_path(), form, tmp_path / "job", wild)


def test_an_adapter_of_another_model_is_refused(
    tuned: Tuned, job: Path, tmp_path: Path
) -> None:
    assert tuned.adapter.exists()
    other = write_random(tmp_path / "other.gguf")
    with pytest.raises(ModelError, match=r"no matrix that|trained on another model"):
        write_adapter(job / "peft", other, tmp_path / "adapter.gguf")
    assert not (tmp_path / "adapter.gguf").exists()


def test_cards_tell_what_was_tuned_on_what_and_how(
    tuned: Tuned, job: Path, form: Path, tmp_path: Path
) -> None:
    whole = merged(job, model_path(), form, tmp_path / "merged")
    for card in (job / "README.md", whole / "README.md"):
        text = card.read_text("utf-8")
        assert content_hash(model_path()) in text
        assert "| rank | 16 |" in text
        assert f"| examples | {tuned.took.examples} |" in text
        assert "## Use" in text
    with pytest.raises(InputError, match="is there already"):
        merged(job, model_path(), form, whole)
    with pytest.raises(InputError, match="no finished tuning job"):
        merged(tmp_path, model_path(), form, tmp_path / "other")


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"rnak": 4}, "no setting rnak; did you mean rank"),
        ({"rank": 0}, "rank: is 0; it must be at least 1"),
        ({"epochs": 1.5}, "epochs: is 1.5; it must be a whole number"),
        ({"learning_rate": 0}, "learning_rate: is 0; it must be above 0"),
        ({"learning_rate": "high"}, "learning_rate: is 'high'; it must be a number"),
        ({"warmup": 1.0}, "warmup: is 1.0; it must be from 0"),
        ({"schedule": "step"}, "schedule: is 'step'; it must be one of linear, cosine"),
        ({"targets": "q,embed"}, "targets: is 'q,embed'; it must be some of q,k,v"),
        ({"targets": ""}, "targets: is ''"),
    ],
)
def test_a_setting_that_cannot_be_is_named(chosen: dict[str, float | str], said: str) -> None:
    with pytest.raises(InputError) as error:
        LoraSettings.parse(chosen)
    assert said in str(error.value)


@given(
    n=st.integers(1, 40), epochs=st.integers(1, 3), size=st.integers(1, 50), seed=st.integers(0)
)
def test_every_epoch_shows_every_example_once(
    n: int, epochs: int, size: int, seed: int
) -> None:
    made = list(batches(n, LoraSettings(epochs=epochs, batch_size=size, seed=seed)))
    shown = [i for batch in made for i in batch]
    assert all(len(batch) <= size for batch in made)
    assert [sorted(shown[e * n : (e + 1) * n]) for e in range(epochs)] == [
        list(range(n))
    ] * epochs


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=20), tokens=st.integers(1, 80))
def test_parts_of_a_batch_are_all_of_it_and_bounded(lengths: list[int], tokens: int) -> None:
    rows = [LabelTokens((0,) * length, 1) for length in lengths]
    made = [list(part) for part in parts(rows, tokens)]
    assert [row for part in made for row in part] == rows
    for part in made:
        padded = max(len(row.ids) for row in part) * len(part)
        assert len(part) == 1 or padded <= tokens


@given(
    steps=st.integers(1, 200),
    warmup=st.floats(0, 0.9),
    name=st.sampled_from(["linear", "cosine"]),
)
def test_rates_rise_to_the_one_chosen_and_fall(steps: int, warmup: float, name: str) -> None:
    settings = LoraSettings.parse({"schedule": name, "warmup": warmup, "learning_rate": 1.0})
    rates = [settings.rate(step, steps) for step in range(steps)]
    top = int(np.argmax(rates))
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
