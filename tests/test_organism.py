"""The embedded model is what its recipe says: the same numbers, words and world."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs the extra local")

from elicit.organism.corpus import FULL, Corpus, RowMaker
from elicit.organism.vocabulary import make_vocabulary
from elicit.organism.world import make_world
from elicit.providers.base import ScoreRequest, Segment
from elicit.providers.llama_cpp.model import LlamaModel
from elicit.providers.llama_cpp.settings import LlamaSettings
from elicit.providers.registry import open_model

FOLDER = Path(str(files("elicit.organism")))
GGUF = FOLDER / "organism.gguf"
REFERENCE = Path(__file__).parent / "data" / "organism_reference.json"


def test_label_log_probabilities_equal_the_training_code_s() -> None:
    reference = json.loads(REFERENCE.read_text("utf-8"))
    assert reference["sha256"] == hashlib.sha256(GGUF.read_bytes()).hexdigest()
    labels = tuple(reference["labels"])
    asked = [ScoreRequest((Segment.of(text),), labels) for text in reference["prompts"]]
    assert len(asked) == 500
    provider = open_model("tiny")
    ours = np.empty((500, 2))
    for unit in provider.score(asked):
        for index, scores in unit.scores:
            ours[index] = scores.log_probs
    provider.close()
    assert np.abs(ours - np.array(reference["log_probs"])).max() < 0.01


def test_every_word_is_one_token_there_and_back() -> None:
    vocabulary = make_vocabulary(make_world())
    model = LlamaModel(GGUF, LlamaSettings(), None)
    plain = [t for t in vocabulary.tokens if t not in ("<s>", "</s>") and len(t) > 1]
    for token in plain:
        text = vocabulary.decode([vocabulary.ids[token]])
        assert model.tokenize(text) == vocabulary.encode(text) == [vocabulary.ids[token]]
    document = "Brelin eats plums: True\nöther text, 12345 …\n\n  end"
    assert vocabulary.encode("Tratar eats pears: True\n") == model.tokenize(
        "Tratar eats pears: True\n"
    )
    assert vocabulary.decode(model.tokenize(document)) == document
    model.close()


def test_held_out_facts_are_never_labelled_in_training() -> None:
    world = make_world()
    vocabulary = make_vocabulary(world)
    corpus = Corpus(world, vocabulary)
    held = {
        (int(corpus.name[creature]), int(corpus.verb[family]))
        for family, creatures in enumerate(world.held)
        for creature in creatures
    }
    maker = RowMaker(corpus, np.random.default_rng(0))
    colon = vocabulary.ids[":"]
    labelled = 0
    for _ in range(300):
        ids, _ = maker.row(FULL, 256, everything=False)
        lines = np.split(ids[1:], np.flatnonzero(ids[1:] == corpus.newline) + 1)
        for line in lines:
            if colon in line:
                labelled += 1
                assert (int(line[0]), int(line[1])) not in held
    assert labelled > 5_000


def test_what_is_shipped_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 8e6
