"""How the temperature falls and what is accepted (arXiv 2506.10139, Algorithm 1)."""

from __future__ import annotations

import math


def temperature(iteration: int, *, initial: float, minimum: float, cooling: float) -> float:
    """`max(minimum, initial / (1 + cooling · ln n))` for iteration n ≥ 1."""
    return max(minimum, initial / (1.0 + cooling * math.log(iteration)))


def accepts(delta: float, temperature: float, draw: float, variance: float = 0.0) -> bool:
    """Metropolis: a gain always, a loss with probability exp(delta / temperature).

    `draw` is uniform on [0, 1) and is drawn by the caller in every case, so that the
    sequence of draws does not depend on the outcome.

    Where `delta` is an estimate with a normal error of this `variance`, its noise would let
    too much pass: E[exp(x)] of a normal x exceeds exp(E[x]) by half its variance in the
    exponent. So `variance / (2 · temperature)` is taken off `delta` first, which restores
    detailed balance on average (Ceperley and Dewing, "The penalty method for random walks
    with uncertain energies", J. Chem. Phys. 110, 9812, 1999). The variance is itself
    an estimate; their correction of higher order for that is not applied.
    """
    delta -= variance / (2.0 * temperature)
    return delta > 0 or draw < math.exp(delta / temperature)
