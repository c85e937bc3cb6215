"""The llama.cpp provider on the embedded model: its numbers and what they cost."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs the extra local")

from elicit.cache.errors import InputError
from elicit.providers.base import ModelError, PromptTooLong, Provider, ScoreRequest, Segment
from elicit.providers.llama_cpp import LlamaCppProvider, LlamaSettings
from elicit.providers.llama_cpp.batch import TokenPrompt, branches, plan
from elicit.providers.registry import lasting_name, open_model
from elicit.task_file import load_task

ORGANISM = Path(str(files("elicit.organism") / "organism.gguf"))
TASKS = Path(str(files("elicit.organism") / "tasks"))
LABELS = (" False", " True")


@pytest.fixture
def provider() -> Iterator[LlamaCppProvider]:
    opened = LlamaCppProvider(ORGANISM)
    yield opened
    opened.close()


def requests(
    shots: int, items: range, labels: tuple[str, ...] = LABELS, flip: int = 0
) -> list[ScoreRequest]:
    rendered = load_task(TASKS / "claims.toml").render()
    shown = np.arange(100, 100 + shots)
    demonstrations = rendered.context(shown, (shown + flip) % 2)
    return [ScoreRequest((*demonstrations, rendered.questions[i]), labels) for i in items]


def scores(provider: Provider, asked: list[ScoreRequest]) -> list[tuple[float, ...]]:
    found = [one for unit in provider.score(asked) for one in unit.scores]
    assert sorted(index for index, _ in found) == list(range(len(asked)))
    return [one.log_probs for _, one in sorted(found, key=lambda pair: pair[0])]


def reference(texts: list[str], label: str) -> list[float]:
    """Each prompt forwarded whole by llama-cpp-python, the label by the chain rule."""
    import llama_cpp

    llm = llama_cpp.Llama(str(ORGANISM), n_ctx=2048, logits_all=True, verbose=False)
    found = []
    for text in texts:
        tokens = llm.tokenize(text.encode(), add_bos=True)
        whole = llm.tokenize((text + label).encode(), add_bos=True)
        llm.reset()
        llm.eval(whole)
        logits = np.array(llm.scores[: len(whole)], np.float64)
        logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        found.append(sum(logs[i - 1, whole[i]] for i in range(len(tokens), len(whole))))
    llm.close()
    return found


@pytest.mark.parametrize(
    "labels", [LABELS, (" eats plums", " eats figs", " wears wool")], ids=["word", "words"]
)
def test_equals_prompts_evaluated_alone(
    provider: LlamaCppProvider, labels: tuple[str, ...]
) -> None:
    asked = requests(20, range(8), labels)
    texts = ["".join(segment.text for segment in r.prompt) for r in asked]
    ours = np.array(scores(provider, asked))
    for column, label in enumerate(labels):
        assert np.allclose(ours[:, column], reference(texts, label), atol=0.01)


@pytest.mark.parametrize("flash", [True, False])
@pytest.mark.parametrize("kv_type", ["f16", "f32"])
def test_numbers_do_not_depend_on_what_was_asked_before(
    flash: bool, kv_type: Literal["f16", "f32"]
) -> None:
    settings = LlamaSettings(flash_attention=flash, kv_type=kv_type)
    provider = LlamaCppProvider(ORGANISM, settings=settings)
    asked = requests(40, range(30))
    fresh = scores(provider, asked)
    histories = (requests(3, range(5)), requests(60, range(9)), requests(40, range(7), flip=1))
    for before in histories:
        scores(provider, before)
        assert scores(provider, asked) == fresh
    other = LlamaCppProvider(ORGANISM, settings=settings)
    scores(other, requests(12, range(50)))
    assert scores(other, asked) == fresh
    other.close()
    provider.close()


def test_leaving_out_whole_units_leaves_the_others_as_they_are() -> None:
    prompts = [TokenPrompt(i, (1, 2, 3, 10 + i), 3, ((7,), (8,))) for i in range(10)]
    units = plan(prompts, sequences=4, tokens=100)
    assert [len(unit.prompts) for unit in units] == [4, 4, 2]
    assert plan(prompts[4:], sequences=4, tokens=100) == units[1:]


def test_the_one_item_mode_agrees_with_the_shared_one(provider: LlamaCppProvider) -> None:
    single = LlamaCppProvider(ORGANISM, settings=LlamaSettings(mode="single"))
    asked = requests(30, range(20))
    assert np.allclose(scores(provider, asked), scores(single, asked), atol=0.01)
    assert provider.identity.digest() != single.identity.digest()
    single.close()


def test_demonstrations_are_forwarded_once_and_kept(provider: LlamaCppProvider) -> None:
    asked = requests(40, range(16))
    (first,) = list(provider.score(asked))
    demonstrations = 1 + 40 * 6
    assert first.usage.forwarded_tokens == demonstrations + 16 * 4
    assert first.usage.prompt_tokens == 16 * (demonstrations + 4)
    (again,) = list(provider.score(asked))
    assert again.usage.forwarded_tokens == 16 * 4
    # One more demonstration: only the chunk it stands in is decoded again.
    (longer,) = list(provider.score(requests(41, range(16))))
    assert longer.usage.forwarded_tokens == (demonstrations + 6 - 128) + 16 * 4


def test_a_path_through_labels_that_share_tokens_is_decoded_once() -> None:
    prompt = TokenPrompt(0, (1, 2), 1, ((5, 6), (5, 7), (8,)))
    (unit,) = plan([prompt], sequences=8, tokens=100)
    layout = branches(unit)
    assert [(t.id, t.position, t.wanted) for t in layout.tokens] == [(2, 1, True), (5, 2, True)]


def test_probabilities_are_of_the_whole_vocabulary(provider: LlamaCppProvider) -> None:
    (unit,) = list(provider.score(requests(40, range(1))))
    assert 0.9 < unit.scores[0][1].coverage <= 1
    assert all(value < 0 and math.isfinite(value) for value in unit.scores[0][1].log_probs)


def test_a_prompt_that_does_not_fit_is_refused_by_name() -> None:
    small = LlamaCppProvider(ORGANISM, settings=LlamaSettings(n_ctx=50))
    with pytest.raises(PromptTooLong, match=r"prompt 1 of 3 has .* the context 50"):
        scores(small, requests(40, range(3)))
    small.close()


def test_labels_that_begin_one_another_are_refused(provider: LlamaCppProvider) -> None:
    request = ScoreRequest((Segment.of("Brelin eats"),), (" plums", " plums over"))
    with pytest.raises(ModelError, match="begins label"):
        list(provider.score([request]))


def test_a_space_before_the_label_belongs_to_the_label(provider: LlamaCppProvider) -> None:
    spaced = ScoreRequest((Segment.of("Tratar eats pears: "),), ("False", "True"))
    plain = ScoreRequest((Segment.of("Tratar eats pears:"),), (" False", " True"))
    assert scores(provider, [spaced]) == scores(provider, [plain])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no such model file"),
        (b"", "is empty"),
        (b"PK\x03\x04" + bytes(60), "is not a GGUF file"),
        (b"GGUF", "ends inside its header"),
        (ORGANISM.read_bytes()[:200_000], "can't load it"),
    ],
)
def test_wrong_model_files(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=words):
        open_model(f"llama-cpp:{path}")


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a folder"):
        open_model(f"llama-cpp:{tmp_path}")


def test_closing_twice_is_once() -> None:
    opened = open_model("tiny")
    opened.close()
    opened.close()


def test_settings_stand_behind_the_file_s_name() -> None:
    with closing(open_model(f"llama-cpp:{ORGANISM}?chunk=64&flash_attention=false")) as model:
        assert model.identity.parameters["chunk"] == 64
        assert model.identity.parameters["flash_attention"] is False


def test_more_sequences_than_a_batch_holds_are_refused_where_llama_cpp_would_abort() -> None:
    with pytest.raises(InputError, match="128 must be below branch_tokens or chunk"):
        open_model(f"llama-cpp:{ORGANISM}?branch_tokens=128")
    settings = "branch_tokens=129&chunk=2"
    with closing(open_model(f"llama-cpp:{ORGANISM}?{settings}")) as model:
        assert len(scores(model, requests(3, range(4)))) == 4


def test_a_model_s_lasting_name_holds_in_any_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ORGANISM.parent)
    assert (
        lasting_name("llama-cpp:organism.gguf+a.gguf?chunk=64")
        == f"llama-cpp:{ORGANISM}+{ORGANISM.parent / 'a.gguf'}?chunk=64"
    )
    assert lasting_name("llama-cpp:hf:org/repo/m.gguf") == "llama-cpp:hf:org/repo/m.gguf"
    assert lasting_name("tiny") == "tiny"


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hub's cache as an earlier download of org/repo leaves it, and no network."""
    pytest.importorskip("huggingface_hub", reason="needs the extra hf")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    revision = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "models--org--repo"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(revision)
    (folder / "snapshots" / revision).mkdir(parents=True)
    (folder / "snapshots" / revision / "model.gguf").symlink_to(ORGANISM)
    return tmp_path


@pytest.mark.usefixtures("hub_cache")
def test_a_model_of_the_hub_is_the_file_it_names() -> None:
    with closing(open_model("llama-cpp:hf:org/repo/model.gguf")) as hub:
        assert hub.name == "llama-cpp:hf:org/repo/model.gguf"
        with closing(open_model(f"llama-cpp:{ORGANISM}")) as local:
            assert hub.identity == local.identity


@pytest.mark.usefixtures("hub_cache")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf:org/repo", "write hf:ORG/REPO/FILE.gguf"),
        ("hf:org/repo/other.gguf", "hf:org/repo/other.gguf: "),
        ("hf:or g/repo/model.gguf", "hf:or g/repo/model.gguf: "),
    ],
)
def test_a_model_the_hub_can_not_give_is_one_clear_error(name: str, words: str) -> None:
    with pytest.raises(ModelError, match=re.escape(words)) as caught:
        open_model(f"llama-cpp:{name}")
    assert "\n" not in str(caught.value)
