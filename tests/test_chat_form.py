"""A chat model is asked for exactly the labels, by the same task as a model of plain text."""

from __future__ import annotations

import numpy as np
import pytest

from elicit.cli.tasks import embedded_tasks, open_task
from elicit.prompt import RenderedTask, TaskError, Template, Writing
from elicit.providers.base import ModelError, Prompt, Segment
from elicit.providers.chat import messages, plain_text
from elicit.task import Task

FORMS: list[Writing] = ["block", "turns"]


def prompt_of(rendered: RenderedTask, shown: int) -> Prompt:
    items = np.arange(shown)
    return (*rendered.context(items, items % 2), rendered.questions[shown])


@pytest.mark.parametrize("writing", FORMS)
@pytest.mark.parametrize("name", list(embedded_tasks()))
def test_every_task_has_a_chat_form_that_names_its_labels_and_no_other_answer(
    name: str, writing: Writing
) -> None:
    task = open_task(name)
    rendered = task.render(writing)
    first, *_, last = messages(prompt_of(rendered, 4))
    assert first.role == "system"
    assert first.text.startswith(task.instruction or "")
    assert first.text.endswith(":\n" + "\n".join(rendered.verbalizers))
    assert rendered.verbalizers == tuple(v.strip() for v in task.template.verbalizers)
    assert (last.role, last.own) == ("user", rendered.questions[4].text)


def test_a_block_is_one_message_written_as_the_plain_text_is() -> None:
    task = open_task("claims")
    chat = messages(prompt_of(task.render("block"), 4))
    assert [message.role for message in chat] == ["system", "user"]
    assert chat[-1].text == plain_text(prompt_of(task.render("text"), 4))
    assert chat[-1].shared.endswith("\n")


def test_turns_show_each_demonstration_as_a_question_and_its_answer() -> None:
    task = open_task("claims")
    chat = messages(prompt_of(task.render("turns"), 3))
    assert [message.role for message in chat] == ["system", *["user", "assistant"] * 3, "user"]
    assert [message.text for message in chat[2::2]] == ["False", "True", "False"]
    assert chat[-1].shared == ""


@pytest.mark.parametrize("writing", FORMS)
def test_without_demonstrations_only_the_instruction_is_shared(writing: Writing) -> None:
    chat = messages(prompt_of(open_task("claims").render(writing), 0))
    assert [message.role for message in chat] == ["system", "user"]
    assert chat[-1].shared == ""


def test_a_task_without_an_instruction_still_says_what_to_answer() -> None:
    task = Task(labels=["no", "yes"], items=[{"t": "one"}], template="{{ t }}? ")
    system, user = messages(prompt_of(task.render("block"), 0))
    assert "exactly one of these labels" in system.text
    assert user.text == "one?"


def test_labels_that_differ_in_spaces_only_are_refused_in_a_chat_and_fine_in_text() -> None:
    template = Template("{{ t }}:", ("yes", " yes"))
    task = Task(labels=["a", "b"], items=[{"t": "one"}], template=template)
    task.render("text")
    with pytest.raises(TaskError, match="differ in spaces only"):
        task.render("block")


def test_a_form_is_part_of_what_a_score_is_kept_under() -> None:
    text, block, turns = (
        [s.digest for s in prompt_of(open_task("claims").render(w), 1)]
        for w in ("text", *FORMS)
    )
    assert len({text[-1], block[-1]}) == 2
    assert block[-1] == turns[-1]
    assert len({tuple(text), tuple(block), tuple(turns)}) == 3


def test_a_prompt_in_the_wrong_form_is_refused() -> None:
    with pytest.raises(ModelError, match="plain text prompt"):
        messages((Segment.of("one"),))
    with pytest.raises(ModelError, match="chat prompt"):
        plain_text((Segment.of("one", "user"),))
