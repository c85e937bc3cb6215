"""Local LoRA on an embedded task: does llama.cpp score as PEFT does, and what does it take?

    taskset -c 0,1 python benchmarks/finetune_local.py --json

Tunes on the true labels of the first items and asks the rest without demonstrations. Then
label log-probabilities of prompts with 0 to 64 demonstrations: by transformers and PEFT in
float32, against llama.cpp with the adapter and with the merged weights, as runs ask it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from transformers import AutoModelForCausalLM

from elicit.finetune.examples import Example, examples_of
from elicit.finetune.huggingface_form import huggingface_form
from elicit.finetune.label_tokens import label_tokens
from elicit.finetune.lora import Tuned, train
from elicit.finetune.lora_settings import LoraSettings
from elicit.finetune.merged import GGUF, merged
from elicit.finetune.parity import by_torch
from elicit.gold import load_gold
from elicit.organism import model_path, tasks_path
from elicit.prompt import RenderedTask
from elicit.providers.base import Prompt, ScoreRequest
from elicit.providers.llama_cpp import LlamaSettings
from elicit.providers.registry import open_model
from elicit.task_file import load_task

Floats = NDArray[np.float64]


def scored(model: str, prompts: Sequence[Prompt], labels: tuple[str, ...]) -> Floats:
    """Label log-probabilities, (n_prompts, n_labels), by llama.cpp with its defaults."""
    found = np.full((len(prompts), len(labels)), np.nan)
    with closing(open_model(model)) as provider:
        for unit in provider.score([ScoreRequest(prompt, labels) for prompt in prompts]):
            for index, scores in unit.scores:
                found[index] = scores.log_probs
    return found


def by_peft(
    form: Path, peft: Path, prompts: Sequence[Prompt], labels: tuple[str, ...]
) -> Floats:
    """The same by transformers and PEFT, float32, one prompt at a time."""
    model = AutoModelForCausalLM.from_pretrained(form, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, peft).get_base_model()
    asked = [Example("", prompt, label) for prompt in prompts for label in labels]
    rows = label_tokens(asked, model_path(), LlamaSettings())
    return by_torch(model, rows).reshape(len(prompts), len(labels))


def with_demonstrations(rendered: RenderedTask, n: int, seed: int) -> list[Prompt]:
    """Items with 0 to 64 others before them, their labels drawn."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        item, *shown = rng.permutation(len(rendered.questions))[: rng.integers(1, 66)].tolist()
        labels = rng.integers(0, len(rendered.labels), len(shown))
        context = rendered.context(np.array(shown, np.int64), labels)
        made.append((*context, rendered.questions[item]))
    return made


def gaps(of: Floats, other: Floats) -> dict[str, float]:
    """Differences of log-probabilities, nats."""
    each = np.abs(of - other)
    return {
        "n": each.size,
        "max": float(each.max()),
        "p99": float(np.quantile(each, 0.99)),
        "mean": float(each.mean()),
    }


def accuracy(
    tuned: Tuned, rendered: RenderedTask, gold: NDArray[np.int64], trained: int
) -> dict[str, float]:
    """Of items held out, asked without demonstrations, before and after."""
    prompts = [(*rendered.opening, question) for question in rendered.questions[trained:]]
    models = {"before": "tiny", "after": f"llama-cpp:{model_path()}+{tuned.adapter}"}
    right = {
        when: float(
            (scored(name, prompts, rendered.verbalizers).argmax(1) == gold[trained:]).mean()
        )
        for when, name in models.items()
    }
    return {"n": len(prompts), **right}


def measure(a: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything that is printed."""
    path = tasks_path() / f"{a.task}.toml"
    task = load_task(path)
    ids = [item.id for item in task.items]
    gold = load_gold(path, ids)
    if gold is None:
        raise SystemExit(f"error: {a.task} has no true labels")
    rendered = task.render("text")
    began = time.perf_counter()
    form = huggingface_form(model_path(), folder / "forms")
    made_form = time.perf_counter() - began
    shown = np.where(np.arange(len(ids)) < a.train, gold, -1)
    jobs, walls = [], []
    for repeat in range(a.repeats):
        began = time.perf_counter()
        settings = LoraSettings(seed=a.seed)
        examples = examples_of(rendered, ids, shown)
        jobs.append(train(examples, model_path(), form, folder / f"job{repeat}", settings))
        walls.append(time.perf_counter() - began)
    tuned = jobs[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    prompts = with_demonstrations(rendered, a.prompts, a.seed)
    labels = rendered.verbalizers
    peft = by_peft(form, tuned.adapter.parent / "peft", prompts, labels)
    whole = merged(tuned.adapter.parent, model_path(), form, folder / "merged")
    adapted = scored(f"llama-cpp:{model_path()}+{tuned.adapter}", prompts, labels)
    return {
        "task": a.task,
        "cores": len(os.sched_getaffinity(0)),
        "examples": tuned.took.examples,
        "steps": tuned.took.steps,
        "tokens": tuned.took.tokens,
        "seconds_training": [round(job.took.seconds, 2) for job in jobs],
        "seconds_with_loading": [round(wall, 2) for wall in walls],
        "seconds_hugging_face_form": round(made_form, 2),
        "peak_memory_mb": round(peak),
        "first_loss": tuned.took.losses[0],
        "last_loss": statistics.fmean(tuned.took.losses[-8:]),
        "held_out": accuracy(tuned, rendered, gold, a.train),
        "peft_against_adapter": gaps(peft, adapted),
        "peft_against_merged": gaps(peft, scored(f"llama-cpp:{whole / GGUF}", prompts, labels)),
        "same_bytes": len({job.adapter.read_bytes() for job in jobs}) == 1,
        "adapter_bytes": tuned.adapter.stat().st_size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--task", default="claims")
    parser.add_argument("--train", type=int, default=152, help="Items to tune on.")
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    # peft asks transformers for something by a name that will go.
    warnings.simplefilter("ignore", FutureWarning)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(arguments, Path(folder))
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        shown = value if not isinstance(value, float) else f"{value:.4f}"
        print(f"{name.replace('_', ' '):28} {shown}")


if __name__ == "__main__":
    main()
