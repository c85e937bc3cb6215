"""How the temperature falls (arXiv 2506.10139, Algorithm 1)."""

from __future__ import annotations

import math


def temperature(iteration: int, *, initial: float, minimum: float, cooling: float) -> float:
    """`max(minimum, initial / (1 + cooling · ln n))` for iteration n ≥ 1."""
    return max(minimum, initial / (1.0 + cooling * math.log(iteration)))


def accepts(delta: float, temperature: float, draw: float) -> bool:
    """Metropolis: a gain always, a loss with probability exp(delta / temperature).

    `draw` is uniform on [0, 1) and is drawn by the caller in every case, so that the
    sequence of draws does not depend on the outcome.
    """
    return delta > 0 or draw < math.exp(delta / temperature)
