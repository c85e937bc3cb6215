"""Shares of the labels that are expected beforehand, where a user knows them.

Without a prior, nothing holds a search from giving one label to everything but what the
model says and the constraints forbid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax, logsumexp, rel_entr

from elicit.cache.errors import InputError
from elicit.scorer import FloatArray, IntArray

STEPS = 200
HALVINGS = 12
ROUNDING = 0.02
"""How far shares may be from adding up to one, as rounded ones are."""
TOLERANCE = 1e-9
"""Largest difference left between a label's mean probability and its prior."""


def parse_prior(text: str, labels: Sequence[str]) -> FloatArray | None:
    """`"False=0.9, True=0.1"` as an array, (n_labels,), that sums to one; "" is None.

    Raises:
        InputError: a label is unknown, missing or twice there, or the shares do not add up
            to one.
    """
    if not text.strip():
        return None
    shares: dict[str, float] = {}
    rest = text.strip()
    while rest:
        name, number, rest = _first(text, rest, labels)
        if name in shares:
            raise InputError(_wrong(text, labels, f"{name!r} stands twice"))
        try:
            shares[name] = float(number)
        except ValueError as error:
            raise InputError(_wrong(text, labels, f"{number!r} is not a number")) from error
    values = np.array([shares.get(label, 0.0) for label in labels])
    if len(shares) < len(labels) or not (values > 0).all():
        raise InputError(_wrong(text, labels, "each label needs a share above 0"))
    if abs(values.sum() - 1) > ROUNDING:
        raise InputError(_wrong(text, labels, f"the shares add up to {values.sum():g}, not 1"))
    normalised: FloatArray = values / values.sum()
    return normalised


def _first(text: str, rest: str, labels: Sequence[str]) -> tuple[str, str, str]:
    """The first label of `rest`, its number as written, and what follows. A label may itself
    hold a comma or `=`, so it is read as one of those there are, the longest that fits."""
    for label in sorted(labels, key=len, reverse=True):
        after = rest.removeprefix(label.strip()).lstrip()
        if rest.startswith(label.strip()) and after.startswith("="):
            number, _, following = after[1:].partition(",")
            return label, number.strip(), following.strip()
    part = rest.partition(",")[0]
    raise InputError(_wrong(text, labels, f"{part!r} is not a label=share"))


def _wrong(text: str, labels: Sequence[str], why: str) -> str:
    example = ",".join(f"{label}={1 / len(labels):.2g}" for label in labels)
    return f"setting prior: {text!r}: {why}. Write it as {example}"


def divergence(labels: IntArray, prior: FloatArray) -> float:
    """KL(shares of the labels ‖ prior) in nats, of labelled items only, (m,).

    To within O(log m / m) it is minus the log-probability, an item, of these counts under
    the prior (method of types: Cover and Thomas, "Elements of Information Theory", §11.1).
    """
    if not labels.size:
        return 0.0
    shares = np.bincount(labels, minlength=prior.size) / labels.size
    return float(rel_entr(shares, prior).sum())


def with_mean(log_probs: FloatArray, prior: FloatArray) -> FloatArray:
    """Log-probabilities, (n, n_labels), shifted label by label until their mean probability
    is the prior.

    The shift is that of a changed class prior (Saerens et al., "Adjusting the outputs of a
    classifier to new a priori probabilities", Neural Computation 14, 2002), here towards a
    given one.
    """
    shift = np.zeros(prior.size)
    for _ in range(STEPS):
        probs = np.exp(log_softmax(log_probs + shift, axis=1))
        mean = probs.mean(axis=0)
        if np.abs(mean - prior).max() < TOLERANCE:
            break
        shift = _nearer(log_probs, prior, shift, probs)
    shifted: FloatArray = log_softmax(log_probs + shift, axis=1)
    return shifted


def _nearer(
    log_probs: FloatArray, prior: FloatArray, shift: FloatArray, probs: FloatArray
) -> FloatArray:
    """The lowest of some points on the convex function whose gradient is what the means are
    off: after Newton's step or a part of it, and after `log prior - log mean`, which always
    goes down."""
    mean = probs.mean(axis=0)
    curvature = np.diag(mean) - probs.T @ probs / len(probs)
    newton = -np.linalg.lstsq(curvature, mean - prior)[0]
    steps = [newton * 0.5**halved for halved in range(HALVINGS)]
    steps.append(np.log(prior) - np.log(np.maximum(mean, 1e-300)))

    def height(at: FloatArray) -> float:
        return float(logsumexp(log_probs + at, axis=1).mean() - prior @ at)

    return min((shift + step for step in steps), key=height)
