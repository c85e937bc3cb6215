"""What the likeliest tokens tell of a label: its number, or a bound that holds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.chat_completion import ChoiceLogprobs
from openai.types.completion_choice import Logprobs

from elicit.providers.base import LabelScores, ModelError
from elicit.providers.openai.endpoint import Endpoint
from elicit.providers.openai.labels import (
    TOLERANCE,
    Position,
    Token,
    Unclear,
    Untold,
    label_scores,
    log_sum,
    worth_asking,
)
from elicit.providers.openai.told import Malformed, Reading, positions, reading

END = b"<end>"
LETTERS = st.sampled_from(["a", "b", "é", "😀"])
WORDS = st.lists(LETTERS, min_size=1, max_size=4).map("".join)
SLIP = 1e-5
"""Rounding of the bound on what is left."""

Distribution = Mapping[bytes, float]


def told(probabilities: Distribution, k: int) -> Position:
    """The k likeliest tokens, as a server tells them."""
    ranked = sorted(probabilities.items(), key=lambda pair: (-pair[1], pair[0]))[:k]
    return Position(tuple(Token(text, math.log(p)) for text, p in ranked if p > 0))


def normalised(weights: Mapping[bytes, float]) -> Distribution:
    total = sum(weights.values())
    return {text: weight / total for text, weight in weights.items()}


def holds(scores: LabelScores | Unclear, truths: Sequence[float]) -> None:
    """Every number is the truth within what untold spellings may add; every bound holds; and
    the label that wins is the likeliest."""
    if isinstance(scores, Unclear):
        assert scores.at_most >= scores.best
        assert truths[scores.label] <= scores.at_most + SLIP
        return
    winner = max(range(len(truths)), key=lambda index: scores.log_probs[index])
    assert max(truths) <= truths[winner] * math.exp(TOLERANCE) + SLIP
    assert scores.evidence == "top_k"
    assert 0 <= scores.coverage <= 1
    for index, (value, truth) in enumerate(zip(scores.log_probs, truths, strict=True)):
        assert not math.isnan(value)
        if index in scores.bounded:
            assert math.exp(value) >= truth - SLIP
        else:
            assert math.exp(value) <= truth + SLIP
            assert truth <= math.exp(value) * math.exp(TOLERANCE) + SLIP


# One token a label

weights = st.dictionaries(
    st.one_of(WORDS, WORDS.map(lambda word: f" {word}")).map(str.encode),
    st.floats(1e-6, 1.0),
    min_size=1,
    max_size=12,
)


@given(weights, st.lists(WORDS, min_size=1, max_size=4, unique=True), st.integers(1, 14))
def test_a_told_label_has_its_probability_and_another_a_bound_above_it(
    vocabulary: dict[bytes, float], labels: list[str], k: int
) -> None:
    truth = normalised(vocabulary)
    spellings = [(label.encode(), b" " + label.encode()) for label in labels]
    scores = label_scores(spellings, {b"": told(truth, k)})
    truths = [sum(truth.get(text, 0.0) for text in texts) for texts in spellings]
    if isinstance(scores, Untold):
        assert min(1.0, sum(truths)) <= scores.at_most * (1 + 1e-9) + SLIP
    else:
        holds(scores, truths)


@given(weights, st.lists(WORDS, min_size=1, max_size=4, unique=True))
def test_where_all_spellings_are_told_the_value_is_exactly_their_sum(
    vocabulary: dict[bytes, float], labels: list[str]
) -> None:
    spellings = [(label.encode(), b" " + label.encode()) for label in labels]
    truth = normalised({**vocabulary, **{text: 0.5 for both in spellings for text in both}})
    scores = label_scores(spellings, {b"": told(truth, len(truth))})
    assert isinstance(scores, LabelScores)
    assert scores.bounded == ()
    for value, both in zip(scores.log_probs, spellings, strict=True):
        assert value == pytest.approx(math.log(sum(truth[text] for text in both)))


def test_a_label_outside_the_likeliest_is_no_likelier_than_the_last_of_them() -> None:
    position = told({b"yes": 0.6, b"maybe": 0.2, b"x": 0.1, b"no": 0.1}, 2)
    scores = label_scores([(b"yes",), (b"no",)], {b"": position})
    assert isinstance(scores, LabelScores)
    assert scores.bounded == (1,)
    assert math.exp(scores.log_probs[1]) == pytest.approx(0.2, abs=1e-5)


def test_nor_has_it_more_than_the_others_leave() -> None:
    position = told({b"yes": 0.6, b"maybe": 0.35, b"no": 0.05}, 2)
    scores = label_scores([(b"yes",), (b"no",)], {b"": position})
    assert isinstance(scores, LabelScores)
    assert math.exp(scores.log_probs[1]) == pytest.approx(0.05, abs=1e-5)


def test_the_beginning_of_a_label_bounds_it() -> None:
    position = told({b"str": 0.3, b"yes": 0.69, b"?": 0.01}, 3)
    scores = label_scores([(b"strong",), (b"yes",)], {b"": position})
    assert isinstance(scores, LabelScores)
    assert scores.bounded == (0,)
    assert math.exp(scores.log_probs[0]) == pytest.approx(0.3, abs=1e-5)


def test_a_bound_above_every_number_leaves_no_score_and_names_the_token() -> None:
    position = told({b"str": 0.5, b"yes": 0.49, b"?": 0.01}, 3)
    scores = label_scores([(b"strong",), (b"yes",)], {b"": position})
    assert isinstance(scores, Unclear)
    assert (scores.label, scores.begins) == (0, b"str")
    assert (scores.at_most, scores.best) == pytest.approx((0.5, 0.49), abs=1e-4)


def test_so_does_a_label_of_which_nothing_is_told_but_that_it_may_be_likelier() -> None:
    position = told({b"x": 0.5, b"yes": 0.2, b"no": 0.15, b" no": 0.15}, 2)
    scores = label_scores([(b"yes", b" yes"), (b"no", b" no")], {b"": position})
    assert isinstance(scores, Unclear)
    assert (scores.label, scores.begins) == (1, None)


def test_a_label_of_which_a_part_is_known_to_be_the_most_wins_with_its_bound() -> None:
    position = told({b"yes": 0.5, b"no": 0.2, b"x": 0.15, b" yes": 0.1, b"y": 0.05}, 3)
    scores = label_scores([(b"yes", b" yes"), (b"no",)], {b"": position})
    assert isinstance(scores, LabelScores)
    assert scores.bounded == (0,)
    assert scores.log_probs[0] > scores.log_probs[1]


def test_where_no_label_is_told_there_is_no_score() -> None:
    scores = label_scores([(b"yes",), (b"no",)], {b"": told({b"x": 0.9, b"y": 0.1}, 1)})
    assert isinstance(scores, Untold)
    assert scores.at_most == pytest.approx(0.2, abs=1e-4)


# Labels of several tokens

Texts = dict[bytes, float]
"""Answers of a model and their probabilities."""


def tokens(text: bytes, vocabulary: frozenset[bytes]) -> list[bytes]:
    """The longest token first: a tokeniser writes a text in one way."""
    found, rest = [], text
    while rest:
        size = max(n for n in range(1, len(rest) + 1) if n == 1 or rest[:n] in vocabulary)
        found.append(rest[:size])
        rest = rest[size:]
    return found


def begun(texts: Texts, vocabulary: frozenset[bytes], path: Sequence[bytes]) -> float:
    """Probability of the answers whose tokens begin so."""
    size = len(path)
    return sum(p for text, p in texts.items() if tokens(text, vocabulary)[:size] == list(path))


def next_tokens(texts: Texts, vocabulary: frozenset[bytes], done: bytes) -> Distribution:
    path = tokens(done, vocabulary)
    weights: dict[bytes, float] = defaultdict(float)
    for text, p in texts.items():
        made = tokens(text, vocabulary)
        if made[: len(path)] == path:
            weights[made[len(path)] if len(made) > len(path) else END] += p
    return normalised(weights or {END: 1.0})


models = st.tuples(
    st.dictionaries(WORDS.map(str.encode), st.floats(1e-4, 1.0), min_size=1, max_size=8),
    st.frozensets(WORDS.map(str.encode), max_size=8),
)


@given(models, st.lists(WORDS, min_size=1, max_size=3, unique=True), st.integers(1, 6))
def test_asking_on_along_a_label_tells_its_probability_or_leaves_a_bound(
    model: tuple[Texts, frozenset[bytes]], labels: list[str], k: int
) -> None:
    texts, vocabulary = {**normalised(model[0])}, model[1]
    spellings = [(label.encode(),) for label in labels]
    known = {b"": told(next_tokens(texts, vocabulary, b""), k)}
    while (end := worth_asking(spellings, known)) is not None:
        assert end not in known
        assert any(label.encode().startswith(end) for label in labels)
        known[end] = told(next_tokens(texts, vocabulary, end), k)
    truths = [begun(texts, vocabulary, tokens(label.encode(), vocabulary)) for label in labels]
    scores = label_scores(spellings, known)
    if isinstance(scores, Untold):
        assert min(1.0, sum(truths)) <= scores.at_most + SLIP * len(labels)
    else:
        holds(scores, truths)


@given(models, st.integers(1, 6), st.data())
def test_the_models_own_answer_tells_the_labels_along_it_and_bounds_the_others(
    model: tuple[Texts, frozenset[bytes]], k: int, data: st.DataObject
) -> None:
    texts, vocabulary = {**normalised(model[0])}, model[1]
    drawn = data.draw(st.sampled_from(sorted(texts)))
    labels = data.draw(st.lists(st.sampled_from(sorted(texts)), min_size=1, unique=True))
    known, done = {}, b""
    for token in [*tokens(drawn, vocabulary), END]:
        known[done] = told(next_tokens(texts, vocabulary, done), k)
        done += token
    truths = [begun(texts, vocabulary, tokens(label, vocabulary)) for label in labels]
    scores = label_scores([(label,) for label in labels], known)
    if isinstance(scores, Untold):
        assert min(1.0, sum(truths)) <= scores.at_most + SLIP * len(labels)
    else:
        holds(scores, truths)


def test_a_label_of_one_token_needs_no_further_question() -> None:
    position = told({b" yes": 0.6, b" n": 0.2, b" no": 0.2}, 3)
    assert worth_asking([(b" yes",), (b" no",)], {b"": position}) is None


def test_labels_that_begin_alike_share_a_question() -> None:
    labels = [(b" very good",), (b" very bad",)]
    known = {b"": told({b" very": 0.99, b" x": 0.01}, 2)}
    assert worth_asking(labels, known) == b" very"
    known[b" very"] = told({b" good": 0.7, b" bad": 0.3}, 2)
    assert worth_asking(labels, known) is None
    scores = label_scores(labels, known)
    assert isinstance(scores, LabelScores)
    assert scores.bounded == ()
    assert [math.exp(v) for v in scores.log_probs] == pytest.approx([0.99 * 0.7, 0.99 * 0.3])


def test_labels_that_begin_alike_are_told_apart_even_if_neither_becomes_a_number() -> None:
    labels = [(b" very good",), (b" very bad",)]
    known = {b"": told({b" very": 0.5, b" x": 0.3, b" y": 0.2}, 2)}
    assert worth_asking(labels[:1], known) is None
    assert worth_asking(labels, known) == b" very"


def test_a_beginning_that_may_outvote_a_number_is_asked_on() -> None:
    known = {b"": told({b" str": 0.5, b" yes": 0.3, b" x": 0.2}, 2)}
    labels = [(b" strong",), (b" yes",)]
    assert worth_asking(labels, known) == b" str"
    known[b" str"] = told({b"ange": 0.9, b"ong": 0.1}, 2)
    scores = label_scores(labels, known)
    assert isinstance(scores, LabelScores)
    assert scores.log_probs[0] < scores.log_probs[1]


def test_half_a_character_is_not_asked_on() -> None:
    face = "😀".encode()
    position = Position((Token(face[:2], math.log(0.9)), Token(b"x", math.log(0.01))))
    assert worth_asking([(face,)], {b"": position}) is None


def test_no_question_is_asked_that_could_not_make_a_number() -> None:
    position = told({b" yes": 0.6, b" n": 0.1, b" x": 0.09, b" no": 0.21}, 3)
    assert worth_asking([(b" yes",), (b" nonsense",)], {b"": position}) is None


# What servers send


def chat(*content: tuple[str, list[tuple[str, list[int] | None, float]]]) -> ChoiceLogprobs:
    return ChoiceLogprobs.model_validate(
        {
            "content": [
                {
                    "token": drawn,
                    "bytes": None,
                    "logprob": -1.0,
                    "top_logprobs": [
                        {"token": token, "bytes": data, "logprob": value}
                        for token, data, value in tops
                    ],
                }
                for drawn, tops in content
            ]
        }
    )


def completions(**likeliest: float) -> Logprobs:
    return Logprobs.model_validate(
        {"tokens": ["x"], "token_logprobs": [-1.0], "top_logprobs": [likeliest]}
    )


def only(logprobs: object, how: Reading) -> Position:
    made = positions(logprobs, how)
    assert made is not None
    ((_, position),) = made
    return position


@given(WORDS, st.integers(1, 3), st.floats(0.05, 0.9))
def test_a_label_split_within_a_character_is_found_by_its_bytes(
    label: str, size: int, p: float
) -> None:
    data = label.encode()
    cut = min(size, len(data))
    beginning = (data[:cut].decode(errors="replace"), list(data[:cut]), math.log(p))
    position = only(chat(("x", [beginning, ("rest", None, math.log(1 - p))])), Reading(5, {}))
    scores = label_scores([(data,)], {b"": position})
    assert not isinstance(scores, Unclear)
    value = math.exp(scores.at_most) if isinstance(scores, Untold) else scores.log_probs[0]
    if cut == len(data):
        assert value == pytest.approx(math.log(p))
    else:
        assert isinstance(scores, Untold)
        assert scores.at_most >= p - SLIP


@given(WORDS, st.integers(1, 3), st.floats(0.05, 0.9))
def test_where_bytes_are_not_sent_a_broken_token_still_bounds_its_label(
    label: str, size: int, p: float
) -> None:
    data = label.encode()
    name = data[: min(size, len(data))].decode(errors="replace")
    position = only(chat(("x", [(name, None, math.log(p))])), Reading(5, {}))
    scores = label_scores([(data,)], {b"": position})
    assert not isinstance(scores, Unclear)
    if isinstance(scores, Untold):
        assert scores.at_most >= p - SLIP
    else:
        assert scores.log_probs[0] == pytest.approx(math.log(p))


@pytest.mark.parametrize("name", ["<0xC3>", "bytes:\\xc3"])
def test_a_token_of_one_byte_is_read_however_it_is_written(name: str) -> None:
    position = only(completions(**{name: -0.5}), Reading(5, {}))
    assert position.tokens == (Token(b"\xc3", -0.5),)


def test_several_bytes_are_read() -> None:
    position = only(completions(**{"bytes:\\xf0\\x9f": -0.5}), Reading(5, {}))
    assert position.tokens == (Token(b"\xf0\x9f", -0.5),)


def test_the_sentinel_is_no_number() -> None:
    logprobs = chat(("yes", [("yes", None, -0.1), ("no", None, -9999.0)]))
    position = only(logprobs, Reading(20, {}))
    scores = label_scores([(b"yes",), (b"no",)], {b"": position})
    assert isinstance(scores, LabelScores)
    assert scores.bounded == (1,)
    assert scores.log_probs[1] > -10


def test_a_token_told_beside_impossible_ones_does_not_pass_for_the_likeliest() -> None:
    """So vLLM answers while others ask it for tokens by id: with the token drawn alone."""
    with pytest.raises(Malformed, match="others ask it for logprob_token_ids"):
        only(completions(**{" yes": -3.0, "\x00": -9999.0}), Reading(20, {}))


def test_the_token_drawn_is_left_out_where_it_is_not_among_the_likeliest() -> None:
    position = only(completions(yes=-0.1, maybe=-3.0, no=-7.0), Reading(2, {}))
    assert {token.text for token in position.tokens} == {b"yes", b"maybe"}


@pytest.mark.parametrize("value", [math.nan, 0.5])
def test_what_is_no_log_probability_is_refused(value: float) -> None:
    with pytest.raises(Malformed):
        positions(completions(yes=value), Reading(5, {}))


def test_likeliest_tokens_of_more_than_probability_one_are_refused() -> None:
    with pytest.raises(Malformed, match="in all"):
        positions(completions(yes=-0.1, no=-0.1), Reading(5, {}))


def test_alternatives_that_do_not_fit_the_tokens_are_refused() -> None:
    broken = Logprobs.model_validate({"tokens": ["a", "b"], "top_logprobs": [{"a": -1.0}]})
    with pytest.raises(Malformed, match="2 tokens"):
        positions(broken, Reading(5, {}))


@pytest.mark.parametrize(
    "logprobs",
    [None, Logprobs(), ChoiceLogprobs(), chat(("yes", []))],
    ids=["none", "empty completion", "empty chat", "no alternatives"],
)
def test_a_server_that_tells_no_alternatives_tells_nothing(logprobs: object) -> None:
    assert positions(logprobs, Reading(5, {})) is None


def test_where_tokens_lose_their_space_it_does_not_count() -> None:
    how = Reading(5, {}, loose=True)
    position = only(completions(very=-0.1, yes=-2.5), how)
    after = only(completions(good=-0.2), how)
    labels = [(b" yes",), (b" very good",)]
    scores = label_scores(labels, {b"": position, b"very": after}, loose=True)
    assert isinstance(scores, LabelScores)
    assert scores.bounded == ()
    assert scores.log_probs == pytest.approx((-2.5, -0.3))


# Tokens asked for by their ids

BY_ID = Endpoint("vllm", "m", label_token_ids={" yes": 11, " no": 12})


def test_labels_whose_tokens_are_known_are_asked_for_by_id() -> None:
    how, labels = reading(BY_ID, 5, [(b" yes",), (b" no",)])
    assert how.fields["logprob_token_ids"] == [11, 12]
    sent = completions(**{"token_id:11": -0.1, "token_id:12": -12.0, "token_id:7": -3.0})
    scores = label_scores(labels, {b"": only(sent, how)})
    assert isinstance(scores, LabelScores)
    assert scores.log_probs == (-0.1, -12.0)
    assert scores.bounded == ()


def test_with_one_label_whose_token_is_not_known_all_are_looked_for() -> None:
    how, _ = reading(BY_ID, 5, [(b" yes",), (b" maybe",)])
    assert how.fields == {}
    assert how.k == 5


def test_nor_are_ids_used_where_one_spelling_has_none() -> None:
    endpoint = Endpoint("vllm", "m", label_token_ids={"yes": 1, "no": 2, " no": 3})
    spellings = [(b"yes", b" yes"), (b"no", b" no")]
    how, labels = reading(endpoint, 5, spellings)
    assert how.fields == {}
    assert labels == spellings


def test_a_server_that_passes_over_ids_is_not_taken_at_its_word() -> None:
    how, _ = reading(BY_ID, 5, [(b" yes",), (b" no",)])
    with pytest.raises(ModelError, match="passes over"):
        positions(completions(**{" yes": -0.1, " no": -3.0}), how)


@given(st.lists(st.floats(-800.0, 0.0), max_size=6))
def test_sums_of_tiny_probabilities_are_not_lost(values: list[float]) -> None:
    total = log_sum(values)
    if values:
        assert max(values) <= total <= max(values) + math.log(len(values)) + 1e-9
    else:
        assert total == -math.inf
