"""Labels as a test of other models, run by the programs that the folders are for.

Inspect and lm-evaluation-harness need versions of their own of some packages, so they have an
environment of their own: the interpreter that `ELICIT_ECOSYSTEM_PYTHON` names, or
`.venv-ecosystem/bin/python` beside the tests' folder, which `make unit` makes. Where it is
missing, the tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elicit.cache.errors import InputError
from elicit.cli.tasks import embedded_tasks
from elicit.export_folder import FolderFormat, export_folder
from elicit.labelling import Result, label
from elicit.prompt import Template
from elicit.providers.base import ScoreRequest
from elicit.providers.registry import open_model
from elicit.task import Item, Task
from elicit.task_file import load_task

PYTHON = Path(
    os.environ.get("ELICIT_ECOSYSTEM_PYTHON")
    or Path(__file__).resolve().parent.parent / ".venv-ecosystem" / "bin" / "python"
)
FINDS = "import importlib.util as i, sys; sys.exit(i.find_spec(sys.argv[1]) is None)"
MOCKED = """
import json, sys
from inspect_ai import eval
from inspect_ai.model import ModelOutput, ModelUsage, get_model

said = json.loads(sys.argv[2])

def answer(messages, *_):
    output = ModelOutput.from_content("mockllm/model", said[messages[-1].text])
    output.usage = ModelUsage()  # else it counts by a tokeniser that it fetches
    return output

model = get_model("mockllm/model", custom_outputs=answer)
(log,) = eval(sys.argv[1], model=model, display="none", log_dir=sys.argv[3])
print(json.dumps({s.id: s.scores["elicited"].value for s in log.samples}))
"""


@pytest.fixture(scope="module")
def claims() -> Result:
    return labelled("claims")


def labelled(task: str) -> Result:
    pytest.importorskip("llama_cpp", reason="needs the extra local")
    chosen = load_task(embedded_tasks()[task], 40)
    return label(chosen, "tiny", seed=0, cache=False, name=f"{task}.1+a")


def exported(result: Result, form: FolderFormat, folder: Path, **options: Any) -> Path:
    """The folder, moved from where it was written."""
    written = folder / "written"
    export_folder(result.run, result.task, form, written, **options)
    return Path(shutil.move(written, folder / "moved"))


def run(package: str, folder: Path, *arguments: str | Path) -> str:
    """What a program prints that is run in the environment, in the folder."""
    if (
        not PYTHON.exists()
        or subprocess.run([PYTHON, "-c", FINDS, package], check=False).returncode
    ):
        pytest.skip(f"needs {package} in an environment of its own, {PYTHON} (make unit)")
    told = {
        "HF_DATASETS_CACHE": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1",
        "XDG_DATA_HOME": str(folder / "data"),
    }
    done = subprocess.run(
        [PYTHON, *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=folder,
        env={**os.environ, **told},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def rows_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "labels.jsonl").read_text("ascii").splitlines()
    return [json.loads(line) for line in lines]


# lm-evaluation-harness


def test_the_harness_counts_zero_shot_labels_by_the_same_probabilities(
    claims: Result, hf_form: Path, tmp_path: Path
) -> None:
    results = {"claims": claims, "diets": labelled("diets")}
    for name, result in results.items():
        export_folder(result.run, result.task, "lm-eval", tmp_path / "tasks" / name)
    out = tmp_path / "out"
    run(
        *("lm_eval", tmp_path, "-m", "lm_eval", "--include_path", tmp_path / "tasks"),
        *("--tasks", "elicit_claims_1_a,elicit_diets_1_a", "--model", "hf"),
        *("--model_args", f"pretrained={hf_form},dtype=float32", "--device", "cpu"),
        *("--output_path", out, "--log_samples"),
    )
    (figures,) = out.rglob("results_*.json")
    found = json.loads(figures.read_text("utf-8"))["results"]
    agreements = []
    for name, result in results.items():
        (samples,) = out.rglob(f"samples_elicit_{name}_*.jsonl")
        theirs: dict[str, list[float]] = {}
        for line in samples.read_text("utf-8").splitlines():
            row = json.loads(line)
            theirs[row["doc"]["id"]] = [float(answer[0]) for answer in row["filtered_resps"]]
        ours = zero_shot(result.task)
        ids = [item.id for item in result.task.items]
        assert np.array([theirs[i] for i in ids]) == pytest.approx(ours, abs=5e-3)
        agreements.append(float((ours.argmax(axis=1) == result.labels).mean()))
        assert found[f"elicit_{name}_1_a"]["acc,none"] == pytest.approx(agreements[-1])
    assert agreements[0] < 0.5 < agreements[1]


def zero_shot(task: Task) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(n_items, n_labels): log-probabilities of the verbalizers, not normalised."""
    rendered = task.render()
    requests = [ScoreRequest((q,), rendered.verbalizers) for q in rendered.questions]
    with closing(open_model("tiny")) as model:
        known = {i: s.log_probs for unit in model.score(requests) for i, s in unit.scores}
    return np.array([known[i] for i in range(len(requests))])


def test_the_harness_asks_whatever_the_data_holds_word_for_word(
    hf_form: Path, tmp_path: Path
) -> None:
    """Neither its templates nor YAML read a text of the data, the labels or the separator."""
    task = Task(
        labels=["{{ 1 }}", "yes"],
        items=[
            Item("i'\"", {"t": "{% raw %} {{ id }} # a\u2028b: \U0001f600"}),
            Item("j", {"t": "x"}),
        ],
        template=Template("{{ t }}:", (" {{ 1 }}", " no: [&*"), "\n---\n\U0001f600\x85\t"),
    )
    result = label(task, "tiny", seed=0, cache=False, name="odd")
    folder = exported(result, "lm-eval", tmp_path)
    run(
        *("lm_eval", tmp_path, "-m", "lm_eval", "--include_path", folder, "--num_fewshot", "1"),
        *("--tasks", "elicit_odd", "--model", "hf", "--model_args", f"pretrained={hf_form}"),
        *("--device", "cpu", "--output_path", tmp_path / "out", "--log_samples"),
    )
    (samples,) = (tmp_path / "out").rglob("samples_*.jsonl")
    read = [json.loads(line) for line in samples.read_text("utf-8").split("\n") if line]
    asked = {row["doc"]["id"]: row["arguments"] for row in read}
    rendered = task.render()
    for number, item in enumerate(task.items):
        other = 1 - number
        shown = rendered.shown[other][result.labels[other]][0].text
        for place, verbalizer in enumerate(rendered.verbalizers):
            arguments = asked[item.id][f"gen_args_{place}"]
            assert arguments["arg_0"] == shown + rendered.questions[number].text
            assert arguments["arg_1"] == verbalizer


# Inspect


def test_inspect_asks_a_model_and_weighs_its_answers(
    claims: Result, hf_form: Path, tmp_path: Path
) -> None:
    exported(claims, "inspect", tmp_path)
    run(
        *("inspect_ai", tmp_path, "-m", "inspect_ai", "eval", "moved/task.py"),
        *("--model", "hf/local", "-M", f"model_path={hf_form}", "-M", "device=cpu"),
        *("-M", "do_sample=False", "--max-tokens", "1", "--display", "none"),
        *("--log-format", "json", "--log-dir", tmp_path / "log"),
    )
    (path,) = (tmp_path / "log").glob("*.json")
    log = json.loads(path.read_text("utf-8"))
    assert log["status"] == "success"
    assert claims.log_probs is not None
    told = dict(zip((item.id for item in claims.task.items), claims.log_probs, strict=True))
    names = dict(zip(told, claims.labels.tolist(), strict=True))
    values = []
    for sample in log["samples"]:
        answer = sample["output"]["choices"][0]["message"]["content"].strip()
        place = claims.task.labels.index(answer)
        value = sample["scores"]["elicited"]["value"]
        assert value["agrees"] == (names[sample["id"]] == place)
        assert value["probability"] == pytest.approx(np.exp(told[sample["id"]][place]))
        values.append(value)
    assert len(values) == 40
    means = {s["name"]: s["metrics"]["mean"]["value"] for s in log["results"]["scores"]}
    for name, mean in means.items():
        assert mean == pytest.approx(np.mean([value[name] for value in values]))


def test_what_is_no_label_counts_as_no_agreement(claims: Result, tmp_path: Path) -> None:
    folder = exported(claims, "inspect", tmp_path)
    rows = rows_of(folder)
    answers = ["I can't tell.", "", f" {rows[2]['target']}\n", *[r["target"] for r in rows[3:]]]
    said = {row["input"][-1]["content"]: a for row, a in zip(rows, answers, strict=True)}
    arguments = ("moved/task.py", json.dumps(said), tmp_path / "log")
    printed = run("inspect_ai", tmp_path, "-c", MOCKED, *arguments)
    values = json.loads(printed.splitlines()[-1])
    found = [values[row["id"]] for row in rows]
    assert [value["agrees"] for value in found] == [0.0, 0.0, *[1.0] * 38]
    assert [value["probability"] for value in found[:2]] == [0.0, 0.0]
    for value, row in zip(found[2:], rows[2:], strict=True):
        given = row["metadata"]["probabilities"]
        assert value["probability"] == pytest.approx(given[row["target"]])


# What both hold


@pytest.mark.parametrize("form", ["inspect", "lm-eval"])
def test_items_that_are_less_certain_are_left_out(
    form: FolderFormat, claims: Result, tmp_path: Path
) -> None:
    bound = float(np.median(claims.log_odds))
    folder = exported(claims, form, tmp_path, min_log_odds=bound)
    kept = claims.log_odds >= bound
    assert 0 < kept.sum() < 40
    ids = [item.id for item, keep in zip(claims.task.items, kept, strict=True) if keep]
    assert [row["id"] for row in rows_of(folder)] == ids


@pytest.mark.parametrize("form", ["inspect", "lm-eval", "dataset"])
def test_a_folder_that_is_there_is_left_as_it_is(
    form: FolderFormat, claims: Result, tmp_path: Path
) -> None:
    for folder in (tmp_path / "there", tmp_path / "file" / "f"):
        (tmp_path / "there").mkdir(exist_ok=True)
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match=rf"{folder}: (is there already|can't be written)"):
            export_folder(claims.run, claims.task, form, folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "there"]
    assert not list((tmp_path / "there").iterdir())


@pytest.mark.parametrize("form", ["inspect", "lm-eval", "dataset"])
def test_a_folder_has_no_choice_of_prompts(
    form: FolderFormat, claims: Result, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"{form} has no choice of prompts.*leave --chat out"):
        export_folder(claims.run, claims.task, form, tmp_path / "x", chat=True)
