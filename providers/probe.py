"""Finds out how a server of OpenAI's wire format can be asked: what is not known is tried.

Ways of asking are tried in order, each with a prompt whose answer is known, until one gives
a number for each label. A way that the server refuses costs nothing; the one that works
costs one short request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import httpx2

from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    ModelError,
    ScoreRequest,
    Segment,
    Usage,
)
from elicit.providers.found import Found
from elicit.providers.hosted import HostedProvider, Unanswered
from elicit.providers.limits import Limiter
from elicit.providers.openai import Endpoint, Scorer, open_wire
from elicit.providers.retry import Rejected, RetryPolicy

SHOWN = ("Ice is cold: yes\n", "Ice is hot: no\n", "Fire is cold: no\n", "Fire is hot: yes\n")
ASKED = "Snow is cold:"
LABELS = (" yes", " no")

UNKNOWN_COUNTS: Mapping[Scorer, Sequence[int]] = {"completions": (100, 20, 5), "chat": (20, 5)}
"""Numbers of likely tokens to try, where it is not known how many a server tells."""


def known_request(scorer: Scorer) -> ScoreRequest:
    """A question whose answer any model that copies from its context knows."""
    if scorer == "completions":
        texts = (*SHOWN, ASKED)
        return ScoreRequest(tuple(Segment.of(text) for text in texts), LABELS)
    labels = tuple(label.strip() for label in LABELS)
    system = f"Say whether each claim is true. Answer with {' or '.join(labels)} only."
    shown = (Segment.of(text, "user") for text in SHOWN)
    return ScoreRequest(
        (Segment.of(system, "system"), *shown, Segment.of(ASKED, "user")), labels
    )


def probe(
    name: str,
    endpoint: Endpoint,
    client: httpx2.Client,
    scorers: Sequence[Scorer],
    counts: Mapping[Scorer, Sequence[int]],
    budget: Budget = UNBOUNDED,
) -> Found:
    """The first of the scorers by which the model tells each label's probability.

    `counts` has the numbers of likely tokens to ask for, the largest first, for each scorer
    that reads label probabilities from them.

    Raises:
        ModelError: it answers to none, or refuses the key; says what came of each.
        BudgetReached, CallFailed: the server could not be asked.
    """
    refusals: dict[str, Scorer] = {}
    for scorer in scorers:
        for k in counts.get(scorer, (0,)):
            if scorer in counts:
                endpoint = replace(endpoint, completions_k=k, chat_k=k)
            try:
                found = _first_spelling(name, endpoint, scorer, client, budget)
            except Rejected as refusal:
                if refusal.status in _NO_WAY:
                    raise
                refusals.setdefault(str(refusal), scorer)
            except (ModelError, Unanswered) as refusal:
                refusals.setdefault(str(refusal), scorer)
                break
            else:
                return replace(found, top_k=k)
    told = "; ".join(f"{scorer}: {why}" for why, scorer in refusals.items())
    raise ModelError(
        f"{name} tells no label probabilities ({told}). Choose another model, or one way of "
        "asking, as in ?scorer=samples"
    )


_NO_WAY = (401, 403)
"""Statuses that say no, however the model is asked."""


def _first_spelling(
    name: str, endpoint: Endpoint, scorer: Scorer, client: httpx2.Client, budget: Budget
) -> Found:
    """Ask as the server is taken to spell tokens: with the space they begin with, or not."""
    try:
        return _asked(name, endpoint, scorer, client, budget)
    except Unanswered:
        if scorer not in ("completions", "chat"):
            raise
        loose = replace(endpoint, keeps_leading_space=False)
        return _asked(name, loose, scorer, client, budget)


def _asked(
    name: str, endpoint: Endpoint, scorer: Scorer, client: httpx2.Client, budget: Budget
) -> Found:
    served: list[str] = []
    request = known_request(scorer)
    wire = open_wire(endpoint, scorer, client)
    one_at_a_time = Limiter(max_concurrency=1)
    provider = HostedProvider(name, wire, one_at_a_time, RetryPolicy(attempts=4))
    usage = Usage()
    client.event_hooks = {"response": [lambda response: _note_model(response, served)]}
    try:
        for unit in provider.score([request], budget):
            usage += unit.usage
    finally:
        client.event_hooks = {"response": []}
    return Found(
        scorer=scorer,
        revision=served[-1] if served else "",
        keeps_leading_space=endpoint.keeps_leading_space,
        characters=sum(len(segment.text) for segment in request.prompt),
        tokens=usage.prompt_tokens,
    )


def _note_model(response: httpx2.Response, served: list[str]) -> None:
    """What the server calls the model that answered."""
    try:
        reply = json.loads(response.read())
    except ValueError:
        return  # the wire says what is wrong with it
    if isinstance(reply, dict) and isinstance(reply.get("model"), str):
        served.append(reply["model"])
