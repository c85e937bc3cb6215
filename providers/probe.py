"""Finds out how a server of OpenAI's wire format can be asked: what is not known is tried.

Ways of asking are tried in order, each with a prompt whose answer is known, until one gives
a number for each label. A way that the server refuses costs nothing; the one that works
costs one short request, or two where labels may be asked for by the ids of their tokens.
"""

from __future__ import annotations

import logging
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
from elicit.providers.hosted_settings import Scorer
from elicit.providers.limits import Limiter
from elicit.providers.openai import Endpoint, open_wire
from elicit.providers.retry import CallFailed, Rejected, RetryPolicy

_log = logging.getLogger(__name__)

SHOWN = ("Ice is cold: yes\n", "Ice is hot: no\n", "Fire is cold: no\n", "Fire is hot: yes\n")
ASKED = "Snow is cold:"
LABELS = (" yes", " no")
LETTERS = (" A", " B")
"""Each is one token nearly everywhere, with the space and without."""

UNKNOWN_COUNTS: Mapping[Scorer, Sequence[int]] = {"completions": (100, 20, 5), "chat": (20, 5)}
"""Numbers of likely tokens to try, where it is not known how many a server tells."""

PATIENCE = RetryPolicy(attempts=3, first_wait=0.25, longest_wait=5.0, total=60.0)
"""A server that was never reached may not be there at all: that is told soon."""


def known_request(scorer: Scorer, labels: tuple[str, ...] = LABELS) -> ScoreRequest:
    """A question whose answer any model that copies from its context knows."""
    if scorer == "completions":
        texts = (*SHOWN, ASKED)
        return ScoreRequest(tuple(Segment.of(text) for text in texts), labels)
    labels = tuple(label.strip() for label in labels)
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
        BudgetReached: nothing more was asked.
        CallFailed: the server could not be asked.
    """
    refusals: dict[Scorer, Exception] = {}
    plain = replace(endpoint, label_token_ids=None)
    for scorer in scorers:
        for k in counts.get(scorer, (0,)):
            if scorer in counts:
                plain = replace(plain, completions_k=k, chat_k=k)
            try:
                found = _first_spelling(name, plain, scorer, client, budget)
            except Rejected as refusal:
                if refusal.status in _NO_WAY:
                    raise
                refusals[scorer] = refusal
                if refusal.status == _NOT_FOUND:
                    break
            except (ModelError, Unanswered) as refusal:
                refusals[scorer] = refusal
                break
            except CallFailed as failure:
                raise CallFailed(f"{name} could not be asked: {failure}") from None
            else:
                found = replace(found, top_k=k)
                if scorer in counts and endpoint.label_token_ids:
                    asking = replace(plain, label_token_ids=endpoint.label_token_ids)
                    return _by_token_ids(name, asking, found, client, budget)
                return found
    raise _refused(name, endpoint, refusals)


_NO_WAY = (401, 403)
"""Statuses that say no, however the model is asked."""
_NOT_FOUND = 404


def _refused(name: str, endpoint: Endpoint, refusals: Mapping[Scorer, Exception]) -> ModelError:
    told = "; ".join(f"{scorer}: {_words(why)}" for scorer, why in refusals.items())
    if all(getattr(why, "status", None) == _NOT_FOUND for why in refusals.values()):
        return ModelError(
            f"{name} is not found ({told}). Check the model's name, and the server's address "
            f"{endpoint.base_url}, which mostly ends in /v1"
        )
    return ModelError(
        f"{name} tells no label probabilities ({told}). Choose another model, or one way of "
        "asking, as in ?scorer=samples"
    )


def _words(why: Exception) -> str:
    """A server's own words. A mend is told once for all ways, and the ids of requests that
    came to nothing help nobody."""
    if isinstance(why, Rejected):
        return f"{str(why).partition(' (HTTP ')[0]} (HTTP {why.status})"
    return str(why)


def _by_token_ids(
    name: str, endpoint: Endpoint, found: Found, client: httpx2.Client, budget: Budget
) -> Found:
    """Whether labels can be asked for by the ids of their tokens as well."""
    for labels in (LABELS, LETTERS):
        try:
            if _asked(name, endpoint, found.scorer, client, budget, labels).token_ids:
                return replace(found, token_ids=True)
        except (ModelError, Unanswered) as refusal:
            _log.debug("%s: %s", name, refusal)
            break
    warning = (
        "its labels can't be asked for by the ids of their tokens (is its vLLM from before "
        f"2026-07?), so one outside the {found.top_k} likeliest gets a bound, not a number"
    )
    return replace(found, warnings=(warning,))


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
    name: str,
    endpoint: Endpoint,
    scorer: Scorer,
    client: httpx2.Client,
    budget: Budget,
    labels: tuple[str, ...] = LABELS,
) -> Found:
    """`token_ids` tells whether the labels were asked for by them, so told."""
    replies: list[httpx2.Response] = []
    request = known_request(scorer, labels)
    wire = open_wire(endpoint, scorer, client)
    provider = HostedProvider(name, wire, Limiter(max_concurrency=1), PATIENCE)
    usage = Usage()
    client.event_hooks = {"response": [replies.append]}
    try:
        for unit in provider.score([request], budget):
            usage += unit.usage
    finally:
        client.event_hooks = {"response": []}
    served = [name for reply in replies if (name := _model_of(reply))]
    return Found(
        scorer=scorer,
        revision=served[-1] if served else "",
        token_ids=bool(replies) and b"logprob_token_ids" in replies[-1].request.content,
        keeps_leading_space=endpoint.keeps_leading_space,
        characters=sum(len(segment.text) for segment in request.prompt),
        tokens=usage.prompt_tokens,
    )


def _model_of(reply: httpx2.Response) -> str:
    """What the server calls the model that answered; empty where it does not say."""
    try:
        name = reply.json()["model"]
    except (ValueError, TypeError, KeyError):
        return ""  # the wire says what is wrong with it
    return name if isinstance(name, str) else ""
