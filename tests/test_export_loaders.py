"""Exported files are read by the programs that they are for: TRL, OpenAI's SDK, Axolotl.

Axolotl pins versions of its own, so it is asked in an environment of its own, that `make unit`
makes; of what it needs, most is that of `.venv`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from elicit.cli.tasks import embedded_tasks
from elicit.export import Format, export
from elicit.labelling import Result, label
from elicit.task_file import load_task
from elicit.whole_file import save

# The libraries under test warn of their own future.
pytestmark = pytest.mark.filterwarnings("ignore")

FINDS = "import importlib.util as i, sys; sys.exit(i.find_spec('axolotl') is None)"
READER = Path(__file__).with_name("axolotl_reads.py")
LABELS = {"True", "False"}


@pytest.fixture(autouse=True)
def _nothing_from_a_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))


@pytest.fixture(scope="module")
def labelled() -> Result:
    """The embedded model's labels of an embedded task."""
    pytest.importorskip("llama_cpp", reason="needs the extra local")
    task = load_task(embedded_tasks()["claims"], 16)
    return label(task, "tiny", seed=0, method="bootstrap", cache=False)


def written(result: Result, folder: Path, form: Format, *, chat: bool = False) -> Path:
    path = folder / f"{form}.jsonl"
    save(path, export(result.run, result.task, form, chat=chat).content)
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def joined(messages: Iterable[dict[str, str]]) -> str:
    """What the embedded model's chat template makes of messages."""
    return "".join(message["content"] for message in messages)


# Tables


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_datasets_loads_a_table(form: Format, labelled: Result, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra hf")
    path = tmp_path / f"table.{form}"
    save(path, export(labelled.run, labelled.task, form).content)
    kind = "json" if form == "jsonl" else form
    table = datasets.load_dataset(
        kind, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert table["id"][:] == [item.id for item in labelled.task.items]
    assert [str(name) for name in table["label"]] == [
        str(row["label"]) for row in labelled.rows()
    ]
    assert table["log_odds"][:] == labelled.log_odds.tolist()


# TRL


def trained(kind: str, path: Path, hf_form: Path, folder: Path) -> tuple[list[Any], Any]:
    """The rows as a trainer of TRL prepared them, after one step of training on them."""
    trl = pytest.importorskip("trl", reason="needs trl, with torch and transformers")
    datasets = pytest.importorskip("datasets", reason="needs the extra hf")
    transformers = pytest.importorskip("transformers", reason="needs the extra lora")
    found = datasets.load_dataset(
        "json", data_files=str(path), split="train", cache_dir=str(folder / "cache")
    )
    tokeniser = transformers.AutoTokenizer.from_pretrained(hf_form)
    options = getattr(trl, f"{kind}Config")(
        output_dir=str(folder / "trained"),
        use_cpu=True,
        max_steps=1,
        per_device_train_batch_size=2,
        report_to="none",
        save_strategy="no",
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
    )
    trainer = getattr(trl, f"{kind}Trainer")(
        model=transformers.AutoModelForCausalLM.from_pretrained(hf_form),
        args=options,
        train_dataset=found,
        processing_class=tokeniser,
    )
    assert trainer.train().global_step == 1
    return list(trainer.train_dataset), tokeniser


@pytest.mark.parametrize("chat", [False, True], ids=["text", "chat"])
def test_trl_tunes_on_sft_with_the_loss_on_labels_only(
    chat: bool, labelled: Result, hf_form: Path, tmp_path: Path
) -> None:
    path = written(labelled, tmp_path, "sft", chat=chat)
    found, tokeniser = trained("SFT", path, hf_form, tmp_path)
    wanted = rows_of(path)
    assert len(found) == len(wanted) == 16
    end = "" if chat else tokeniser.eos_token
    for row, own in zip(found, wanted, strict=True):
        prompt, answer = own["prompt"], own["completion"]
        if chat:
            prompt, answer = joined(prompt), joined(answer)
        assert (
            tokeniser.decode(row["input_ids"]) == f"{tokeniser.bos_token}{prompt}{answer}{end}"
        )
        learned = tokeniser.decode([k for k in row["labels"] if k != -100])
        assert learned == answer + end
        assert answer.strip() in LABELS


def test_trl_tunes_on_chat(labelled: Result, hf_form: Path, tmp_path: Path) -> None:
    path = written(labelled, tmp_path, "chat")
    found, tokeniser = trained("SFT", path, hf_form, tmp_path)
    assert [tokeniser.decode(row["input_ids"]) for row in found] == [
        tokeniser.bos_token + joined(row["messages"]) for row in rows_of(path)
    ]


@pytest.mark.parametrize("chat", [False, True], ids=["text", "chat"])
def test_trl_optimises_preferences_of_dpo(
    chat: bool, labelled: Result, hf_form: Path, tmp_path: Path
) -> None:
    path = written(labelled, tmp_path, "dpo", chat=chat)
    found, tokeniser = trained("DPO", path, hf_form, tmp_path)
    end = "" if chat else tokeniser.eos_token
    for row, own in zip(found, rows_of(path), strict=True):
        told = {k: joined(v) if chat else v for k, v in own.items()}
        assert tokeniser.decode(row["prompt_ids"]) == tokeniser.bos_token + told["prompt"]
        assert tokeniser.decode(row["chosen_ids"]) == told["chosen"] + end
        assert tokeniser.decode(row["rejected_ids"]) == told["rejected"] + end
        assert {told["chosen"].strip(), told["rejected"].strip()} == LABELS


# OpenAI


def test_openai_s_own_types_accept_every_message_of_chat(
    labelled: Result, tmp_path: Path
) -> None:
    pytest.importorskip("openai", reason="needs the extra hosted")
    from openai.types.chat import ChatCompletionMessageParam
    from pydantic import TypeAdapter

    messages = TypeAdapter(list[ChatCompletionMessageParam])
    rows = rows_of(written(labelled, tmp_path, "chat"))
    assert len(rows) == 16
    for row in rows:
        assert list(row) == ["messages"]
        read = messages.validate_python(row["messages"], strict=True)
        assert [message["role"] for message in read] == ["system", "user", "assistant"]


# Axolotl


def read_by_axolotl(form: str, path: Path, hf_form: Path, folder: Path) -> list[Any]:
    python = Path(__file__).parents[1] / ".venv-axolotl" / "bin" / "python"
    if not python.exists() or subprocess.run([python, "-c", FINDS], check=False).returncode:
        pytest.skip(f"needs axolotl in an environment of its own, {python} (make unit)")
    done = subprocess.run(
        [python, "-W", "ignore", READER, hf_form, form, path],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return rows


def test_axolotl_reads_sft_with_the_loss_on_labels_only(
    labelled: Result, hf_form: Path, tmp_path: Path
) -> None:
    path = written(labelled, tmp_path, "sft")
    assert read_by_axolotl("sft", path, hf_form, tmp_path) == [
        [f"<s>{row['prompt']}{row['completion']}</s>", f"{row['completion']}</s>"]
        for row in rows_of(path)
    ]


def test_axolotl_reads_chat_with_the_loss_on_labels_only(
    labelled: Result, hf_form: Path, tmp_path: Path
) -> None:
    path = written(labelled, tmp_path, "chat")
    assert read_by_axolotl("chat", path, hf_form, tmp_path) == [
        ["<s>" + joined(row["messages"]), row["messages"][-1]["content"]]
        for row in rows_of(path)
    ]


def test_axolotl_reads_dpo(labelled: Result, hf_form: Path, tmp_path: Path) -> None:
    path = written(labelled, tmp_path, "dpo")
    assert read_by_axolotl("dpo", path, hf_form, tmp_path) == rows_of(path)


def test_axolotl_reads_dpo_as_a_chat(labelled: Result, hf_form: Path, tmp_path: Path) -> None:
    path = written(labelled, tmp_path, "dpo", chat=True)
    assert read_by_axolotl("dpo-chat", path, hf_form, tmp_path) == [
        {
            "prompt": "<s>" + joined(row["prompt"]),
            "chosen": joined(row["chosen"]),
            "rejected": joined(row["rejected"]),
        }
        for row in rows_of(path)
    ]
