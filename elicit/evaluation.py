"""What an evaluation says, for whoever shows one: no gold label is reached from here."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from elicit.calibration import Point
from elicit.scorer import IntArray


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval, over n items in a number of groups."""

    value: float
    low: float
    high: float
    n: int
    groups: int

    def percent(self) -> str:
        """`92.1 % (88.4 to 95.3)`; `25.0 % (all 10 alike)` where nothing varied, which is no
        interval."""
        if self.low == self.high:
            return f"{100 * self.value:.1f} % (all {self.groups} alike)"
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"


@dataclass(frozen=True, slots=True)
class LabelMeasure:
    """How one label fares. Shares are 0 to 1; None where there is nothing to divide by."""

    label: int
    gold_share: float
    """Its share of the gold labels."""
    given_share: float
    """Its share of the labels given to items with gold."""
    precision: float | None
    recall: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How labels compare with gold.

    Abstentions count against coverage, not accuracy: but for `majority`, `answered` and the
    shares of gold labels, every figure is over the items that have a label and a gold label.
    """

    accuracy: Estimate
    balanced_accuracy: float
    """Mean recall of the labels that have one, 0 to 1."""
    majority: float
    """Accuracy of always giving the commonest gold label, 0 to 1."""
    answered: float
    """Share of the items with gold that were labelled, 0 to 1."""
    auroc: float | None
    """Of the confidence in the second of two labels; for more labels the mean over labels of
    each against the rest. None without confidences or with one label only in gold."""
    calibration_error: float | None
    """Expected calibration error over ten equally filled bins, 0 to 1."""
    brier: float | None
    """Squared error of the label probabilities summed over labels, 0 to 2."""
    log_score: float | None
    """Mean natural-log probability of the gold labels, nats; may be minus infinity."""
    aurc: float | None
    """Area under the risk-coverage curve, 0 to 1; less is better."""
    at_coverage: dict[str, Estimate]
    """Accuracy of the surest items by their share of those with gold, `"0.8"` say; a share
    beyond what was answered is missing."""
    labels: tuple[LabelMeasure, ...]
    calibration: tuple[Point, ...]
    """Confidence against accuracy."""
    risk_coverage: tuple[Point, ...]
    """Share of the items with gold against the error among these."""
    gold_items: int

    def as_dict(self) -> dict[str, object]:
        """JSON-able: a log score of minus infinity is null."""
        values = asdict(self)
        if self.log_score == -np.inf:
            values["log_score"] = None
        return values


@dataclass(frozen=True, slots=True)
class AgainstGold:
    """How a run's labels compare with gold ones, where these come from, and the gold label of
    each item of the run, (n_items,), `UNLABELLED` where there is none."""

    source: str
    evaluation: Evaluation
    gold: IntArray
