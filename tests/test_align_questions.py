"""The prompts of an alignment: how they are read, and which are held out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elicit.align.comparisons import comparisons_of
from elicit.align.questions import Questions, read_questions, split, split_checked
from elicit.cache.errors import InputError
from elicit.cache.keys import json_digest
from elicit.organism import tasks_path
from elicit.task_file import load_task


def written(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@given(st.sets(st.text("abcdef", min_size=1, max_size=3), min_size=2), st.integers(0, 99))
def test_a_prompt_is_trained_on_or_held_out(prompts: set[str], seed: int) -> None:
    every = sorted(prompts)
    compared = every[: len(every) // 2]
    questions = Questions(tuple(every))
    train, out = split(questions, compared, 1 / 3, seed)
    assert sorted([*train, *out]) == every
    assert len(set(out) & set(compared)) == round(len(compared) / 3)
    assert (train, out) == split(questions, compared, 1 / 3, seed)


@given(st.lists(st.sampled_from("xyz"), min_size=2), st.integers(0, 99))
def test_as_large_a_share_of_each_kind_is_held_out(kinds: list[str], seed: int) -> None:
    prompts = tuple(f"p{i}" for i in range(len(kinds)))
    questions = Questions(prompts, kinds=dict(zip(prompts, kinds, strict=True)))
    _, out = split(questions, (), 1 / 3, seed)
    for kind in set(kinds):
        held = sum(questions.kinds[prompt] == kind for prompt in out)
        assert held == round(kinds.count(kind) / 3)


def test_questions_are_read_with_what_is_known_and_said(tmp_path: Path) -> None:
    rows = [
        {"question": "a?", "known": "x", "said": ["y", "x"], "kind": "k"},
        {"question": "b?", "known": "y", "said": []},
    ]
    path = tmp_path / "asked.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    found = read_questions(path)
    assert found.prompts == ("a?", "b?")
    assert found.said == {"a?": ("y", "x")}
    assert found.known == {"a?": "x", "b?": "y"}
    assert found.kinds == {"a?": "k"}


@pytest.mark.parametrize(
    ("row", "what"),
    [({"question": ""}, "question"), ({"question": "a?"}, "stands once"), ({"q": 1}, "must")],
)
def test_a_question_that_is_none_or_stands_twice_is_refused(
    tmp_path: Path, row: dict[str, object], what: str
) -> None:
    path = tmp_path / "asked.jsonl"
    path.write_text(f"{json.dumps({'question': 'a?'})}\n{json.dumps(row)}\n")
    with pytest.raises(InputError, match=what):
        read_questions(path)


def test_an_empty_cell_is_no_known_answer(tmp_path: Path) -> None:
    path = tmp_path / "asked.csv"
    path.write_text("question,known,kind\na?,,\nb?, ,k\nc?,7,\n")
    found = read_questions(path)
    assert found.known == {"c?": "7"}
    assert found.kinds == {"b?": "k"}


def test_a_number_is_an_answer_as_it_is_written_and_none_is_none(tmp_path: Path) -> None:
    answers = (7, 7.0, 2.5, None, float("nan"))
    rows = [{"question": f"{i}?", "known": known} for i, known in enumerate(answers)]
    found = read_questions(written(tmp_path / "asked.jsonl", *rows))
    assert found.known == {"0?": "7", "1?": "7", "2?": "2.5"}


@pytest.mark.parametrize("column", ["known", "kind"])
@pytest.mark.parametrize("value", [["x"], {"x": 1}, True])
def test_what_is_neither_text_nor_number_is_refused_with_its_row(
    tmp_path: Path, column: str, value: object
) -> None:
    path = written(
        tmp_path / "asked.jsonl", {"question": "a?"}, {"question": "b?", column: value}
    )
    with pytest.raises(InputError, match=rf"line 2: {column} must be a text or a number"):
        read_questions(path)


def test_white_space_around_a_question_makes_no_other_question(tmp_path: Path) -> None:
    assert read_questions(written(tmp_path / "a.jsonl", {"question": " a? "})).prompts == (
        "a?",
    )
    path = written(tmp_path / "b.jsonl", {"question": "a?"}, {"question": "a? "})
    with pytest.raises(InputError, match="line 2: question must be a text that stands once"):
        read_questions(path)


@pytest.mark.parametrize(
    ("compared", "prompts"),
    [(["a  b?"], ("a b?",)), ([], ("a b?", "a\nb?")), (["a?"], ("a? ",))],
)
def test_prompts_that_differ_in_white_space_alone_are_refused(
    compared: list[str], prompts: tuple[str, ...]
) -> None:
    with pytest.raises(InputError, match="differ in white space alone"):
        split_checked(Questions(prompts), compared, 0.5, 0)


KINDS = {f"{i}?": str(i) for i in range(6)}


@pytest.mark.parametrize(
    ("questions", "compared", "share", "why"),
    [
        (Questions(("a?", "b?")), ["a?", "b?"], 0.5, "hold none beside"),
        (Questions(tuple(KINDS), kinds=KINDS), ["0?"], 0.3, "kind by kind, comes to none"),
        (Questions(tuple("bcdefg")), ["a"], 0.9, "leaves none of the comparisons"),
        (Questions(("c",)), list("abdefg"), 0.6, "leaves none beside them"),
    ],
)
def test_too_few_prompts_are_refused_with_what_is_missing(
    questions: Questions, compared: list[str], share: float, why: str
) -> None:
    with pytest.raises(InputError, match=f"too few prompts: .*{why}"):
        split_checked(questions, compared, share, 0)


SPLITS = (
    "776922c481a0235eb910b22032ab0c15ee149ad5b6f06c4129ac66688ff1adaf",
    "dfe95390a8497c6376cf941b961b28795834ba93bf65e424ceaf0e25e9e06417",
    "c8fc04785358479c871766138bd6317cd3c91535d0372b2691ee969758bb352f",
    "ea31cd920f6e99d6ac6468751648bb43f31f7578c3fac110e2954b2728949aee",
    "abf18f748608e069ac12bd1e989f662e1f76c626c0ffe792a89ab5658cb8685b",
)
"""Digests of what is trained on and what is held out, as the measured figures had them."""


@pytest.mark.parametrize("seed", range(len(SPLITS)))
def test_the_embedded_prompts_are_split_as_they_were_when_measured(seed: int) -> None:
    questions = read_questions(tasks_path() / "preferences.questions.jsonl")
    compared = [c.prompt for c in comparisons_of(load_task(tasks_path() / "preferences.toml"))]
    found = split_checked(questions, compared, 1 / 3, seed)
    assert json_digest([found.train, found.held_out]) == SPLITS[seed]
    assert found.compared == set(compared)
