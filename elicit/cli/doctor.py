"""`elicit doctor`: ask a model questions with known answers, and say how it was asked."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from elicit.cache.findings import Findings
from elicit.cli.options import (
    AsJson,
    Cache,
    MaxCost,
    MaxRequests,
    MaxTokens,
    Model,
    limits_of,
)
from elicit.cli.output import out, print_facts, print_json
from elicit.doctor import Checkup, examine
from elicit.labelling import open_store
from elicit.providers.registry import open_model
from elicit.providers.sampled import SampledProvider
from elicit.providers.usage import Account, Meter


def doctor(
    model: Model = "tiny",
    again: Annotated[
        bool, typer.Option("--again", help="Find out anew how the model can be asked.")
    ] = False,
    max_cost: MaxCost = None,
    max_requests: MaxRequests = None,
    max_tokens: MaxTokens = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Does this model tell label probabilities? Asks questions with known answers."""
    budget = Account(limits_of(max_cost, max_requests, max_tokens))
    with open_store(cache) as store:
        opened = open_model(model, Findings(store), budget, again=again)
        with closing(opened) as provider:
            sampled = provider.capabilities.evidence == "sampled"
            told = SampledProvider(provider) if sampled else provider
            checkup = examine(Meter(told, budget, used=budget.spent))
    if as_json:
        print_json(checkup.as_dict())
        return
    print_facts(_told(checkup))
    right, asked = checkup.agreement
    if right <= asked * 3 // 4:
        out.print("It seldom knows these everyday facts: check that it fits your task.")
    if checkup.mean_coverage < 0.5:
        out.print("The labels get little of its probability: it would rather say other words.")


def _told(checkup: Checkup) -> dict[str, object]:
    right, asked = checkup.agreement
    usage = checkup.usage
    cost = None if usage.cost_usd is None else f"${usage.cost_usd:.6f}"
    return {
        "model": checkup.model,
        "path": checkup.path,
        "scores are": _EVIDENCE[checkup.evidence],
        "context": checkup.context_tokens and f"{checkup.context_tokens:,} tokens",
        "items a call": checkup.items_per_call,
        "known answers": f"{right} of {asked} right",
        "coverage": f"{checkup.mean_coverage:.3f} of the probability is on the labels",
        "bounds": f"{checkup.bounded} of {asked} answers bound a label, not measure it",
        "latency": f"{checkup.seconds:.3f} s a question asked alone (median of {asked})",
        "repeats": None
        if checkup.largest_change is None
        else f"within {checkup.largest_change:.2g} nats",
        "this took": f"{usage.calls or usage.requests} requests, {usage.spent_tokens:,} tokens",
        "cost": cost or ("its price is unknown" if usage.unpriced_calls else None),
        "identity": checkup.identity,
    }


_EVIDENCE = {
    "exact": "exact: the whole distribution",
    "top_k": "read from the likeliest tokens",
    "decision": "the model's own label probabilities",
    "sampled": "estimated from draws",
}
