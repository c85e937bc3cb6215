"""Writes a first task file for data that has none, each guess with what to change in a comment.

Rows in, text out: nothing is read or written here. The text loads with `elicit.load_task`
when it stands where its `path` leads to the data. Only constraints that the data shows
are active, the others stand in comments; none comes from labels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from elicit.data import Row
from elicit.drafting import words
from elicit.drafting.columns import Column, stem_and_side
from elicit.drafting.guess import UNKNOWN_LABELS, Guess, guess
from elicit.drafting.roles import Finding
from elicit.drafting.suggested import constraint_lines
from elicit.drafting.toml_text import comment, plain, shown, toml_block, toml_text, toml_texts
from elicit.prompt import TaskError, Template

_TRUTHS = {"false": "False", "true": "True", "0": "False", "1": "True"}
_SIDES = (("a", "b"), ("1", "2"), ("left", "right"), ("first", "second"))


@dataclass(frozen=True, slots=True)
class Draft:
    """A task file's text, and the guesses that are in it."""

    text: str
    guess: Guess

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.guess.findings


def draft(
    rows: Sequence[Row],
    *,
    source: str,
    name: str,
    labels: Sequence[str] = (),
    gold: str | None = None,
    item: str | None = None,
) -> Draft:
    """A task file for these rows. `source` is its `[data] path`; `labels`, `gold` and `item`
    (a template) are what the user says, and are not guessed then.

    Raises:
        TaskError: a task can't be made of them; the column or option and the mend are named.
    """
    asked = None
    if item is not None:
        asked = Template(item, ("a", "b"), origin="--item").names
        if not asked:
            raise TaskError("--item names no column: write {{ NAME }} where its text belongs")
    made = guess(rows, labels=labels, gold=gold, asked=asked)
    template = item if item is not None else _template(made)
    told = {kind: [f for f in made.findings if f.what == kind] for kind in _KINDS}
    parts = [
        comment(
            f"A draft made by `elicit tasks new` from {source}: {len(rows):,} rows, "
            f"{len(made.columns)} columns. It holds guesses. Each says what to change where it "
            "is wrong."
        ),
        "",
        f"name = {toml_text(name)}",
        "",
        *_said(told["labels"]),
        f"labels = {toml_texts(made.labels)}",
        "",
        "[data]",
        f"path = {toml_text(source)}",
        *_column_line("id", made.id, told["id"]),
        *_column_line("group", made.group, told["group"]),
        *_column_line("gold", made.gold, told["gold"]),
        *_column_line("human", made.human, told["human"]),
        "",
        "[prompt]",
        *_said([*told["pair"], *told["text"], *told["note"]]),
        comment(
            "Its last words are what the label answers: write there what you want to know. A "
            "model goes by them, so a sentence that ends in the label serves best."
        ),
        f"item = {toml_block(template)}",
        comment("What stands between one item with its label and the next."),
        f"separator = {toml_text(chr(10) * 2)}",
        comment("Told to chat models, before the labels."),
        f"instruction = {toml_text(_instruction(made))}",
        "",
        comment(_about_words(made)),
        "[prompt.verbalizers]",
        *(f"{toml_text(label)} = {toml_text(word)}" for label, word in _words(made).items()),
        "",
        *constraint_lines(made, side_labels(made) if item is None else None),
    ]
    return Draft("\n".join(parts) + "\n", made)


_KINDS = ("labels", "id", "group", "gold", "human", "pair", "text", "note")


def _said(findings: Sequence[Finding]) -> list[str]:
    return [comment(f"{f.said} If that is wrong: {f.mend}.") for f in findings]


def _column_line(option: str, column: str | None, findings: Sequence[Finding]) -> list[str]:
    line = [] if column is None else [f"{option} = {toml_text(column)}"]
    return [*_said(findings), *line]


def reach(name: str) -> str | None:
    """How a template names a column; None where it can't. Tried, as Jinja's rules of names
    are its own."""
    for way in (name, f"fields[{_jinja_text(name)}]"):
        try:
            template = Template(f"{{{{ {way} }}}}", ("a", "b"))
            if template.names == {name} and template.render({name: "x"}, "") == "x":
                return way
        except TaskError:
            continue
    return None


def _jinja_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _template(made: Guess) -> str:
    lost = [name for name in made.texts if reach(name) is None]
    if lost:
        better = ", ".join(f"{shown(name)} to {_identifier(name)}" for name in lost)
        raise TaskError(
            f"a prompt can't name {', '.join(map(shown, lost))}: rename {better} in the data "
            "(letters, digits and _ only), or choose other columns: --item '{{ NAME }}'"
        )
    texts = [made.column(name) for name in made.texts]
    if len(texts) == 1 and not _asks_by_claim(made):
        return f"{{{{ {reach(texts[0].name)} }}}}\n{_asking(made)}"
    return "".join(_captioned(text, made.compared or ()) for text in texts) + _asking(made)


def _captioned(column: Column, pair: Sequence[str]) -> str:
    """A line with a text. Where it may be empty it is left out, unless it is compared."""
    way = reach(column.name)
    line = f"{_caption(column.name)}: {{{{ {way} }}}}\n"
    if not column.empty or column.name in pair:
        return line
    return f"{{% if {way} != '' %}}{line}{{% endif %}}"


def _asking(made: Guess) -> str:
    """The last line of a prompt, which the label completes."""
    if made.compared is not None:
        if side_labels(made) is not None:
            return f"Better {_noun(made)}:"
        if not made.labels_known:
            left, right = map(_caption, made.compared)
            return f"{left} is better than {right}:"
    if _asks_by_claim(made):
        return f"I think this {_noun(made)} is"
    return f"{_question(made)}:"


def _asks_by_claim(made: Guess) -> bool:
    """Whether the labels say that an item is true or false, and not something else of it, as
    those of `is_spam` do."""
    own = () if made.gold is None else made.column(made.gold).tokens
    return _says_truth(made) and words.TRUTH.issuperset(own)


def _says_truth(made: Guess) -> bool:
    return {label.strip().lower() for label in made.labels} <= _TRUTHS.keys()


def _question(made: Guess) -> str:
    """What the labels are, as far as the gold column's name says it."""
    name = "" if made.gold is None else _bare(_caption(made.gold))
    return "Label" if name.lower() in ("", "gold", "labels", "target", "class", "y") else name


def _bare(name: str) -> str:
    """A name without the article it may begin with, as a sentence brings its own."""
    first, _, rest = name.partition(" ")
    return rest[:1].upper() + rest[1:] if rest and first.lower() in words.ARTICLES else name


def _noun(made: Guess) -> str:
    """What an item is called: the stem of a pair's names, or the last text's name."""
    if made.compared is not None:
        side = stem_and_side(made.compared[0])
        return _bare(" ".join(side[0])).lower() if side is not None and side[0] else "answer"
    return _bare(_caption(made.texts[-1])).lower() if made.texts else "item"


def _instruction(made: Guess) -> str:
    if made.compared is not None and side_labels(made) is not None:
        return f"Decide which {_noun(made)} is better."
    if made.compared is not None and not made.labels_known:
        left, right = (_caption(name).lower() for name in made.compared)
        return f"Decide whether {left} is better than {right}."
    if _asks_by_claim(made):
        return f"Decide whether each {_noun(made)} is true."
    if _says_truth(made):
        return f"Say of each {_noun(made)}: {_question(made).lower()}, true or false."
    return f"Decide the {_question(made).lower()} of each item."


def side_labels(made: Guess) -> tuple[str, str] | None:
    """The labels that say which of a pair is meant, in its order; None where none do."""
    if made.compared is None:
        return None
    by_word = {label.strip().lower(): label for label in made.labels}
    for first, second in _SIDES:
        if by_word.keys() >= {first, second}:
            return by_word[first], by_word[second]
    return None


def _words(made: Guess) -> dict[str, str]:
    """What a model says for each label: with a space, as the prompt ends without one."""
    digits = [label.strip() for label in made.labels] in (["0", "1"], ["1", "0"])
    return {
        label: f" {_TRUTHS[label.strip()] if digits else label.strip()}"
        for label in made.labels
    }


def _about_words(made: Guess) -> str:
    said = (
        "What a model says for each label. A text begins with a space where the prompt ends "
        "without one."
    )
    if any(label.strip().isdecimal() for label in made.labels):
        said += (
            " A number says little to a model: write words here that say what it stands for."
        )
    if made.labels == UNKNOWN_LABELS and not made.labels_known:
        said += " These are only to begin with."
    longest = max(map(len, _words(made).values()))
    return said + (" Short words are cheaper." if longest > 24 else "")


def _caption(name: str) -> str:
    """A column's name as the words before a colon; nothing in it means anything to Jinja."""
    parts = re.findall(r"[^\W_]+", plain(name))
    text = " ".join(part.upper() if len(part) == 1 else part for part in parts)
    return text[:1].upper() + text[1:] if text else "Text"


def _identifier(name: str) -> str:
    """A name near this one that every template reaches."""
    text = "_".join(re.findall(r"[a-z0-9]+", plain(name).lower())) or "text"
    return text if text[0].isalpha() and reach(text) == text else f"column_{text}"
