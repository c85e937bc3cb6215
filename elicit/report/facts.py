"""What a report shows of a run: plain values, gathered before anything is drawn.

Nothing here computes. A page and the plots read the same values, so they can't differ.
"""

from __future__ import annotations

from dataclasses import dataclass

from elicit.evaluation import Evaluation
from elicit.verdict import Finding

MISSING = -1
"""In a list of label numbers: no label (abstained, not labelled yet, or no gold)."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of the run. `default` is whether it has the value that it has unasked."""

    name: str
    value: str
    default: bool


@dataclass(frozen=True, slots=True)
class Curve:
    """A chain's search, a value for each iteration; all lists have one length."""

    iterations: tuple[int, ...]
    objective: tuple[float, ...]
    """U."""
    inconsistency: tuple[int, ...]
    """Inconsistent pairs."""
    temperature: tuple[float, ...]
    """0 throughout where a method has none."""
    accepted: tuple[bool | None, ...]
    """Whether the proposal was taken; None where none was decided."""
    changed: tuple[int | None, ...]
    """Labels that changed, first labels included; None where it was not kept."""


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """One chain: its search and what it found. Without a result, as it stands."""

    objective: float
    inconsistency: int
    shares: tuple[float, ...]
    """Of its labels, in the order of the label names, 0 to 1."""
    answered: bool
    """Whether the run's answer is this chain's (the mixture of several is none's)."""
    curve: Curve


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """One item."""

    id: str
    group: str | None
    text: str
    """As the prompt has it; the beginning alone where it was too long to be kept whole."""
    characters: int
    """Of the whole text."""
    label: int
    """An index into the label names, or `MISSING`."""
    probability: float | None
    """Of its label, given the labels of the others, 0 to 1; None while unknown."""
    log_odds: float | None
    """Its label against the best other, nats; None while unknown."""
    flips: int | None
    """Times that its label changed from one to another, over all chains; None of a run made
    before this was kept."""
    inconsistent: bool
    """Whether it is part of an inconsistency that is left."""
    votes: tuple[int, ...]
    """Chains that gave each label, in the order of the label names."""
    gold: int
    """`MISSING` where there is none, or none is shown."""


@dataclass(frozen=True, slots=True)
class Context:
    """The demonstrations of a prompt: the first `upto` items of a sequence, less one."""

    sequence: int
    """An index into `Prompts.sequences`."""
    upto: int
    without: int | None
    """Number of the item that is left out."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """All prompts that the final labels were read from, each piece kept once.

    The prompt of item i in context c is `opening`, then for each demonstration j its text,
    `verbalizers[labels[j]]` and `separator`, then the text of i. In `turns` a demonstration
    is a question and an answer of a conversation, and there is no separator.
    """

    writing: str
    """`text`, `block` or `turns`."""
    opening: str
    verbalizers: tuple[str, ...]
    separator: str
    labels: tuple[int, ...]
    """The label of each item as a demonstration; `MISSING` where it is none."""
    sequences: tuple[tuple[int, ...], ...]
    """Item numbers in the order in which they are shown."""
    contexts: tuple[Context, ...]
    of_item: tuple[tuple[int, ...], ...]
    """For each item the contexts that it was asked in."""


@dataclass(frozen=True, slots=True)
class Gold:
    """How the labels compare with gold ones, read after the search was over."""

    source: str
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class DiagnosisFacts:
    """What `elicit diagnose` last said of this task and model."""

    verdict: str
    findings: tuple[Finding, ...]
    when: float
    """Unix time, seconds."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run, finished or not."""

    name: str
    task: str
    task_path: str
    """As `elicit run` takes it; empty for a task made in Python."""
    model: str
    method: str
    seed: int
    status: str
    created: float
    updated: float
    """Unix times, seconds."""
    version: str
    """Of elicit, that made the report."""
    label_names: tuple[str, ...]
    settings: tuple[Setting, ...]
    command: str
    """That makes the run again."""
    chains: tuple[ChainFacts, ...]
    """Those that have begun; a run that is done has all of them."""
    planned_chains: int
    """How many the run is to have."""
    agreement: float | None
    """Mean share of items on which two chains agree, by names, 0 to 1; None for one chain."""
    agreement_up_to_names: float | None
    objective: float | None
    inconsistency: int | None
    mean_coverage: float | None
    bounded_share: float | None
    usage: dict[str, float]
    """Totals of the run over all processes that worked on it, up to the last checkpoint of one
    that still does or that was killed; see `providers.base.Usage`."""
    usage_known: bool
    """False while nothing of it has been told: before the first checkpoint."""
    findings: tuple[Finding, ...]
    """What can be said of the labels from the run alone."""
    diagnosis: DiagnosisFacts | None
    items: tuple[ItemFacts, ...]
    prompts: Prompts | None
    """None where they can't be told: the reason stands in `prompts_missing`."""
    prompts_missing: str
    gold: Gold | None
    gold_missing: str
    """Why there is no gold; empty where there is."""


@dataclass(frozen=True, slots=True)
class RunPair:
    """How two runs compare on the items that both labelled."""

    first: str
    second: str
    both: int
    """Items labelled in both."""
    agreement: float | None
    """Share of them with the same label name, 0 to 1."""
    agreement_up_to_names: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs side by side, over the items that any of them has, told apart by id."""

    runs: tuple[RunFacts, ...]
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    labels: tuple[tuple[str | None, ...], ...]
    """[run][item] → its label's name; None where there is none."""
    differing: int
    """Items labelled by two runs or more on which not all of these agree."""
    pairs: tuple[RunPair, ...]
