"""Training files: written as each provider reads them, and refused row by row where not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elicit.cache.errors import InputError
from elicit.finetune.examples import Example
from elicit.finetune.sft_file import RULES, FileRules, check_rows, write_examples
from elicit.providers.base import Segment

OPENAI, TOGETHER, FIREWORKS = (RULES[name] for name in ("openai", "together", "fireworks"))


def chats(count: int, question: str = "Is it?\u2028") -> list[Example]:
    prompt = (Segment.of("Say yes or no.", "system"), Segment.of(question, "user"))
    return [Example(f"item-{i}", prompt, "yes") for i in range(count)]


def texts(count: int) -> list[Example]:
    prompt = (Segment.of("Yes or no?\n"), Segment.of("Is it?"))
    return [Example(f"item-{i}", prompt, " yes") for i in range(count)]


def rows(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("name", RULES)
def test_a_chat_is_written_as_messages_that_end_with_the_label(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "f.jsonl"
    write_examples(path, chats(10), RULES[name])
    expected = [
        {"role": "system", "content": "Say yes or no."},
        {"role": "user", "content": "Is it?\u2028"},
        {"role": "assistant", "content": "yes"},
    ]
    assert rows(path) == [{"messages": expected}] * 10
    assert check_rows(path, RULES[name]) == 10
    assert len(path.read_text("ascii").splitlines()) == 10


def test_together_is_also_told_texts_that_the_label_continues(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    write_examples(path, texts(1), TOGETHER)
    assert rows(path) == [{"prompt": "Yes or no?\nIs it?", "completion": " yes"}]
    assert check_rows(path, TOGETHER) == 1


@pytest.mark.parametrize("rules", [OPENAI, FIREWORKS], ids=lambda rules: rules.provider)
def test_models_that_only_chat_are_told_no_plain_text(rules: FileRules, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'item-0 is plain text.*Task.render\("block"\)'):
        write_examples(tmp_path / "f", texts(10), rules)
    assert list(tmp_path.iterdir()) == []


def test_equal_examples_give_equal_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_examples(tmp_path / name, chats(12), OPENAI)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_answer_inside_a_prompt_is_not_trained_on(tmp_path: Path) -> None:
    shown = (
        Segment.of("Is it?", "user"),
        Segment.of("yes", "assistant"),
        Segment.of("And this?", "user"),
    )
    with pytest.raises(InputError, match=r"example x .*answer in its prompt"):
        write_examples(tmp_path / "f", [Example("x", shown, "no")], OPENAI)


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (Example("x", (Segment.of("\ud800", "user"),), "no"), "half a UTF-16 pair"),
        (Example("x", (Segment.of("Is it?", "user"),), " "), "the answer is blank"),
    ],
)
def test_what_no_provider_reads_is_refused_when_written(
    example: Example, words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"example x.*{words}"):
        write_examples(tmp_path / "f", [example], OPENAI)


@given(st.lists(st.text(min_size=1).filter(lambda t: t.strip() != ""), min_size=3, max_size=9))
def test_whatever_is_written_passes_the_check_and_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory, questions: Sequence[str]
) -> None:
    path = tmp_path_factory.mktemp("files") / "f.jsonl"
    examples = [
        Example(str(i), (Segment.of(q, "user"),), "no") for i, q in enumerate(questions)
    ]
    write_examples(path, examples, FIREWORKS)
    assert check_rows(path, FIREWORKS) == len(questions)
    said = [
        json.loads(line)["messages"][0]["content"] for line in path.read_bytes().splitlines()
    ]
    assert said == list(questions)


def message(role: str, content: object = "x") -> dict[str, object]:
    return {"role": role, "content": content}


TURN = [message("user"), message("assistant")]
GOOD = json.dumps({"messages": TURN})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "line 2 is blank"),
        ("{", "line 2 is no JSON in UTF-8"),
        ("[1]", "line 2 is no JSON object"),
        ('{"text": "x"}', "line 2 has 'text'; it needs 'messages', or 'prompt'"),
        ('{"messages": [], "text": "x"}', "line 2 has 'messages', 'text'"),
        ('{"messages": []}', "'messages' is no list of messages"),
        (json.dumps({"messages": [{"role": "user"}]}), "line 2, message 1 must have 'role'"),
        (json.dumps({"messages": [message("tool")]}), "message 1: role 'tool'; there are"),
        (json.dumps({"messages": [message("user", " ")]}), "'content' is no text, or blank"),
        (json.dumps({"messages": [message("user", ["x"])]}), "'content' is no text"),
        (json.dumps({"messages": TURN[:1]}), "the roles are user; first may be"),
        (json.dumps({"messages": TURN[::-1]}), "the roles are assistant, user"),
        (json.dumps({"messages": [message("system")]}), "the roles are system"),
        (json.dumps({"messages": [*TURN, message("system")]}), "assistant, system"),
        ('{"prompt": "x", "completion": ""}', "line 2: 'completion' is no text, or blank"),
        (
            '{"prompt": "x", "completion": "y"}',
            "line 2 is of 'prompt' and 'completion', line 1",
        ),
    ],
)
def test_a_row_that_would_be_refused_is_named_by_its_line(
    line: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text(f"{GOOD}\n{line}\n{GOOD}\n", encoding="utf-8")
    with pytest.raises(InputError, match=words) as refused:
        check_rows(path, TOGETHER)
    assert str(path) in str(refused.value)


def test_a_row_in_a_form_that_the_provider_lacks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    write_examples(path, texts(10), TOGETHER)
    with pytest.raises(InputError, match="line 1: openai takes rows of 'messages'"):
        check_rows(path, OPENAI)


@pytest.mark.parametrize(("rules", "fewest"), [(OPENAI, 10), (TOGETHER, 1), (FIREWORKS, 3)])
def test_a_file_with_too_few_examples_is_refused(
    rules: FileRules, fewest: int, tmp_path: Path
) -> None:
    path = tmp_path / "f.jsonl"
    write_examples(path, chats(fewest), rules)
    assert check_rows(path, rules) == fewest
    write_examples(path, chats(fewest - 1), rules)
    with pytest.raises(
        InputError, match=f"has {fewest - 1} examples.* takes {fewest} at least"
    ):
        check_rows(path, rules)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    with path.open("wb") as file:
        file.truncate(FIREWORKS.most_bytes + 1)
    with pytest.raises(InputError, match="has 150,000,001 bytes; fireworks takes at most"):
        check_rows(path, FIREWORKS)


def test_a_file_that_is_not_there_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read: No such file"):
        check_rows(tmp_path / "none", OPENAI)
