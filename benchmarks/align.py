"""An alignment of the embedded model by its own labels, beside noisy human and golden ones.

    taskset -c 1 python benchmarks/align.py run --work FOLDER --results align.jsonl --seeds 0:5
    python benchmarks/align.py show --results align.jsonl [--json] [--plots docs]

With `--second annotators` (and another file of results) the annotators of the human and of the
golden arm label the comparisons of the starting policy's answers as well; by default each arm's
first reward model does. The search's always does.

`run` writes each seed as it is known, and leaves out those that are in the file. The stages
are kept in FOLDER, so a run that was stopped goes on within a seed. A seed decides which
prompts are held out, the search, and every draw of training and sampling; supervisors differ
in labels alone. Seconds are of one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from elicit.align.align_settings import AlignSettings, PolicySettings
from elicit.align.comparisons import ELICITED, GOLDEN, HUMAN, Preference
from elicit.align.head_to_head import same
from elicit.align.pipeline import Alignment, align, answers_of
from elicit.align.plot import draw_curves
from elicit.align.questions import Questions, read_questions
from elicit.align.report import START, report
from elicit.align.stages import StageEvent, read_written
from elicit.align.start import Model
from elicit.align.work import PREFERENCES
from elicit.evaluate import over_seeds
from elicit.finetune.huggingface_form import huggingface_form
from elicit.gold import load_gold, load_human
from elicit.organism import model_path, tasks_path
from elicit.organism.annotators import people, who_knows
from elicit.organism.embedded_tasks import QUESTIONS
from elicit.organism.world import FAMILIES
from elicit.task_file import load_task

SUPERVISORS = (ELICITED, HUMAN, GOLDEN)
REWARD, ANNOTATORS = "reward", "annotators"
"""Who labels the second comparisons of the human and of the golden arm."""
CURVES = {REWARD: "alignment-curves.svg", ANNOTATORS: "alignment-curves-annotators.svg"}
Found = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mean:
    """Of some seeds, with a 95 % interval."""

    value: float
    low: float
    high: float
    seeds: int


def measured(work: Path, seed: int, steps: int, second: str) -> Found:
    """One seed: the report as JSON has it, what it took, and accuracy a family."""
    path = tasks_path() / "preferences.toml"
    task = load_task(path)
    ids = [item.id for item in task.items]
    gold, human = load_gold(path, ids), load_human(path, ids)
    if gold is None or human is None:
        raise SystemExit("the task has no gold or human labels")
    questions = read_questions(tasks_path() / QUESTIONS)
    base = Model(model_path(), huggingface_form(model_path(), work / "forms"))
    settings = AlignSettings(seed=seed, policy=PolicySettings(steps=steps))
    took: dict[str, float] = {}

    def told(event: StageEvent) -> None:
        if event.record is not None:
            took[event.stage] = event.record.seconds
            print(f"seed {seed}: {event.stage}, {event.record.seconds:.1f} s", flush=True)

    others = {HUMAN: human, GOLDEN: gold}
    annotators = {
        HUMAN: people(questions.known, questions.kinds),
        GOLDEN: who_knows(questions.known),
    }
    folder = work / f"seed-{seed}"
    cache = folder / "scores.db"
    folder.mkdir(parents=True, exist_ok=True)
    done = align(
        folder,
        base,
        task,
        questions,
        others,
        settings,
        model="tiny",
        cache=cache,
        second=annotators if second == ANNOTATORS else None,
        on_event=told,
    )
    found = report(done, task, settings, others, gold, questions.known)
    prompts = {"held_out": len(done.held_out), "train": len(done.train)}
    return {
        "seed": seed,
        "second": second,
        "settings": settings.as_dict(),
        "prompts": prompts,
        "took": took,
        "second_labels": {name: second_labels(done, name, questions) for name in SUPERVISORS},
        "families": {name: families(done, name, questions.known) for name in SUPERVISORS},
        **asdict(found),
    }


def second_labels(done: Alignment, name: str, questions: Questions) -> Found:
    """How many of the second comparisons there are, and a supervisor labelled; of these how
    many have a right answer, and the share of them in which that is preferred."""
    stage = done.by[name].second
    right = []
    for row in read_written(stage.folder / PREFERENCES):
        found, known = Preference(**row), questions.known[row["prompt"]]
        preferred, rejected = same(known, found.preferred), same(known, found.rejected)
        if preferred != rejected:
            right.append(preferred)
    return {**stage.figures, "decidable": len(right), "right": float(np.mean(right))}


def families(done: Alignment, name: str, known: Mapping[str, str]) -> dict[str, float]:
    """The share of a policy's sampled answers that are right, a family."""
    right: dict[str, list[bool]] = {family: [] for family in FAMILIES}
    for prompt, answers in answers_of(done.by[name].answers)[0].items():
        family = prompt.removesuffix("?").split()[1]
        right[family] += [same(known[prompt], answer.text) for answer in answers]
    return {family: float(np.mean(found)) for family, found in right.items()}


def run(arguments: argparse.Namespace) -> None:
    """Measure the seeds that are not in the results."""
    first, last = (int(part) for part in arguments.seeds.split(":"))
    rows = rows_of(arguments.results)
    if rows and design_of(rows) != arguments.second:
        raise SystemExit(
            f"{arguments.results}: holds results of --second {design_of(rows)}; give another "
            f"file for those of --second {arguments.second}"
        )
    known = {row["seed"] for row in rows}
    for seed in range(first, last):
        if seed not in known:
            row = measured(arguments.work, seed, arguments.steps, arguments.second)
            with arguments.results.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(row)}\n")


def rows_of(path: Path) -> list[Found]:
    """What is in a file of results; none where it is not there."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def design_of(rows: list[Found]) -> str:
    """Who labelled the second comparisons, in all of these results.

    Raises:
        SystemExit: not the same in all.
    """
    # Results of before there was a choice do not say.
    found = {row.get("second", REWARD) for row in rows}
    if len(found) != 1:
        raise SystemExit(
            f"these results are of --second {' and '.join(sorted(found))}; they are not to be "
            "mixed: keep each in a file of its own"
        )
    return str(found.pop())


def summary(rows: list[Found]) -> dict[str, Mean]:
    """Means over seeds with their intervals, by what they are of."""

    def over(*path: str) -> Mean:
        return share([at(row, path) for row in rows])

    def amounts(*path: str) -> Mean:
        return amount([at(row, path) for row in rows])

    made = {f"{START}: answers right": over("start", "right", "value")}
    for name in SUPERVISORS:
        for what in ("labels", "first_reward", "reward", "reward_on_answers"):
            made[f"{name}: {what}, right"] = over("by", name, what, "value")
        for what in ("right", "right_likeliest"):
            made[f"{name}: answers, {what}"] = over("by", name, "policy", what, "value")
        for family in FAMILIES:
            made[f"{name}: answers, right, {family}"] = over("families", name, family)
        made[f"{name}: tokens"] = amounts("by", name, "policy", "habits", "tokens")
        for what in ("empty", "repeated", "commonest", "ended"):
            made[f"{name}: {what}"] = over("by", name, "policy", "habits", what)
        for what in ("start_reward", "own_reward"):
            made[f"{name}: {what}"] = amounts("by", name, "policy", what)
        if all("second_labels" in row for row in rows):
            made[f"{name}: second labels, right"] = over("second_labels", name, "right")
            for what in ("comparisons", "preferences", "decidable"):
                made[f"{name}: second labels, {what}"] = amounts("second_labels", name, what)
    own, human = (("by", name, "reward", "value") for name in (ELICITED, HUMAN))
    gaps = [at(row, own) - at(row, human) for row in rows]
    made["reward, right: elicited less human"] = amount(gaps)
    for pair, judges in rows[0]["matches"].items():
        for judge in judges:
            made[f"{pair}, by {judge}"] = over("matches", pair, judge, "win_rate", "value")
            made[f"{pair}, by {judge}: ties"] = over("matches", pair, judge, "ties")
    made["seconds"] = amount([sum(row["took"].values()) for row in rows])
    return made


def at(row: Found, path: Sequence[str]) -> float:
    """The number at a path of names."""
    found: Any = row
    for name in path:
        found = found[name]
    return float(found)


def share(values: Sequence[float]) -> Mean:
    """The mean of shares with its interval, which ends at 0 and 1; of one seed there is none
    (0 to 1)."""
    found = over_seeds(values)
    return Mean(found.value, found.low, found.high, found.n)


def amount(values: Sequence[float]) -> Mean:
    """The mean of rewards, seconds and the like, which are not within 0 and 1, with its 95 %
    t-interval; of one seed there is none (not a number)."""
    n, middle = len(values), float(np.mean(values))
    if n > 1 and len(set(values)) == 1:
        return Mean(middle, middle, middle, n)
    low, high = stats.t.interval(0.95, n - 1, middle, stats.sem(values) if n > 1 else np.nan)
    return Mean(middle, float(low), float(high), n)


def show(arguments: argparse.Namespace) -> None:
    """Print the summary; draw the curves, each step the mean over seeds."""
    rows = rows_of(arguments.results)
    if not rows:
        raise SystemExit(f"{arguments.results}: holds no results")
    design, found = design_of(rows), summary(rows)
    if arguments.json:
        print(json.dumps({name: asdict(value) for name, value in found.items()}, indent=1))
    else:
        print(f"| figure, {len(rows)} seeds, --second {design} | mean | 95 % interval |")
        print("| --- | --- | --- |")
        for name, value in found.items():
            print(f"| {name} | {value.value:.3f} | {value.low:.3f} to {value.high:.3f} |")
    if arguments.plots is not None:
        curves = {name: mean_curve(rows, name) for name in SUPERVISORS}
        print(draw_curves(curves, arguments.plots, CURVES[design]))


def mean_curve(rows: list[Found], name: str) -> list[dict[str, float]]:
    """The curve of a supervisor's policy, each step the mean over seeds."""
    curves = [row["by"][name]["curve"] for row in rows]
    return [
        {key: float(np.mean([point[key] for point in points])) for key in points[0]}
        for points in zip(*curves, strict=True)
    ]


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run")
    running.add_argument("--work", type=Path, required=True)
    running.add_argument("--seeds", default="0:5")
    running.add_argument("--steps", type=int, default=PolicySettings().steps)
    running.add_argument("--second", choices=(REWARD, ANNOTATORS), default=REWARD)
    running.set_defaults(do=run)
    showing = commands.add_parser("show")
    showing.add_argument("--json", action="store_true")
    showing.add_argument("--plots", type=Path)
    showing.set_defaults(do=show)
    for command in (running, showing):
        command.add_argument("--results", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.do(arguments)


if __name__ == "__main__":
    main()
