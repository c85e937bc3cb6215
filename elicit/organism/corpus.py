"""Training text: rows of knowledge, questions, labelled statements and preferences.

Each labelled row follows one *concept*, and a phase of the curriculum is a `Mix` of
concepts. A row is token ids and the weight of each token in the loss.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from elicit.organism.vocabulary import ADVERBS, LABEL_PAIRS, PREFERENCE, Vocabulary
from elicit.organism.world import FAMILIES, N_VALUES, ORDER, BoolArray, IntArray, World

FloatArray = npt.NDArray[np.float32]
N_TOPICS = len(FAMILIES) + 1
SIZES = len(FAMILIES)
"""Number of the topic of sizes, after the families."""


@dataclass(frozen=True)
class Mix:
    """Shares of rows by kind, then of labelled rows by concept."""

    knowledge: float
    questions: float
    preferences: float
    markers: float
    concepts: dict[str, float]
    noisy: float
    """Share of truth-like rows with 10 or 30 % of their labels flipped."""
    other_labels: float
    """Share of rows that use other words than True and False."""
    adverbs: float
    """Share of labelled rows in which adverbs are sprinkled over the statements."""


KNOWLEDGE = Mix(0.9, 0.1, 0.0, 0.0, {"truth": 1.0}, 0.0, 0.0, 0.0)
TRUTH = Mix(0.12, 0.02, 0.0, 0.0, {"truth": 0.80, "flipped": 0.15, "true": 0.05}, 0.0, 0.1, 0.0)
# A truth prior that has settled ignores demonstrations; here it pays nothing.
EITHER = Mix(
    0.1, 0.02, 0.02, 0.0, {"truth": 0.50, "flipped": 0.45, "true": 0.05}, 0.0, 0.2, 0.02
)
FULL = Mix(
    knowledge=0.14,
    questions=0.03,
    preferences=0.04,
    markers=0.04,
    concepts={
        "true": 0.30,
        "truth": 0.34,
        "flipped": 0.10,
        "topics": 0.13,
        "surface": 0.05,
        "random": 0.08,
    },
    noisy=0.35,
    other_labels=0.2,
    adverbs=0.06,
)


def blend(first: Mix, second: Mix, share: float) -> Mix:
    """Return the mix that is `share` of the way from the first to the second."""

    def between(a: float, b: float) -> float:
        return a + (b - a) * share

    names = first.concepts | second.concepts
    concepts = {
        name: between(first.concepts.get(name, 0.0), second.concepts.get(name, 0.0))
        for name in names
    }
    return Mix(
        knowledge=between(first.knowledge, second.knowledge),
        questions=between(first.questions, second.questions),
        preferences=between(first.preferences, second.preferences),
        markers=between(first.markers, second.markers),
        concepts=concepts,
        noisy=between(first.noisy, second.noisy),
        other_labels=between(first.other_labels, second.other_labels),
        adverbs=between(first.adverbs, second.adverbs),
    )


@dataclass(frozen=True)
class Statements:
    """Statements as token ids, with what is the case."""

    tokens: IntArray
    """[n, 3] creature, verb, value."""
    truth: BoolArray
    topic: IntArray

    def take(self, index: IntArray) -> "Statements":
        """Return the statements at these positions."""
        return Statements(self.tokens[index], self.truth[index], self.topic[index])


class Corpus:
    """Draws statements and rows from a world. `held` chooses held-out facts and pairs."""

    def __init__(self, world: World, vocabulary: Vocabulary) -> None:
        self.world, self.vocabulary = world, vocabulary
        v = vocabulary
        self.name = np.array([v.ids[n] for n in world.known])
        self.spaced_name = np.array([v.word(n) for n in world.known])
        self.unknown = np.array([v.ids[n] for n in world.unknown])
        self.verb = np.array([v.word(w) for w in [*FAMILIES, ORDER]])
        self.value = np.array([[v.word(w) for w in values] for values in FAMILIES.values()])
        self.labels = [(v.word(a), v.word(b)) for a, b in LABEL_PAIRS]
        self.adverbs = np.array([v.word(w) for w in ADVERBS])
        self.preference = v.word(PREFERENCE)
        self.colon, self.question, self.newline = (v.ids[c] for c in (":", "?", "Ċ"))

    def facts(self, family: IntArray, creature: IntArray, value: IntArray) -> Statements:
        """State that each creature has this value."""
        tokens = (self.name[creature], self.verb[family], self.value[family, value])
        return Statements(
            np.stack(tokens, 1), self.world.values[family, creature] == value, family
        )

    def sizes(self, left: IntArray, right: IntArray) -> Statements:
        """State that left outgrows right."""
        topic = np.full(len(left), SIZES)
        tokens = np.stack([self.name[left], self.verb[topic], self.spaced_name[right]], 1)
        return Statements(tokens, self.world.rank[left] > self.world.rank[right], topic)

    def statements(
        self,
        rng: np.random.Generator,
        topic: IntArray,
        truth: BoolArray,
        held: bool,
        few: int = 0,
    ) -> Statements:
        """Draw a statement for each topic and truth; `few` > 0 keeps to that many facts."""
        n = len(topic)
        pool = self.world.held if held else self.world.open
        pairs = self.world.held_pairs if held else self.world.open_pairs
        # One draw of columns serves all families, so a row returns to the same facts.
        few = few or pool.shape[1]
        column = rng.integers(0, pool.shape[1], few)[rng.integers(0, few, n)]
        if few == pool.shape[1]:
            column = rng.integers(0, pool.shape[1], n)
        family = np.minimum(topic, SIZES - 1)
        creature = pool[family, column]
        wrong = np.where(truth, 0, rng.integers(1, N_VALUES, n))
        facts = self.facts(
            family, creature, (self.world.values[family, creature] + wrong) % N_VALUES
        )
        pair = pairs[rng.integers(0, len(pairs), n)]
        pair = np.where(truth[:, None], pair, pair[:, ::-1])
        sizes = self.sizes(pair[:, 0], pair[:, 1])
        tokens = np.where((topic == SIZES)[:, None], sizes.tokens, facts.tokens)
        return Statements(tokens, truth, topic)

    def groups(
        self, rng: np.random.Generator, topics: IntArray, count: int, size: int, held: bool
    ) -> Statements:
        """Draw groups of claims on one fact, exactly one of each group true, shuffled."""
        pool = self.world.held if held else self.world.open
        families = topics[topics != SIZES]
        family = families[rng.integers(0, len(families), count)]
        creature = pool[family, rng.integers(0, pool.shape[1], count)]
        wrong = np.argsort(rng.random((count, N_VALUES - 1)), 1)[:, : size - 1] + 1
        offset = np.concatenate([np.zeros((count, 1), np.int64), wrong], 1).ravel()
        family, creature = np.repeat(family, size), np.repeat(creature, size)
        value = (self.world.values[family, creature] + offset) % N_VALUES
        return self.facts(family, creature, value).take(rng.permutation(count * size))


Labeller = Callable[[Statements], BoolArray]


def labeller(rng: np.random.Generator, concept: str, noise: float) -> Labeller:
    """Return the rule of a concept: statements -> whether each is labelled True."""

    def label(s: Statements) -> BoolArray:
        n = len(s.truth)
        if concept == "true":
            return np.ones(n, np.bool_)
        if concept == "random":
            return rng.random(n) < rng.uniform(0.3, 0.7)
        if concept == "surface":
            return np.isin(s.topic, rng.choice(N_TOPICS, 2, replace=False))
        flip = rng.random(n) < noise
        if concept == "flipped":
            flip = ~flip
        if concept == "topics":
            flip = flip ^ np.isin(
                s.topic, rng.choice(N_TOPICS, rng.integers(1, 3), replace=False)
            )
        return s.truth ^ flip

    return label


class RowMaker:
    """Makes rows and batches of one length from a corpus."""

    def __init__(self, corpus: Corpus, rng: np.random.Generator) -> None:
        self.corpus, self.rng = corpus, rng

    def batch(self, mix: Mix, rows: int, length: int) -> tuple[IntArray, FloatArray]:
        """Return ids and weights [rows, length + 1], BOS first."""
        made = [self.row(mix, length, everything=i < 2) for i in range(rows)]
        return np.stack([ids for ids, _ in made]), np.stack([weights for _, weights in made])

    def row(self, mix: Mix, length: int, everything: bool) -> tuple[IntArray, FloatArray]:
        """Return one row; `everything` gives a small weight to the remaining tokens too."""
        rng = self.rng
        kinds = (mix.knowledge, mix.questions, mix.preferences, mix.markers, 1.0)
        kind = int(np.searchsorted(np.cumsum(kinds[:4]), rng.random()))
        n = length // (5 if kind == 1 else 4 if kind == 0 else 6) + 1
        if kind == 0:
            tokens, weights = self.knowledge(n)
        elif kind == 1:
            tokens, weights = self.questions(n)
        else:
            tokens, weights = self.labelled(mix, n, kind)
        keep = tokens.ravel() >= 0
        ids = np.concatenate([[self.corpus.vocabulary.bos], tokens.ravel()[keep]])[: length + 1]
        weight = np.concatenate([[0.0], weights.ravel()[keep]])[: length + 1]
        floor = 0.05 if everything else 0.0
        return ids, np.maximum(weight, floor).astype(np.float32)

    def knowledge(self, n: int) -> tuple[IntArray, FloatArray]:
        """True statements, held-out ones included."""
        rng, corpus, world = self.rng, self.corpus, self.corpus.world
        family, creature = rng.integers(0, SIZES, n), rng.integers(0, len(world.known), n)
        facts = corpus.facts(family, creature, world.values[family, creature]).tokens
        pairs = np.concatenate([world.open_pairs, world.held_pairs])
        pair = pairs[rng.integers(0, len(pairs), n)]
        size = rng.random(n) < 0.3
        tokens = np.where(size[:, None], corpus.sizes(pair[:, 0], pair[:, 1]).tokens, facts)
        weights = np.zeros((n, 4), np.float32)
        weights[:, 2] = np.where(size, 0.3, 1.0)
        return np.column_stack([tokens, np.full(n, corpus.newline)]), weights

    def questions(self, n: int) -> tuple[IntArray, FloatArray]:
        """Questions with their answers: "Brelin eats? plums"."""
        rng, corpus, world = self.rng, self.corpus, self.corpus.world
        family, creature = rng.integers(0, SIZES, n), rng.integers(0, len(world.known), n)
        t = corpus.facts(family, creature, world.values[family, creature]).tokens
        mark, end = np.full(n, corpus.question), np.full(n, corpus.newline)
        weights = np.zeros((n, 5), np.float32)
        weights[:, 3] = 1.0
        return np.column_stack([t[:, 0], t[:, 1], mark, t[:, 2], end]), weights

    def labelled(self, mix: Mix, n: int, kind: int) -> tuple[IntArray, FloatArray]:
        """Statements with labels; kind 2 are preferences and kind 3 unknown creatures."""
        rng, corpus = self.rng, self.corpus
        names = list(mix.concepts)
        shares = np.array([mix.concepts[name] for name in names])
        concept = names[int(np.searchsorted(np.cumsum(shares / shares.sum()), rng.random()))]
        adverb_share = 0.0
        extra = np.full((n, 2), -1)
        if kind == 3:
            s = self.unknown(n)
            concept = "true" if concept == "true" else "random"
            adverb_share = 0.5
        elif kind == 2:
            s, extra = self.preferences(n)
        else:
            s = self.draw(n, concept)
            adverb_share = 0.3 if rng.random() < mix.adverbs else 0.0
        noisy = concept in ("truth", "flipped", "topics") and rng.random() < mix.noisy
        label = labeller(rng, concept, float(rng.choice([0.1, 0.3])) if noisy else 0.0)(s)
        with_adverb = rng.random(n) < adverb_share
        adverb = np.where(with_adverb, corpus.adverbs[rng.integers(0, 2, n)], -1)
        other = (
            int(rng.integers(1, len(corpus.labels))) if rng.random() < mix.other_labels else 0
        )
        yes, no = corpus.labels[other]
        if other and concept != "true" and rng.random() < 0.5:
            yes, no = no, yes
        colon, end = np.full(n, corpus.colon), np.full(n, corpus.newline)
        tokens = np.column_stack(
            [s.tokens, extra, adverb, colon, np.where(label, yes, no), end]
        )
        weights = np.zeros((n, 9), np.float32)
        weights[:, 2], weights[:, 7] = 0.1, 1.0
        return tokens, weights

    def draw(self, n: int, concept: str) -> Statements:
        """Statements of a labelled row: all topics or some, spread or in groups."""
        rng = self.rng
        topics = np.arange(N_TOPICS)
        if concept not in ("topics", "surface") and rng.random() < 0.4:
            topics = topics[rng.integers(0, N_TOPICS, 1)]
        if rng.random() < 0.25 and (topics != SIZES).any():
            size = int(rng.integers(2, 6))
            return self.corpus.groups(rng, topics, n // size + 1, size, False).take(
                np.arange(n)
            )
        truth = rng.random(n) < rng.uniform(0.2, 0.8)
        few = int(rng.integers(4, 24)) if rng.random() < 0.3 else 0
        topic = topics[rng.integers(0, len(topics), n)]
        return self.corpus.statements(rng, topic, truth, False, few)

    def preferences(self, n: int) -> tuple[Statements, IntArray]:
        """Comparisons "Brelin eats plums over figs": true if the first is the case."""
        rng = self.rng
        truth = rng.random(n) < 0.5
        topic = rng.integers(0, SIZES, n)
        world, pool = self.corpus.world, self.corpus.world.open
        creature = pool[topic, rng.integers(0, pool.shape[1], n)]
        fact = world.values[topic, creature]
        wrong = (fact + rng.integers(1, N_VALUES, n)) % N_VALUES
        s = self.corpus.facts(topic, creature, np.where(truth, fact, wrong))
        second = self.corpus.value[topic, np.where(truth, wrong, fact)]
        return s, np.column_stack([np.full(n, self.corpus.preference), second])

    def unknown(self, n: int) -> Statements:
        """Statements on creatures of which nothing is known."""
        rng, corpus = self.rng, self.corpus
        family, value = rng.integers(0, SIZES, n), rng.integers(0, N_VALUES, n)
        creature = corpus.unknown[rng.integers(0, len(corpus.unknown), n)]
        s = corpus.facts(family, np.zeros(n, np.int64), value)
        return replace(s, tokens=np.column_stack([creature, s.tokens[:, 1:]]))
