"""A key is in no text that leaves the process."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import re
import string
import traceback
from collections.abc import Callable
from html import escape
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elicit.providers.base import ModelError
from elicit.providers.redact import MARK, Secret, redact, secret_from_environment

printable = string.ascii_letters + string.digits + string.punctuation
# Square brackets are of the mark itself: text and mark could make a key between them.
keys = st.text([c for c in printable if c not in "[]"], min_size=8, max_size=64)
texts = st.text(max_size=40)


@pytest.mark.parametrize(
    "written",
    [
        str,
        quote,
        lambda key: re.sub("%..", lambda code: code[0].lower(), quote(key, safe="")),
        lambda key: "".join(f"%{ord(c):02X}" for c in key),
        lambda key: json.dumps(key)[1:-1],
        lambda key: json.dumps(json.dumps(key)[1:-1])[1:-1],
        lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
        lambda key: "".join(f"\\u{ord(c):04x}" for c in key),
        lambda key: repr(key)[1:-1],
        escape,
        lambda key: f"Authorization: Bearer {key}",
    ],
)
@given(key=keys, before=texts, after=texts)
def test_a_key_is_gone_however_it_is_written(
    written: Callable[[str], str], key: str, before: str, after: str
) -> None:
    shown = redact(before + written(key) + after, [key])
    assert key not in shown
    assert written(key) not in shown
    assert MARK in shown


@given(keys, st.binary(max_size=5), st.binary(max_size=5), st.booleans())
def test_a_key_within_base64_is_gone(key: str, before: bytes, after: bytes, url: bool) -> None:
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    shown = redact(f"Basic {encode(before + key.encode() + after).decode()}", [key])
    assert MARK in shown
    assert len(shown) <= len("Basic ") + len(MARK) + 16


@given(keys, texts)
def test_a_text_without_the_key_stays_as_it_is(key: str, text: str) -> None:
    assert key in text or redact(text, [key]) == text


def test_of_two_keys_the_longer_goes_whole() -> None:
    assert redact("sk-abcdefgh-prod sk-abcdefgh", ["sk-abcdefgh", "sk-abcdefgh-prod"]) == (
        f"{MARK} {MARK}"
    )


def test_no_key_takes_nothing_away() -> None:
    assert redact("as it was", []) == redact("as it was", [""]) == "as it was"


def test_a_secret_shows_nothing_of_itself() -> None:
    secret = Secret("sk-planted-4242")
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r:>30}", f"{secret:>30}"):
        assert "planted" not in shown
    assert not hasattr(secret, "__dict__")
    for taken in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="never pickled or copied"):
            taken(secret)
    assert secret.reveal() == "sk-planted-4242"


def test_a_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-planted-4242")
    secret = secret_from_environment("SOME_KEY")
    assert secret is not None
    assert secret.reveal() == "sk-planted-4242"


def test_a_key_that_may_be_absent_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    assert secret_from_environment("SOME_KEY", required=False) is None
    with pytest.raises(ModelError, match=r"SOME_KEY is not set; .*export SOME_KEY=\.\.\."):
        secret_from_environment("SOME_KEY")


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (" ", "is blank"),
        ("sk-planted 4242", "has white space"),
        ("sk-planted-4242\n", "has white space"),
        ("sk–planted–4242", "has characters that no key has"),
        ("sk-planted\x01", "has characters that no key has"),
    ],
)
def test_a_key_that_can_not_be_one_is_an_error_that_does_not_show_it(
    value: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", value)
    with pytest.raises(ModelError, match=f"SOME_KEY {fault}.*export SOME_KEY=") as caught:
        secret_from_environment("SOME_KEY", required=False)
    inner = caught.value.__traceback__
    assert inner is not None
    shown = traceback.TracebackException(
        ModelError, caught.value, inner.tb_next, capture_locals=True
    )
    assert "planted" not in "".join(shown.format())
