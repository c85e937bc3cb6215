"""Run real data end to end at its real prompt lengths: speed and memory as items grow.

    python benchmarks/real_input.py MODEL.gguf --data ../shared/data --task gsm8k

With a model of random weights the accuracy is chance; it is printed as measured.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import elicit
from elicit.evaluate import evaluate
from elicit.gold import load_gold
from elicit.run import Progress

TASKS = {
    "truthfulqa": (
        "truthfulqa_train.jsonl",
        'item = "Question: {{ question }}\\nClaim: {{ choice }}\\nI think this claim is "',
        'kind = "at_most_one"\nlabel = "True"\nby = "id"',
    ),
    "gsm8k": (
        "gsm8k_verification.jsonl",
        (
            'item = "Question: {{ question }}\\nSolution: {{ solution }}\\n'
            'I think this solution is "'
        ),
        'kind = "same_answer"\nlabel = "True"\nby = "question"\nanswer = "answer"',
    ),
}


def task_file(folder: Path, data: Path, name: str) -> Path:
    source, item, constraint = TASKS[name]
    path = (data / source).resolve()
    if not path.exists():
        sys.exit(f"error: {path}: not there; give the folder with --data")
    file = folder / f"{name}.toml"
    file.write_text(
        f'labels = ["False", "True"]\n[data]\npath = "{path}"\nid = "id"\ngroup = "group"\n'
        f'gold = "label"\n[prompt]\n{item}\n[[constraint]]\n{constraint}\n'
    )
    return file


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--task", choices=TASKS, default="truthfulqa")
    parser.add_argument("--items", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--demonstrations", default="16")
    a = parser.parse_args()
    memory: list[float] = []

    def note(event: Progress) -> None:
        memory.append(peak_mib())
        print(
            f"iteration {event.state.iteration}: {event.usage.forwarded_tokens:,} tokens, "
            f"peak {memory[-1]:,.0f} MiB",
            file=sys.stderr,
        )

    with tempfile.TemporaryDirectory() as folder:
        file = task_file(Path(folder), a.data, a.task)
        task = elicit.load_task(file, limit=a.items)
        start = time.perf_counter()
        result = elicit.label(
            task,
            f"llama-cpp:{a.model}",
            cache=Path(folder) / "scores.db",
            method="icm",
            iterations=a.iterations,
            demonstrations=a.demonstrations,
            on_progress=note,
        )
        seconds = time.perf_counter() - start
        gold = load_gold(file, [item.id for item in task.items])
    if gold is None:
        raise AssertionError("the task names a gold column")
    found = evaluate(result.labels, result.log_odds, gold, [i.group for i in task.items])
    usage = result.usage
    print(
        json.dumps(
            {
                "task": a.task,
                "model": a.model.name,
                "items": a.items,
                "iterations": a.iterations,
                "demonstrations": a.demonstrations,
                "seconds": round(seconds, 1),
                "forwarded_tokens": usage.forwarded_tokens,
                "prompt_tokens": usage.prompt_tokens,
                "tokens_per_second": round(usage.forwarded_tokens / seconds, 1),
                "prompts": usage.requests,
                "mean_prompt_tokens": round(usage.prompt_tokens / usage.requests, 1),
                "peak_mib_after_first_iteration": round(memory[1]),
                "peak_mib_at_end": round(peak_mib()),
                "accuracy": found.accuracy.percent(),
                "inconsistency": result.outcome.best.inconsistency,
            }
        )
    )


if __name__ == "__main__":
    main()
