"""Label log-probabilities by the training code, for comparison with other ways to run it.

`python -m elicit.organism.reference WEIGHTS GGUF OUT` writes them for weights saved by the
training as `averaged.pt` and the GGUF file made of them.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from elicit.organism.corpus import Corpus, labeller
from elicit.organism.model import Organism, load_weights
from elicit.organism.vocabulary import Vocabulary, make_vocabulary
from elicit.organism.world import make_world

PROMPTS = 500
LABELS = ("True", "False")


@torch.no_grad()
def label_log_probs(model: Organism, vocabulary: Vocabulary, text: str) -> list[float]:
    """log P(label | text) in nats of each of `LABELS`, over the whole vocabulary."""
    ids = torch.tensor([[vocabulary.bos, *vocabulary.encode(text)]])
    logs = torch.log_softmax(model(ids)[0].double(), 0)
    return [float(logs[vocabulary.word(label)]) for label in LABELS]


def prompts(vocabulary: Vocabulary, seed: int = 0) -> list[str]:
    """Prompts with 0 to 120 demonstrations of every concept, on held-out facts."""
    corpus, rng = Corpus(make_world(), vocabulary), np.random.default_rng(seed)
    made = []
    for _ in range(PROMPTS):
        n = int(rng.integers(0, 121))
        topic, truth = rng.integers(0, 4, n + 1), rng.random(n + 1) < 0.5
        statements = corpus.statements(rng, topic, truth, held=True)
        concept = str(rng.choice(["truth", "flipped", "true", "random", "topics"]))
        said = labeller(rng, concept, 0.0)(statements)
        lines = [vocabulary.decode(row).strip() for row in statements.tokens.tolist()]
        shown = [f"{line}: {label}\n" for line, label in zip(lines, said.tolist(), strict=True)]
        made.append("".join(shown[:-1]) + f"{lines[-1]}:")
    return made


def write_reference(model: Organism, vocabulary: Vocabulary, gguf: Path, out: Path) -> None:
    """Write the prompts, their label log-probabilities and the digest of the GGUF file."""
    texts = prompts(vocabulary)
    rows = [[round(v, 6) for v in label_log_probs(model, vocabulary, t)] for t in texts]
    sha256 = hashlib.sha256(gguf.read_bytes()).hexdigest()
    content = {"sha256": sha256, "labels": [f" {x}" for x in LABELS], "log_probs": rows}
    out.write_text(json.dumps(content | {"prompts": texts}), "utf-8")


def main() -> None:
    """Parse the command line and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("weights", "gguf", "out"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    vocabulary = make_vocabulary(make_world())
    model = load_weights(arguments.weights, vocabulary)
    write_reference(model, vocabulary, arguments.gguf, arguments.out)


if __name__ == "__main__":
    main()
