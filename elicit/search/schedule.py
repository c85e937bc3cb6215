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

    Where U is known from samples, `variance` is how much more the estimate of U varies after
    the step than before it. Answers are stored, so the estimate Û(D) = U(D) + ε(D) of a
    labelling is drawn once. Under a normal error exp(Û/T) is too large on average, by the
    factor exp(v(D) / 2T²) where v is the variance of ε; so labellings that are little known
    would be visited too often, for their luck. Taking v(D) / 2T off each Û mends that: the
    weights exp(Û/T − v/2T²) are right on average, and the chain keeps detailed balance with
    them. The correction is that of Ceperley and Dewing ("The penalty method for random walks
    with uncertain energies", J. Chem. Phys. 110, 9812, 1999), there for noise that is drawn
    anew at each step; weights that are right on average and kept while a state lasts are those
    of Andrieu and Roberts ("The pseudo-marginal approach", Ann. Statist. 37, 697, 2009). Here
    they are kept for good, so the walk is right for the average run, not for each.
    """
    delta -= variance / (2.0 * temperature)
    return delta > 0 or draw < math.exp(delta / temperature)
