"""Laws of keys: equal requests have equal keys, and whatever could change a score is in it."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elicit.cache.keys import (
    ScoreKey,
    canonical_json,
    context_key,
    identity_digest,
    labels_digest,
    prefix_digest,
    segment_digest,
)

IDENTITY: dict[str, object] = {
    "provider": "llama-cpp",
    "model": "sha256:00",
    "endpoint": "",
    "revision": "",
    "parameters": {"n_ctx": 512, "flash": False, "adapter": None, "scale": 1.0},
}
NO_DEADLINE = settings(deadline=None)  # a busy machine is no failure
TEXTS = st.text(st.characters(), max_size=12)  # lone surrogates included


def key_of(
    identity: dict[str, object], labels: Sequence[str], segments: Sequence[str]
) -> ScoreKey:
    digests = [segment_digest(text) for text in segments]
    context = context_key(
        identity_digest(identity), labels_digest(labels), prefix_digest(digests[:-1])
    )
    return ScoreKey(context, digests[-1])


@NO_DEADLINE
@given(st.lists(TEXTS, min_size=1), st.lists(TEXTS, min_size=1))
def test_two_prompts_share_a_key_only_if_they_are_equal(a: list[str], b: list[str]) -> None:
    assert (key_of(IDENTITY, ["x"], a) == key_of(IDENTITY, ["x"], b)) == (a == b)


@NO_DEADLINE
@given(st.lists(TEXTS), st.lists(TEXTS))
def test_two_label_sets_share_a_digest_only_if_equal_in_order(
    a: list[str], b: list[str]
) -> None:
    assert (labels_digest(a) == labels_digest(b)) == (a == b)


@NO_DEADLINE
@given(TEXTS, st.integers(0, 12))
def test_moving_a_segment_boundary_changes_the_key(text: str, at: int) -> None:
    split = key_of(IDENTITY, ["x"], [text[:at], text[at:], "item"])
    assert split != key_of(IDENTITY, ["x"], [text, "item"])


@NO_DEADLINE
@given(st.dictionaries(TEXTS, st.integers() | st.booleans() | TEXTS | st.none()))
def test_the_order_of_an_identitys_fields_is_no_part_of_it(fields: dict[str, object]) -> None:
    reversed_fields = dict(reversed(fields.items()))
    assert identity_digest(fields) == identity_digest(reversed_fields)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("provider", "openai"),
        ("model", "sha256:01"),
        ("endpoint", "https://other.example"),
        ("revision", "fp_1"),
        ("parameters.n_ctx", 513),
        ("parameters.flash", True),
        ("parameters.flash", 0),
        ("parameters.adapter", "sha256:02"),
        ("parameters.adapter", ""),
        ("parameters.scale", 1),
        ("parameters.new", None),
    ],
)
def test_any_change_of_the_identity_changes_the_key(field: str, value: object) -> None:
    changed = copy.deepcopy(IDENTITY)
    target: dict[str, object] = changed
    *path, last = field.split(".")
    for name in path:
        inner = target[name]
        assert isinstance(inner, dict)
        target = inner
    target[last] = value
    assert key_of(changed, ["x"], ["a", "b"]) != key_of(IDENTITY, ["x"], ["a", "b"])


def test_digests_of_different_kinds_never_meet() -> None:
    digests = {
        segment_digest("[]"),
        labels_digest([]),
        identity_digest({}),
        prefix_digest([]),
        context_key(b"", b"", b""),
    }
    assert len(digests) == 5


def test_another_process_derives_the_same_key() -> None:
    code = (
        "from elicit.cache.keys import *;"
        "print(context_key(identity_digest({'b': 1, 'a': 'é'}), labels_digest(['A', 'B']),"
        " prefix_digest([segment_digest('x')])).hex())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    own = context_key(
        identity_digest({"a": "é", "b": 1}),
        labels_digest(["A", "B"]),
        prefix_digest([segment_digest("x")]),
    )
    assert printed == own.hex()


def test_keys_are_what_they_were_when_the_first_store_was_written() -> None:
    # If this fails, every stored score is lost: raise KEY_VERSION only on purpose.
    assert key_of({"model": "m"}, ["True", "False"], ["a", "b"]) == ScoreKey(
        bytes.fromhex("a254f8ac7dacac2a1663dfbf89ed397d"),
        bytes.fromhex("f1bfe97a64026c83886c37100d544803"),
    )


def test_an_identity_with_a_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"temperature": float("nan")})
