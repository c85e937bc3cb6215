"""Scoring speed against its peers, on one GGUF and one set of prompts, in one run.

    python benchmarks/scoring.py MODEL.gguf --data ../shared/data --task gsm8k --shots 16

Peers that forward every prompt whole are timed on `--sample` prompts and scaled by their
number; the table says so. Each is asked for the first label's log-probability after the
prompt. Two rows say what our tokens would take as one plain sequence with no output rows: in
fresh batches of 512, and where they stand, behind the demonstrations.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import llama_cpp
import numpy as np

from elicit.providers.base import ScoreRequest
from elicit.providers.llama_cpp import LlamaCppProvider, LlamaSettings
from elicit.providers.llama_cpp.batch import BatchToken
from elicit.providers.llama_cpp.model import LlamaModel
from elicit.task import Task

PORT = 8765
PROMPTS = {
    "gsm8k": (
        "gsm8k_verification.jsonl",
        ("question", "solution"),
        "Question: {{ question }}\nSolution: {{ solution }}\nIs the solution correct?",
    ),
    "truthfulqa": (
        "truthfulqa_train.jsonl",
        ("question", "choice"),
        "Question: {{ question }}\nClaim: {{ choice }}\nIs the claim true?",
    ),
}


@dataclass(frozen=True)
class Row:
    """One contender. Seconds and tokens are for all prompts, scaled where sampled."""

    name: str
    seconds: float
    forwarded_tokens: float
    sampled: int


def requests(data: Path, task: str, shots: int, items: int) -> list[ScoreRequest]:
    source, names, template = PROMPTS[task]
    path = data / source
    if not path.exists():
        sys.exit(f"error: {path}: not there; give the folder with --data")
    rows = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
    chosen = np.random.default_rng(0).permutation(len(rows))[: shots + items]
    fields = [{k: rows[i][k] for k in names} for i in chosen]
    rendered = Task(labels=[" no", " yes"], items=fields, template=template).render()
    shown = rendered.context(np.arange(shots), np.arange(shots) % 2)
    return [
        ScoreRequest((*shown, question), rendered.verbalizers)
        for question in rendered.questions[shots:]
    ]


def text(request: ScoreRequest) -> str:
    return "".join(segment.text for segment in request.prompt)


def ours(path: Path, asked: list[ScoreRequest]) -> Row:
    with closing(LlamaCppProvider(path)) as provider:
        start = time.perf_counter()
        units = list(provider.score(asked))
        seconds = time.perf_counter() - start
    return Row("elicit", seconds, sum(u.usage.forwarded_tokens for u in units), len(asked))


def sampled(name: str, asked: list[ScoreRequest], count: int, one: Callable[[str], int]) -> Row:
    """Time `one(prompt) -> tokens forwarded` on the first `count` prompts and scale."""
    chosen = asked[:count]
    start = time.perf_counter()
    tokens = sum(one(text(request)) for request in chosen)
    factor = len(asked) / len(chosen)
    return Row(name, (time.perf_counter() - start) * factor, tokens * factor, len(chosen))


def create_completion(path: Path, asked: list[ScoreRequest], count: int, context: int) -> Row:
    with closing(
        llama_cpp.Llama(str(path), n_ctx=context, logits_all=True, verbose=False, n_batch=512)
    ) as llm:

        def one(prompt: str) -> int:
            llm.reset()
            answer = llm.create_completion(prompt, max_tokens=1, logprobs=5, temperature=0)
            return int(answer["usage"]["prompt_tokens"])

        return sampled("create_completion(logprobs)", asked, count, one)


def one_by_one(path: Path, asked: list[ScoreRequest], count: int, context: int) -> Row:
    with closing(llama_cpp.Llama(str(path), n_ctx=context, verbose=False, n_batch=512)) as llm:

        def one(prompt: str) -> int:
            llm.reset()
            tokens = llm.tokenize(prompt.encode())
            llm.eval(tokens)
            return len(tokens)

        return sampled("each prompt decoded whole", asked, count, one)


def server(path: Path, asked: list[ScoreRequest], count: int, context: int, flash: bool) -> Row:
    """`python -m llama_cpp.server` with its prompt cache; the first prompt warms it."""
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(path)]
    command += ["--host", "127.0.0.1", "--port", str(PORT), "--n_ctx", str(context)]
    command += ["--logits_all", "true", "--n_batch", "512"]
    command += ["--flash_attn", str(flash).lower()]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait()

        def one(prompt: str) -> int:
            body = {"prompt": prompt, "max_tokens": 1, "logprobs": 5, "temperature": 0}
            answer = _post("/v1/completions", body)
            usage = answer["usage"]
            return int(usage["prompt_tokens"])

        one(text(asked[-1]))
        name = "llama_cpp.server, prompt kept" + (", flash attention" if flash else "")
        row = sampled(name, asked, count, one)
        # Its own count is of prompt tokens; how many it reused it does not say.
        return Row(row.name, row.seconds, float("nan"), row.sampled)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _post(route: str, body: dict[str, object]) -> dict[str, dict[str, int]]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{route}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=900) as response:
        found: dict[str, dict[str, int]] = json.load(response)
    return found


def _wait() -> None:
    for _ in range(240):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/v1/models", timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    sys.exit("error: llama_cpp.server did not start; pip install 'llama-cpp-python[server]'")


def flat(path: Path, start: int, end: int, batch: int = 512) -> float:
    """Tokens a second of one sequence, from a whole number of batches on to `end` or more.

    From 0 to 512 is what llama-bench calls pp512.
    """
    with closing(LlamaModel(path, LlamaSettings(branch_tokens=batch), None)) as model:
        places = range(0, end, batch)
        context = model.context()
        context.reserve(len(places) * batch)
        rng = np.random.default_rng(0)
        seconds = []
        # The last place four times over, so that a short stretch is not one measurement.
        for at in [*places, *[places[-1]] * 4]:
            context.keep_prefix(at)
            ids = rng.integers(0, model.n_vocab, batch).tolist()
            lot = [BatchToken(t, at + i, (0,), i == batch - 1) for i, t in enumerate(ids)]
            began = time.perf_counter()
            context.decode(lot)
            if at >= start:
                seconds.append(time.perf_counter() - began)
    # The first batch of all warms up.
    counted = seconds[1:]
    return batch * len(counted) / sum(counted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--task", choices=PROMPTS, default="gsm8k")
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--sample", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    asked = requests(a.data, a.task, a.shots, a.items)
    mine = ours(a.model, asked)
    with closing(LlamaCppProvider(a.model)) as provider:
        lengths = provider.count_tokens(asked) or []
    context = (max(lengths) // 512 + 2) * 512
    trunk = min(lengths) * a.shots // (a.shots + 1) // 512 * 512
    rate = flat(a.model, 0, 512)
    tokens = mine.forwarded_tokens
    rows = [mine, Row("our tokens, at the rate of 512 alone", tokens / rate, tokens, 0)]
    # Attention costs more the deeper a token stands, whoever decodes it.
    if trunk:
        seconds = trunk / flat(a.model, 0, trunk)
        seconds += (tokens - trunk) / flat(a.model, trunk, trunk + 512)
        rows.append(Row("our tokens, flat at their depth", seconds, tokens, 0))
    rows.append(one_by_one(a.model, asked, a.sample, context))
    rows += [server(a.model, asked, a.sample * 4, context, flash) for flash in (False, True)]
    rows.append(create_completion(a.model, asked, a.sample, context))
    if a.json:
        figures = {"flat_tokens_per_second": rate, "rows": [asdict(r) for r in rows]}
        print(json.dumps(figures))
        return
    print(f"{a.model.name}: {len(asked)} prompts of {int(np.mean(lengths)):,} tokens, ", end="")
    print(f"{os.cpu_count()} cores, flat rate {rate:.1f} tokens/s")
    print("| | seconds | forwarded tokens | against elicit | timed prompts |")
    print("| --- | --- | --- | --- | --- |")
    for row in rows:
        ratio = row.seconds / mine.seconds
        print(
            f"| {row.name} | {row.seconds:.1f} | {row.forwarded_tokens:,.0f} | {ratio:.2f} "
            f"| {row.sampled or ''} |"
        )


if __name__ == "__main__":
    main()
