"""What a diagnosis warns of: what was seen, with its number, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from elicit.association import Association
from elicit.salience import EVIDENCE, PREDICTED, SAME, Evidence, Verdict

LOW_COVERAGE = 0.5
"""Mean probability of all labels together below which the prompt does not ask for them."""
SKEWED = 0.9
"""Share of one label from which the balance is told."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something seen. A warning speaks against the labels, a note does not."""

    code: str
    kind: Literal["warning", "note"]
    seen: str
    next: str


def findings(evidence: Evidence) -> tuple[Finding, ...]:
    """Warnings, then notes."""
    return (*_warnings(evidence), *_notes(evidence))


def verdict(evidence: Evidence) -> Verdict:
    """`not salient` where no labels were found that the model predicts better than their shares
    and than permuted labels; `salient` where nothing is warned of; else `doubtful`."""
    codes = {finding.code for finding in _warnings(evidence)}
    if codes & {"collapsed", "unpredictable", "no-better-than-permuted"}:
        return "not salient"
    if {"weakly-predicted", "chains-disagree"} <= codes:
        return "not salient"
    return "doubtful" if codes else "salient"


def told_verdict(evidence: Evidence) -> str:
    """The verdict in words, with what it rests on where that is little."""
    plain = verdict(evidence)
    if plain != "salient" or not evidence.by_few:
        return plain
    return f"{plain}, but found again by {_again(evidence)}"


def _again(e: Evidence) -> str:
    return f"only {e.again} of {len(e.others)} other chains"


def _warnings(e: Evidence) -> Iterator[Finding]:
    yield from _about_prediction(e)
    if e.others and e.reported.information.total > 0 and not e.again:
        nearest = max(chain.likeness for chain in e.others)
        yield _warning(
            "chains-disagree",
            f"None of the {len(e.others)} other chains found the reported split again: the "
            f"nearest has an adjusted Rand index of {nearest:.2f} with it ({SAME} is the same "
            "split, 0 is chance).",
            "Add constraints between items, say in the prompt what is asked, or try more "
            "--chains; do not use these labels as they are.",
        )
    large = [a for a in e.surface if a.large and a.shown]
    if large:
        yield _warning(
            "surface-feature",
            _about_features(e, large),
            "Look at the surest items below: if the labels are of this feature, take it out of "
            "the items or balance it, or add constraints that it breaks.",
        )
    if e.mean_coverage is not None and e.mean_coverage < LOW_COVERAGE:
        yield _warning(
            "low-coverage",
            f"The labels have {e.mean_coverage:.0%} of the probability that the model gives to "
            "what comes next.",
            "The prompt does not ask for these labels: mind spaces, and see what the model "
            "would say (`elicit doctor`).",
        )


def _about_features(e: Evidence, large: Sequence[Association]) -> str:
    top = large[0]
    also = f" So does {', '.join(a.feature for a in large[1:4])}." if large[1:] else ""
    what = "predicts the labels"
    if top.label is not None and len(e.label_names) > 2:
        what = f"tells {e.label_names[top.label]} from the other labels"
    return (
        f"{top.feature[0].upper()}{top.feature[1:]} alone {what} on held-out items with a "
        f"balanced accuracy of {top.accuracy:.0%} (chance {top.chance:.0%}): {top.tells}.{also}"
    )


def _about_prediction(e: Evidence) -> Iterator[Finding]:
    told = e.reported.information
    full = [chain for chain in e.chains if chain.one_label]
    names = {e.label_names[chain.shares.index(max(chain.shares))] for chain in full}
    either = " or ".join(sorted(names))
    collapsed = not told.convincing and 2 * len(full) >= len(e.chains)
    if told.items < e.least_items:
        yield _warning(
            "too-few-items",
            f"Over {told.items} items not even labels that are all surely right would be "
            f"evidence enough: {EVIDENCE:g} nats are asked for.",
            f"Take more items: at the very least {e.least_items}, as a rule several times as "
            "many.",
        )
        return
    if collapsed:
        yield _warning(
            "collapsed",
            f"{len(full)} of {len(e.chains)} chains gave one label ({either}) to nearly all "
            "items, and none found labels that are predicted well beyond their shares: the "
            f"best by {told.total:.1f} nats over {told.items} items ({EVIDENCE:g} are asked "
            "for).",
            "Give what is known of the labels: a [[constraint]], or their shares "
            "(--prior ...). If a warning remains, the model knows nothing that separates "
            "these items: ask for something else, or ask another model.",
        )
    elif told.total <= 0:
        yield _warning(
            "unpredictable",
            "No chain found labels that the model predicts better than their shares do: "
            f"the best are {abs(told.total):.1f} nats worse over {told.items} items.",
            "The model knows nothing that separates these items as asked: change the "
            "prompt, ask for something else, or ask another model.",
        )
    elif told.too_few:
        yield _warning(
            "too-few-items",
            f"The labels are predicted by {told.relative:.0%} of their entropy, but over "
            f"{told.items} items that is only {told.total:.1f} nats of evidence, and "
            f"{EVIDENCE:g} are asked for.",
            f"Take more items: {told.items_needed} would do, were all predicted as well as "
            "these.",
        )
    elif not told.convincing:
        yield _warning(
            "weakly-predicted",
            f"The labels are predicted only a little better than by their shares: by "
            f"{told.relative:.0%} of their entropy, and {PREDICTED:.0%} is asked for.",
            "Take more items, a larger model or a clearer prompt.",
        )
    if told.total > 0 and e.rank > 1:
        yield _warning(
            "no-better-than-permuted",
            f"The labels rank {e.rank} of {len(e.permuted) + 1} among "
            "themselves permuted: the model predicts others as well.",
            "The labels say nothing of the items: change the prompt or ask another model.",
        )


def _notes(e: Evidence) -> Iterator[Finding]:
    if not e.others:
        yield _note(
            "one-search",
            "One search was made, or several from the same first labels, so whether another "
            "would find the same split is not known.",
            "`elicit diagnose` starts several at random, and compares what they find.",
        )
    top = max(e.chains, key=lambda chain: chain.objective)
    if top.one_label and not e.reported.one_label and e.reported.information.convincing:
        yield _note(
            "one-label-scores-higher",
            f"A chain that gave one label to {max(top.shares):.0%} of the items has the "
            f"highest objective ({top.objective:.2f}; the reported labels have "
            f"{e.reported.objective:.2f}), and is what a run of these chains would answer.",
            "Add a [[constraint]], or say what shares the labels have (--prior ...).",
        )
    if e.by_few and e.reported.information.total > 0:
        yield _note(
            "found-again-by-few",
            f"{_again(e).capitalize()} found the reported split again: that is more "
            "than chance gives, but most searches end elsewhere.",
            "Add constraints, or try more --chains and see how many of them find it.",
        )
    rivals = [c for c in e.others if c.information.convincing and not c.same]
    if rivals:
        best = max(c.information.relative for c in rivals)
        yield _note(
            "other-splits",
            f"{len(rivals)} of {len(e.chains)} chains found another split than the reported "
            f"one, predicted up to {best:.0%} of its entropy (reported: "
            f"{e.reported.information.relative:.0%}).",
            "The items may hold two concepts: constraints choose between them, more chains "
            "find the better one more often.",
        )
    opposite = [c for c in e.others if c.same and c.swapped]
    if opposite and e.reported.information.total > 0:
        yield _note(
            "names-swapped",
            f"{len(opposite)} of the {e.again} other chains with the reported split call the "
            "labels by each other's names.",
            "The split is the model's, the names are not: look at the surest items of each "
            "label, and swap them, or start from zero-shot labels: `elicit run --method "
            "bootstrap --set start=zero_shot`.",
        )
    unseen = [a for a in e.surface if a.large and not a.shown]
    if unseen:
        yield _note(
            "unseen-feature",
            f"{_about_features(e, unseen)} The model does not see it, so the labels are not of "
            "it: the data seem to be in the order of the labels, or grouped by them.",
            "Nothing is to be done about the labels. Shuffle the items before taking the first "
            "of them (--limit).",
        )
    largest = max(e.reported.shares)
    if SKEWED <= largest < 1:
        name = e.label_names[e.reported.shares.index(largest)]
        yield _note(
            "skewed",
            f"{name} has {largest:.0%} of the items.",
            "If that is not what you expect, give the shares (--prior ...).",
        )
    unused = [n for n, s in zip(e.label_names, e.reported.shares, strict=True) if s == 0]
    if unused and e.reported.information.total > 0:
        yield _note(
            "unused-labels",
            f"No item has the label {', '.join(unused)}.",
            "If some should, give the shares (--prior ...), or reword the labels.",
        )


def _warning(code: str, seen: str, then: str) -> Finding:
    return Finding(code, "warning", seen, then)


def _note(code: str, seen: str, then: str) -> Finding:
    return Finding(code, "note", seen, then)
