"""The constraints of a drafted task file: active where the data shows them, else explained."""

from __future__ import annotations

from elicit.drafting.guess import Guess
from elicit.drafting.toml_text import comment, shown, toml_text


def constraint_lines(made: Guess, sides: tuple[str, str] | None) -> list[str]:
    """The last part of a task file. `sides` are the labels that say which text of a pair is
    meant, if the prompt asks so.

    An asymmetric constraint is active where the same two texts stand in both orders and the
    prompt asks which is better, as only then is it known what swapping does to the label.
    """
    lines = [
        comment(
            "Constraints say which labels can't stand together by logic alone, whatever the "
            "labels are. They hold a search: write down those you are sure of, by taking away "
            "the # before their lines. `elicit tasks FILE` tells how many pairs they bind."
        ),
        "",
        *_asymmetric(made, sides),
    ]
    group = made.group or "COLUMN"
    label = made.labels[-1]
    by = f"equal in {shown(group)}" if made.group else "equal in a column"
    lines += [
        comment(f"exactly_one: of the rows {by}, one and no other is {shown(label)}."),
        *_off(kind="exactly_one", label=label, by=group),
        comment(f"at_most_one: of the rows {by}, two are never {shown(label)}."),
        *_off(kind="at_most_one", label=label, by=group),
        comment(
            f"same_answer: of the rows {by}, those with the same short answer have the same "
            f"label, and of two with different answers not both are {shown(label)}."
        ),
        *_off(kind="same_answer", label=label, by=group, answer=made.answer or "COLUMN"),
        comment(
            f"implies: where a row is {shown(label)}, so are the rows whose ids its column "
            "`then` holds."
        ),
        *_off(kind="implies", label=label, then=made.links or "COLUMN"),
        comment(
            "How to search can stand here too, under [run]; "
            "`elicit run FILE --show-settings` lists the settings."
        ),
    ]
    return lines


def _asymmetric(made: Guess, sides: tuple[str, str] | None) -> list[str]:
    if made.pair is None:
        return []
    left, right = made.pair
    own_words = made.compared is not None and not made.labels_known
    label = sides[0] if sides is not None else made.labels[-1]
    options = {"kind": "asymmetric", "label": label, "left": left, "right": right}
    if made.swapped.within is not None:
        options["by"] = made.swapped.within
    strict = sides is not None and len(made.labels) == 2
    about = (
        f"asymmetric: two rows with {shown(left)} and {shown(right)} swapped are never both "
        f"{shown(label)}; with strict = true exactly one of them is."
    )
    if not made.swapped.count:
        return [
            comment(
                f"{about} No row here is another with the two swapped: add each row the other "
                "way round (with another id) to use it."
            ),
            *_off(**options),
        ]
    if (sides is None and not own_words) or not made.swapped.alone:
        return [
            comment(
                f"{about} {made.swapped.count:,} rows have such a partner; whether it holds "
                "depends on what the labels mean, and on whether all else in them is alike."
            ),
            *_off(**options),
        ]
    return [
        comment(
            f"{about} {made.swapped.count:,} rows have such a partner, and the prompt asks "
            "which is better. If that is wrong: put a # before these lines."
        ),
        *_lines(**options),
        *(["strict = true"] if strict else []),
        "",
    ]


def _lines(**options: str) -> list[str]:
    return [
        "[[constraint]]",
        *(f"{key} = {toml_text(value)}" for key, value in options.items()),
    ]


def _off(**options: str) -> list[str]:
    return [*(f"# {line}" for line in _lines(**options)), ""]
