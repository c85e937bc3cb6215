"""A reward model and a policy of the embedded model: they learn, and end the same whenever
their process ended."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs the extra local")
pytest.importorskip("trl", reason="needs the extra align")

from align_process import SETTINGS, aligned, base, questions, result, task

from elicit.align.align_settings import RewardSettings, Wording
from elicit.align.comparisons import ELICITED, Preference, preferences_of
from elicit.align.head_to_head import right_share
from elicit.align.loading import causal_model, tokeniser, training
from elicit.align.pipeline import Alignment, answers_of
from elicit.align.policy import ADAPTER, PEFT, SAMPLES
from elicit.align.report import report
from elicit.align.reward import reward_model, train_reward
from elicit.align.sampling import sample_answers
from elicit.align.stages import StageEvent, read_written
from elicit.cache.errors import InputError
from elicit.finetune.label_tokens import LabelTokens
from elicit.finetune.parity import by_llama_cpp
from elicit.gold import load_gold, load_human
from elicit.organism import tasks_path
from elicit.scorer import IntArray

# What torch, peft and trl say of one another's names is not of these tests.
pytestmark = pytest.mark.filterwarnings("ignore")
FOLDER = Path(__file__).parent


def unheard(_told: str) -> None:
    """Whoever does not watch."""


class Ended(BaseException):
    """Stands for a process that is gone: nothing catches it."""


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("align")


@pytest.fixture(scope="module")
def done(place: Path) -> Alignment:
    return aligned(place / "whole")


def outside(kind: Callable[..., IntArray | None]) -> IntArray:
    loaded = task()
    labels = kind(tasks_path() / "preferences.toml", [item.id for item in loaded.items])
    assert labels is not None
    return labels


def test_a_reward_model_learns_what_is_preferred_on_facts_it_was_not_shown(
    place: Path, tmp_path: Path
) -> None:
    model, wording = base(place / "forms"), Wording()
    every = preferences_of(task(), outside(load_gold))
    shown, others = every[:72], every[72:]
    settings = RewardSettings(epochs=6)
    made = [
        train_reward(shown, model.form, tmp_path / name, wording, settings, 0, 1, unheard)
        for name in ("one", "other")
    ]
    assert made[0] == made[1]
    with reward_model(model.form, tmp_path / "one", wording, 1) as opened:
        share = right_share(others, opened.rewards)
        alone = opened.rewards([others[0].prompt], [others[0].preferred])
        together = opened.rewards([p.prompt for p in others], [p.preferred for p in others])
    assert share.value > 0.8
    assert alone[0] == pytest.approx(together[0], abs=1e-4)


def test_a_reward_model_of_nothing_is_refused(place: Path, tmp_path: Path) -> None:
    none: tuple[Preference, ...] = ()
    form = base(place / "forms").form
    with pytest.raises(InputError, match="nothing to learn from"):
        train_reward(none, form, tmp_path, Wording(), RewardSettings(), 0, 1, unheard)


def test_a_stop_of_many_tokens_is_refused(place: Path) -> None:
    with pytest.raises(InputError, match=r"wording\.stop"):
        tokeniser(base(place / "forms").form, " end of answer")


def test_training_leaves_random_numbers_and_threads_as_they_were() -> None:
    import torch

    before = random.getstate(), torch.get_num_threads(), torch.get_rng_state()
    with training((1, 2), 1) as seed:
        first = torch.rand(2).tolist()
        random.random()
    with training((1, 2), 1) as again:
        assert (torch.rand(2).tolist(), again) == (first, seed)
    assert random.getstate() == before[0]
    assert torch.get_num_threads() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_every_answer_of_a_step_is_kept_with_its_reward(done: Alignment) -> None:
    policy = done.by[ELICITED].policy
    rows = read_written(policy.folder / SAMPLES)
    s = SETTINGS.policy
    assert [row["step"] for row in rows] == [
        step for step in range(1, s.steps + 1) for _ in range(s.batch_size)
    ]
    assert {row["prompt"] for row in rows} <= set(done.train)
    groups = [rows[i : i + s.group] for i in range(0, len(rows), s.group)]
    assert all(len({row["prompt"] for row in group}) == 1 for group in groups)
    assert policy.figures["steps"] == s.steps


def test_nothing_is_trained_on_held_out_prompts(done: Alignment) -> None:
    trained = {p.prompt for p in done.by[ELICITED].preferences} | set(done.train)
    sampled, likeliest = answers_of(done.by[ELICITED].answers)
    assert set(sampled) == set(likeliest) == set(done.held_out)
    assert not trained & set(done.held_out)


def test_llama_cpp_reads_a_policy_as_it_was_trained(done: Alignment) -> None:
    import torch

    policy = done.by[ELICITED].policy.folder
    with training((0,), 1):
        words = tokeniser(done.start.form, "\n")
        model = causal_model(done.start.form, policy / PEFT)
        rows = [
            LabelTokens(tuple(words(f"{prompt} plums\n")["input_ids"]), 2)
            for prompt in done.held_out[:12]
        ]
        theirs = []
        with torch.inference_mode():
            for row in rows:
                logits = model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
                theirs.append(sum(logits[at - 1, row.ids[at]].item() for at in range(-2, 0)))
    ours = by_llama_cpp(done.start.gguf, policy / ADAPTER, rows)
    assert np.abs(ours - np.array(theirs)).max() < 0.02


def test_answers_are_the_same_when_they_are_drawn_again(done: Alignment) -> None:
    def drawn(seed: int) -> list[list[str]]:
        given = sample_answers(
            done.start.form,
            None,
            done.held_out[:6],
            3,
            SETTINGS.wording,
            longest=3,
            temperature=1.0,
            seed=(seed,),
            threads=1,
        )
        return [[answer.text for answer in some] for some in given]

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def test_supervisors_differ_in_the_first_labels_alone(place: Path, done: Alignment) -> None:
    loaded = task()
    labels = {"same": done.elicited, "human": outside(load_human)}
    found = aligned(place / "whole", labels)
    own, same = result(done), result(found)
    for key, content in own.items():
        assert same[key] == content
        assert same[key.replace(ELICITED, "same")] == content
    gold = outside(load_gold)
    known = questions(loaded).known
    told = report(found, loaded, SETTINGS, labels, gold, known)
    elicited, human = (told.by[name].labels for name in (ELICITED, "human"))
    assert elicited is not None
    assert human is not None
    assert elicited.value > human.value
    match = told.matches[f"{ELICITED} against same"]["known"]
    assert (match.ties, match.win_rate.value) == (1, 0.5)
    assert len(told.by["human"].curve) == SETTINGS.policy.steps
    assert json.dumps(told.as_dict())
    assert told.known == told.held_out == len(found.held_out)
    # A right answer is read as it was written, however the known one is spelt.
    other = report(
        found, loaded, SETTINGS, labels, gold, {p: k.upper() for p, k in known.items()}
    )
    assert other.by["human"].reward_on_answers == told.by["human"].reward_on_answers
    some = {prompt: known[prompt] for prompt in found.held_out[:5]}
    fewer = report(found, loaded, SETTINGS, labels, gold, some)
    assert fewer.known == 5
    assert fewer.start.right is not None
    assert fewer.start.right.groups == 5
    assert fewer.by["human"].policy.own_reward == told.by["human"].policy.own_reward


def test_what_is_known_changes_nothing_that_is_trained(place: Path, done: Alignment) -> None:
    found = aligned(place / "whole", known=False)
    assert result(found) == result(done)
    told = report(found, task(), SETTINGS, {})
    assert told.start.right is None
    assert told.by[ELICITED].reward is None
    assert told.matches[f"{ELICITED} against start"] == {}


ENDS = ("start: step 1", "reward-elicited: step 2", "policy-elicited: step 3", "is done")


def test_wherever_it_ends_it_goes_on_to_the_same(place: Path, done: Alignment) -> None:
    for end in ENDS:
        ending: list[str] = [end]

        def cut(event: StageEvent, ending: list[str] = ending) -> None:
            if ending and f"{event.stage}: {event.message}".find(ending[0]) >= 0:
                ending.clear()
                raise Ended

        with pytest.raises(Ended):
            aligned(place / "cut", on_event=cut)
    assert result(aligned(place / "cut")) == result(done)


def test_a_process_that_is_killed_is_gone_on_from_to_the_same(
    place: Path, done: Alignment
) -> None:
    command = [sys.executable, str(FOLDER / "align_process.py"), str(place / "killed")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("policy-elicited: step 5"):
                os.kill(process.pid, signal.SIGKILL)
                break
        assert process.wait(30) == -signal.SIGKILL
    events: list[StageEvent] = []
    found = aligned(place / "killed", on_event=events.append)
    assert result(found) == result(done)
    begun = {event.stage for event in events if event.message == "begins"}
    assert begun == {"policy-elicited", "answers-elicited"}
    steps = [e.message for e in events if e.stage == "policy-elicited"]
    assert not any(message.startswith("step 1 ") for message in steps)
