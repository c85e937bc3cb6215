"""A task file drafted from data: it loads, it says what it guessed, it never shows gold."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from elicit.data import Row
from elicit.drafting.draft import Draft, draft, reach
from elicit.drafting.rows import rows_for_draft
from elicit.drafting.toml_text import comment, toml_block, toml_text, toml_texts
from elicit.prompt import TaskError
from elicit.task import Task
from elicit.task_file import load_task, read_task_file
from elicit.task_notes import task_notes

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
Rows = Sequence[Mapping[str, object]]


def drafted(rows: Rows, **said: object) -> Draft:
    numbered = [Row(f"row {i}", row) for i, row in enumerate(rows, 1)]
    return draft(numbered, source="data.jsonl", name="data", **said)  # type: ignore[arg-type]  # each test says what it needs


def loaded(folder: Path, rows: Rows, **said: object) -> tuple[Draft, Task]:
    """A draft, and the task that comes of it."""
    made = drafted(rows, **said)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "data.jsonl").write_text(lines, "utf-8")
    (folder / "task.toml").write_text(made.text, "utf-8", newline="")
    return made, load_task(folder / "task.toml")


def plainly(made: Draft) -> str:
    """The draft's text with its comments on one line."""
    return " ".join(made.text.replace("\n# ", " ").split())


CLAIMS: Rows = [
    {
        "id": f"c{i}",
        "question": f"What is the colour of thing {i // 2}?",
        "claim": f"Thing {i // 2} is {'red' if i % 2 else 'blue'} all over.",
        "label": bool(i % 2),
        "stars": i % 5,
    }
    for i in range(20)
]


def versus(i: int) -> dict[str, object]:
    """Question i // 2, its two answers in one order, then in the other."""
    two = [f"yes, {i // 2} it is then", f"no, {i // 2} it is not"]
    one, other = two if i % 2 else two[::-1]
    question = f"Is it {i // 2}?"
    return {"id": str(i), "prompt": question, "answer_a": one, "answer_b": other}


PAIRS: Rows = [versus(i) for i in range(20)]


def test_a_draft_names_id_group_gold_and_texts(tmp_path: Path) -> None:
    made, task = loaded(tmp_path, CLAIMS)
    file = read_task_file(tmp_path / "task.toml")
    assert dict(file.data) == {
        "path": "data.jsonl",
        "id": "id",
        "group": "question",
        "gold": "label",
    }
    assert task.labels == ("False", "True")
    assert file.template.names == {"question", "claim"}
    assert task.render().questions[0].text == (
        "Question: What is the colour of thing 0?\nClaim: Thing 0 is blue all over.\n"
        "I think this claim is"
    )
    assert {f.what for f in made.findings} == {"labels", "id", "group", "gold", "text"}


def test_every_guess_is_told_in_the_file_with_what_to_change() -> None:
    made = drafted(CLAIMS)
    told = plainly(made)
    for finding in made.findings:
        assert " ".join(finding.said.split()) in told
        assert finding.mend in told


def test_labels_that_nothing_tells_are_true_and_false_with_a_comment() -> None:
    made = drafted([{"text": f"some words {i}"} for i in range(5)])
    assert tomllib.loads(made.text)["labels"] == ["False", "True"]
    assert "nothing in the data says what the labels are" in made.text


def of_values(name: str, values: Sequence[object], n_rows: int = 40) -> Rows:
    return [{"text": f"some words, {i}", name: values[i % len(values)]} for i in range(n_rows)]


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("is_spam", [0, 1], "`is_spam` has 2 values: --gold is_spam if it holds labels"),
        ("is_spam", ["0", "1"], "`is_spam` has 2 values: --gold is_spam"),
        ("emotion", ["joy", "anger"], "`emotion` has 2 values: --gold emotion"),
        ("checked by hand", ["True", "False"], "--gold 'checked by hand'"),
        ("checked", [True, False], "`checked` has 2 values"),
        ("response", ["yes", "no"], "`response` has 2 values"),
        ("human_verdict", ["good", "bad"], "`human_verdict` has 2 values"),
        ("label", [f"kind {i}" for i in range(30)], "`label` has 30 values"),
    ],
)
def test_a_column_of_few_values_is_told_as_one_that_might_hold_labels(
    name: str, values: Sequence[object], said: str
) -> None:
    made = drafted(of_values(name, values))
    assert said in plainly(made)
    assert made.guess.texts == ("text",)
    assert "nothing in the data says" not in plainly(made)


def test_what_is_told_of_a_column_that_might_hold_labels_works() -> None:
    rows = of_values("checked by hand", ["no", "yes"])
    made = drafted(rows, gold="checked by hand")
    assert made.guess.labels == ("no", "yes")


def test_only_columns_that_hold_no_other_values_than_the_labels_are_told() -> None:
    rows = [
        {"text": f"some words, {i}", "mood": "xy"[i % 2], "tone": "uvw"[i % 3]}
        for i in range(30)
    ]
    said = plainly(drafted(rows, labels=["x", "y"]))
    assert "--gold mood if" in said
    assert "--gold tone if" not in said


def test_many_columns_that_might_hold_labels_are_told_shortly() -> None:
    rows = [
        {"text": f"some words, {i}"} | {f"is_{c}": i % 2 for c in "cdefghk"} for i in range(30)
    ]
    assert "So may 2 more. No prompt shows them." in plainly(drafted(rows))


def test_one_of_many_values_is_not_told_as_labels() -> None:
    made = drafted(of_values("place", [f"town {i}" for i in range(21)], 60))
    assert "nothing in the data says what the labels are" in plainly(made)


def test_a_question_that_repeats_is_shown() -> None:
    rows = [{"question": f"Is it {i // 4}?", "answer": f"yes, {i} it is"} for i in range(40)]
    assert drafted(rows).guess.texts == ("question", "answer")


@pytest.mark.parametrize("name", ["label", "preferred", "sentiment", "Gold Label"])
@pytest.mark.parametrize("values", [["good", "bad"], ["good", "bad", "bad"], [1, 0]])
def test_a_name_like_labels_is_enough_in_few_rows(name: str, values: list[object]) -> None:
    rows = [{"text": f"words {i}", name: value} for i, value in enumerate(values)]
    made = drafted(rows)
    assert (made.guess.gold, made.guess.texts) == (name, ("text",))


@pytest.mark.parametrize("n_rows", [2, 3, 8, 40])
@pytest.mark.parametrize(
    "value", ["some longer text, number {}", "{}", "a {}", "one word more {}"]
)
def test_a_column_named_like_labels_is_never_shown(n_rows: int, value: str) -> None:
    rows = [{"a": f"x{i}", "label": value.format(i)} for i in range(n_rows)]
    assert drafted(rows).guess.texts == ("a",)


def test_a_table_of_labels_alone_has_no_text() -> None:
    with pytest.raises(TaskError, match=r"no text is left .* `label` might hold labels"):
        drafted([{"label": "good film"}, {"label": "bad one"}])


def test_two_columns_of_labels_are_no_pair_to_compare() -> None:
    rows = [
        {
            "text": f"some words, {i}",
            "label_1": "xy"[i % 2],
            "label_2": "yx"[i % 2],
            "rater_1": "xy"[i % 2],
            "rater_2": "yx"[i % 2],
        }
        for i in range(20)
    ]
    made = drafted(rows)
    assert (made.guess.pair, made.guess.texts) == (None, ("text",))


@pytest.mark.parametrize("name", ["The Claim", "the_claim", "a claim", "claim"])
def test_an_article_in_a_name_is_not_said_twice(name: str) -> None:
    prompt = tomllib.loads(drafted([{name: f"thing {i} is red"} for i in range(5)]).text)[
        "prompt"
    ]
    assert prompt["item"].endswith("I think this claim is")
    assert prompt["instruction"] == "Decide whether each claim is true."


def test_an_article_in_the_name_of_labels_is_not_said_twice() -> None:
    made = drafted(of_values("The Verdict", ["guilty", "free"]))
    prompt = tomllib.loads(made.text)["prompt"]
    assert prompt["instruction"] == "Decide the verdict of each item."


def test_truth_values_of_something_else_than_truth_are_asked_for_by_its_name() -> None:
    made = drafted(of_values("is_spam", [0, 1]), gold="is_spam")
    prompt = tomllib.loads(made.text)["prompt"]
    assert prompt["item"].endswith("\nIs spam:")
    assert prompt["instruction"] == "Say of each text: is spam, true or false."


def test_labels_are_the_values_of_the_gold_column() -> None:
    rows = [
        {"text": f"some words {i}", "sentiment": ["positive", "negative", "neutral"][i % 3]}
        for i in range(12)
    ]
    data = tomllib.loads(drafted(rows).text)
    assert data["labels"] == ["negative", "neutral", "positive"]
    assert data["data"]["gold"] == "sentiment"
    assert data["prompt"]["item"].endswith("\nSentiment:")


def test_labels_do_not_depend_on_which_row_comes_first() -> None:
    rows = [{"text": f"some words {i}", "class": "abc"[i % 3]} for i in range(12)]
    there, back = drafted(rows), drafted(rows[::-1])
    assert tomllib.loads(there.text)["labels"] == tomllib.loads(back.text)["labels"]


def test_a_template_that_is_given_is_used_as_it_is(tmp_path: Path) -> None:
    _, task = loaded(tmp_path, CLAIMS, item="{{ claim }} Is that so?", labels=["no", "yes"])
    assert task.labels == ("no", "yes")
    assert task.render().questions[0].text == "Thing 0 is blue all over. Is that so?"


def test_a_guessed_gold_column_that_the_template_asks_for_is_no_gold() -> None:
    data = tomllib.loads(drafted(CLAIMS, item="{{ label }}: {{ claim }}").text)
    assert "gold" not in data["data"]


def test_columns_that_may_tell_the_label_are_in_no_prompt() -> None:
    rows = [
        {
            "text": f"some words {i}",
            "label": "ab"[i % 2],
            "target": "xy"[i % 2],
            "rationale": f"this is so as {i} is {'odd' if i % 2 else 'even'}",
        }
        for i in range(12)
    ]
    made = drafted(rows)
    assert made.guess.texts == ("text",)
    assert "`target` looks like labels too" in plainly(made)


def test_labels_of_people_are_kept_apart_from_gold() -> None:
    rows = [{**row, "human": not row["label"]} for row in CLAIMS]
    assert tomllib.loads(drafted(rows).text)["data"]["human"] == "human"


def test_pairs_in_both_orders_are_bound_where_the_prompt_asks_which_is_better(
    tmp_path: Path,
) -> None:
    _, task = loaded(tmp_path, PAIRS)
    assert len(task.rules().pairs) == 10
    assert task.render().questions[0].text.endswith("Answer A is better than Answer B:")


def test_pairs_in_one_order_are_bound_by_nothing_and_the_file_says_why(tmp_path: Path) -> None:
    made, task = loaded(tmp_path, PAIRS[::2])
    assert not task.constraints
    assert "the other way round" in plainly(made)


def test_pairs_are_bound_by_nothing_where_other_labels_leave_their_meaning_open(
    tmp_path: Path,
) -> None:
    _, task = loaded(tmp_path, PAIRS, labels=["same", "different"])
    assert not task.constraints


def test_rows_swapped_under_another_text_are_no_partners(tmp_path: Path) -> None:
    def row(question: str, one: str, other: str) -> dict[str, object]:
        return {"prompt": question, "answer_a": one, "answer_b": other}

    rows = [
        row("Is it a?", "yes, it is", "no, not so"),
        row("Is it b?", "no, not so", "yes, it is"),
    ]
    assert not loaded(tmp_path, rows)[1].rules().pairs.size


def test_nothing_but_the_list_of_labels_follows_from_gold_values() -> None:
    flipped = [{**row, "label": not row["label"]} for row in CLAIMS]
    assert drafted(CLAIMS).text == drafted(flipped).text


def test_the_prompt_leaves_out_a_text_that_is_empty(tmp_path: Path) -> None:
    rows = [
        {"instruction": f"Do the thing {i}", "input": f"with this {i}" if i % 2 else ""}
        for i in range(6)
    ]
    first, second, *_ = loaded(tmp_path, rows)[1].render().questions
    assert "Input" not in first.text
    assert "Input: with this 1\n" in second.text


def test_numbers_as_labels_get_words_that_a_model_can_say() -> None:
    rows = [{"text": f"some words {i}", "label": i % 2} for i in range(8)]
    words = tomllib.loads(drafted(rows).text)["prompt"]["verbalizers"]
    assert words == {"0": " False", "1": " True"}


NAMES = st.one_of(
    st.sampled_from(
        ["id", "text", "label", "answer_a", "answer_b", "group", "human", "question"]
    ),
    st.text(min_size=1, max_size=12),
)
CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(allow_nan=False),
    st.sampled_from(["True", "False", "a", "", '"""', "\\", "{{ x }}", "{% if", "]]", "#\n"]),
    st.text(max_size=12),
    st.builds("some words, {}".format, st.integers()),
)


@given(st.data(), st.integers(2, 8))
def test_whatever_the_data_a_draft_loads_or_one_error_says_why(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, n_rows: int
) -> None:
    names = data.draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    rows = [{name: data.draw(CELLS) for name in names} for _ in range(n_rows)]
    try:
        made, task = loaded(tmp_path_factory.mktemp("draft"), rows)
    except TaskError as error:
        event("refused")
        refused = str(error)
    else:
        event("drafted")
        assert len(task.items) == n_rows
        assert made.guess.gold not in task.template.names
        assert made.guess.human not in task.template.names
        return
    assert "\n" not in refused


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_toml_gives_back_what_was_put_in(text: str) -> None:
    written = (
        f"a = {toml_text(text)}\n{comment(text)}\nb = {toml_block(text)}\n{comment(text)}\n"
    )
    assert tomllib.loads(written) == {"a": text, "b": text}


@given(st.lists(st.text(st.sampled_from('"\\\n\r\t\0\x7f #]é\u2028'))))
def test_toml_gives_back_what_is_hard_to_write(texts: list[str]) -> None:
    blocks = "".join(f"b{i} = {toml_block(text)}\n" for i, text in enumerate(texts))
    read = tomllib.loads(f"a = {toml_texts(texts)}\n{blocks}")
    assert read == {"a": texts} | {f"b{i}": text for i, text in enumerate(texts)}


def test_half_a_character_is_refused() -> None:
    with pytest.raises(TaskError, match="rename it in the data"):
        toml_text("a\ud800")


@pytest.mark.parametrize(
    "name", ["a b", "a-b", "a.b", "2x", "not", 'a"b', "a\\b", "{{", "None"]
)
def test_a_name_that_templates_do_not_reach_is_an_error_with_a_better_name(name: str) -> None:
    rows = [{name: f"some longer words {i}"} for i in range(4)]
    way = reach(name)
    if way is None:
        with pytest.raises(TaskError, match=r"can't name .* rename"):
            drafted(rows)
        return
    assert f"{{{{ {way} }}}}" in tomllib.loads(drafted(rows).text)["prompt"]["item"]


@pytest.mark.parametrize("name", ["été", "文", "class", "is", "x1", "_"])
def test_names_beyond_ascii_and_words_of_python_are_reached(name: str) -> None:
    assert reach(name) == name


def write(
    path: Path, rows: Sequence[Sequence[str]], encoding: str = "utf-8", mark: str = ","
) -> None:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=mark).writerows(rows)


TABLE = [["id", "text"], *([str(i), f"a café, number {i}"] for i in range(4))]


@pytest.mark.parametrize(
    ("rows", "encoding", "mark", "said"),
    [
        (TABLE, "utf-8", ";", r'separated by semicolons.*delimiter=";"'),
        (TABLE, "utf-8", "\t", r'separated by tabs.*delimiter="\\t"'),
        (TABLE, "cp1252", ",", "iconv -f WINDOWS-1252"),
        (TABLE, "utf-16", ",", "iconv -f UTF-16"),
        ([], "utf-8", ",", "is empty"),
        (TABLE[:1], "utf-8", ",", "has no rows"),
        (TABLE[:2], "utf-8", ",", "has one row"),
        (TABLE[1:], "utf-8", ",", "looks like data"),
        ([["", "text"], *TABLE[1:]], "utf-8", ",", "no name.*index=False"),
    ],
    ids=[
        "semicolons",
        "tabs",
        "windows",
        "utf-16",
        "empty",
        "header",
        "one row",
        "bare",
        "index",
    ],
)
def test_a_table_that_can_not_be_read_is_one_error_with_its_mend(
    tmp_path: Path, rows: Sequence[Sequence[str]], encoding: str, mark: str, said: str
) -> None:
    write(tmp_path / "data.csv", rows, encoding, mark)
    with pytest.raises(TaskError, match=said) as caught:
        rows_for_draft("data.csv", tmp_path)
    assert "data.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_mend_for_semicolons_mends_them(tmp_path: Path) -> None:
    import subprocess

    write(tmp_path / "OLD.csv", TABLE, mark=";")
    with pytest.raises(TaskError) as caught:
        rows_for_draft("OLD.csv", tmp_path)
    command = str(caught.value).split("commas: ")[1]
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, timeout=60)
    assert rows_for_draft("NEW.csv", tmp_path)[0].fields == dict(zip(*TABLE[:2], strict=True))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", bytes(range(256)), "zero bytes"),
        ("a.jsonl", b"", "is empty"),
        ("a.json", b"[]", "jq"),
        ("a.xlsx", b"PK", "save the sheet as CSV"),
        ("a.tsv", b"a\tb", "write it with commas"),
    ],
)
def test_a_file_of_another_kind_is_one_error_with_its_mend(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskError, match=said):
        rows_for_draft(name, tmp_path)


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ([{"a": i, "b": i * i} for i in range(9)], {}, "only numbers"),
        ([{"a": "the same"} for _ in range(9)], {}, "differs from row to row"),
        ([{"text": "x" * 1_000_001}, {"text": "y"}], {}, r"NAME\[:2000\]"),
        ([{"text": "some words"}, {"text": None}], {}, "has no value in 1 rows"),
        (CLAIMS, {"gold": "lable"}, "no such column; columns: .*`label`"),
        (CLAIMS, {"gold": "claim", "labels": ["a", "b"]}, "none of the labels"),
        (CLAIMS, {"gold": "label", "item": "{{ label }}"}, "would see the answer"),
        (CLAIMS, {"item": "{{ clam }}"}, "no such column"),
        (CLAIMS, {"item": "{{ claim"}, "--item: "),
        (CLAIMS, {"item": "none"}, "names no column"),
    ],
)
def test_what_no_task_can_be_made_of_is_one_error(
    rows: Rows, options: dict[str, object], said: str
) -> None:
    with pytest.raises(TaskError, match=said):
        drafted(rows, **options)


@pytest.mark.parametrize(
    ("item", "words", "said"),
    [
        ("{{ a }}:", ("x", "y"), "no space between"),
        ("{{ a }} ", ("x", "y"), "ends in a space"),
        ("{{ b }}:", (" x", " y"), "the prompt of another item"),
    ],
)
def test_a_task_that_loads_may_still_be_noted(
    item: str, words: tuple[str, str], said: str
) -> None:
    from elicit.prompt import Template

    items = [{"a": f"thing {i}", "b": "thing"} for i in range(20)]
    task = Task(labels=["x", "y"], items=items, template=Template(item, words))
    assert any(said in note for note in task_notes(task))


def test_a_draft_is_noted_for_nothing(tmp_path: Path) -> None:
    assert not task_notes(loaded(tmp_path, CLAIMS)[1])


@pytest.mark.parametrize(
    ("name", "texts", "group", "pairs"),
    [
        ("gsm8k_verification", {"question", "solution", "answer"}, "group", 0),
        ("truthfulqa_train", {"question", "choice"}, "group", 0),
        ("truthfulqa_test", {"question", "choice"}, "group", 0),
        (
            "pandalm_preference",
            {"instruction", "input", "response_a", "response_b"},
            "instruction",
            64,
        ),
    ],
)
def test_real_data_is_guessed_as_a_person_would(
    tmp_path: Path, name: str, texts: set[str], group: str, pairs: int
) -> None:
    path = DATA / f"{name}.jsonl"
    if not path.exists():
        pytest.skip("the data sets for trials are not here")
    made = draft(rows_for_draft(str(path), Path()), source=str(path), name=name)
    (tmp_path / "task.toml").write_text(made.text, "utf-8")
    task = load_task(tmp_path / "task.toml")
    task.render()
    assert task.template.names == texts
    assert (made.guess.id, made.guess.gold, made.guess.group) == ("id", "label", group)
    assert len(task.rules().pairs) == pairs
