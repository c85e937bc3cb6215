"""Finds out how a server of OpenAI's wire format can be asked: what is not known is tried.

Ways of asking are tried in order, each with a prompt whose answer is known, until one gives
a number for each label. A way that the server refuses costs nothing; the one that works
costs one short request, or two where labels may be asked for by the ids of their tokens, or
where the model thinks first and needs room to.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import httpx2

from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    ModelError,
    ScoreRequest,
    Segment,
    Usage,
)
from elicit.providers.contexts import characters
from elicit.providers.found import Found
from elicit.providers.hosted import HostedProvider, Unanswered
from elicit.providers.hosted_settings import Scorer
from elicit.providers.limits import Limiter
from elicit.providers.openai import Endpoint, open_wire
from elicit.providers.openai.token_ids import TokenLookup
from elicit.providers.retry import CallFailed, Rejected, RetryPolicy

_log = logging.getLogger(__name__)

SHOWN = ("Ice is cold: yes\n", "Ice is hot: no\n", "Fire is cold: no\n", "Fire is hot: yes\n")
ASKED = "Snow is cold:"
LABELS = (" yes", " no")
LETTERS = (" A", " B")
"""Each is one token nearly everywhere, with the space and without."""

UNKNOWN_COUNTS: Mapping[Scorer, Sequence[int]] = {"completions": (100, 20, 5), "chat": (20, 5)}
"""Numbers of likely tokens to try, where it is not known how many a server tells."""

REASONING = 4096
"""Tokens for thinking that a model which gives no answer without is given."""

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
    *,
    top_k: int = 0,
) -> Found:
    """The first of the scorers by which the model tells each label's probability.

    `counts` has the numbers of likely tokens to ask for, the largest first, for each scorer
    that reads label probabilities from them. `top_k` is the one number to ask for in their
    place, where the user has set one.

    Raises:
        ModelError: it answers to none, refuses the key, or tells fewer tokens than `top_k`;
            says what came of each way and what would work.
        BudgetReached: nothing more was asked.
        CallFailed: the server could not be asked.
    """
    refusals: dict[Scorer, Exception] = {}
    ask = _Probe(name, replace(endpoint, label_token_ids=None), client, budget)
    for scorer in scorers:
        if scorer == "samples" and top_k and refusals.keys() & counts.keys():
            raise _no_use(name, top_k, refusals)
        numbers = counts.get(scorer, (0,))
        chosen = bool(top_k) and scorer in counts
        for k in (top_k,) if chosen else numbers:
            try:
                found = ask.first_spelling(scorer, k)
            except Rejected as refusal:
                if refusal.status == _NO_KEY:
                    raise
                refusals[scorer] = refusal
                if refusal.status not in _MAY_BE_THE_NUMBER:
                    break
                if chosen:
                    ask.find_smaller(scorer, top_k, refusal)
            except (ModelError, Unanswered) as refusal:
                refusals[scorer] = refusal
                break
            except CallFailed as failure:
                raise CallFailed(f"{name} could not be asked: {failure}") from None
            else:
                if scorer in counts and endpoint.label_token_ids:
                    return ask.by_token_ids(endpoint.label_token_ids, found)
                return found
    raise _refused(name, endpoint, refusals)


_NO_KEY = 401
"""The status that says no, however the model is asked."""
_NOT_YOURS, _NOT_FOUND = 403, 404
_MAY_BE_THE_NUMBER = frozenset({400, 422})


def _refused(name: str, endpoint: Endpoint, refusals: Mapping[Scorer, Exception]) -> ModelError:
    told = _told(refusals)
    statuses = {getattr(why, "status", None) for why in refusals.values()}
    if statuses == {_NOT_FOUND}:
        return ModelError(
            f"{name} is not found ({told}). Check the model's name, and the server's address "
            f"{endpoint.base_url}, which mostly ends in /v1"
        )
    if statuses == {_NOT_YOURS}:
        key = f" in {endpoint.key_variable}" if endpoint.key_variable else ""
        return ModelError(
            f"{name} may not be used with the key{key} ({told}). Check the key's project and "
            "permissions"
        )
    another = "" if "samples" in refusals else ", or ask it by ?scorer=samples"
    return ModelError(
        f"{name} tells no label probabilities ({told}). Choose another model{another}"
    )


def _no_use(name: str, top_k: int, refusals: Mapping[Scorer, Exception]) -> ModelError:
    return ModelError(
        f"{name} tells no likeliest tokens, be it {top_k:,} or fewer ({_told(refusals)}). "
        "Leave ?top_k= out to have answers drawn, which are more calls, or choose another model"
    )


def _told(refusals: Mapping[Scorer, Exception]) -> str:
    return "; ".join(f"{scorer}: {_words(why)}" for scorer, why in refusals.items())


def _words(why: Exception) -> str:
    """A server's own words. A mend is told once for all ways; the probe's own question and
    the ids of requests that came to nothing help nobody."""
    if isinstance(why, Rejected):
        said = str(why).partition(" (HTTP ")[0].removeprefix(f"{ASKED!r}: ")
        return f"{said} (HTTP {why.status})"
    return str(why)


@dataclass(frozen=True, slots=True)
class _Probe:
    """Asks one model the known question in one way or another."""

    name: str
    endpoint: Endpoint
    client: httpx2.Client
    budget: Budget

    def first_spelling(self, scorer: Scorer, k: int) -> Found:
        """Ask as the server is taken to spell tokens: with the space they begin with, or not;
        and of a model that thinks before it answers, once more with room to."""
        plain = replace(self.endpoint, completions_k=k, chat_k=k) if k else self.endpoint
        try:
            return self._asked(plain, scorer, k)
        except _CutOff:
            roomy = replace(plain, reasoning_tokens=REASONING)
            return self._asked(roomy, scorer, k)
        except Unanswered:
            if scorer not in ("completions", "chat"):
                raise
            loose = replace(plain, keeps_leading_space=False)
            return self._asked(loose, scorer, k)

    def find_smaller(self, scorer: Scorer, refused: int, why: Rejected) -> None:
        """Look for the largest number of likely tokens that is told.

        Raises:
            ModelError: there is one, which is named.
        """
        works = 0
        while refused - works > 1:
            middle = (works + refused) // 2
            try:
                self.first_spelling(scorer, middle)
            except Rejected:
                refused = middle
            except Unanswered:
                works = middle
            else:
                works = middle
        if works:
            raise ModelError(
                f"{self.name} tells fewer likeliest tokens by {scorer} than ?top_k= asks for "
                f"({_words(why)}): {works:,} at most. Set ?top_k={works}, or leave it out"
            )

    def by_token_ids(self, lookup: TokenLookup, found: Found) -> Found:
        """Whether labels can be asked for by the ids of their tokens as well."""
        k = found.top_k
        asking = replace(self.endpoint, completions_k=k, chat_k=k, label_token_ids=lookup)
        for labels in (LABELS, LETTERS):
            try:
                if self._asked(asking, found.scorer, k, labels).token_ids:
                    return replace(found, token_ids=True)
            except (ModelError, Unanswered) as refusal:
                _log.debug("%s: %s", self.name, refusal)
                break
        warning = (
            "its labels can't be asked for by the ids of their tokens (is its vLLM from before "
            f"2026-07?), so one outside the {k} likeliest gets a bound, not a number"
        )
        return replace(found, warnings=(warning,))

    def _asked(
        self, endpoint: Endpoint, scorer: Scorer, k: int, labels: tuple[str, ...] = LABELS
    ) -> Found:
        """`token_ids` tells whether the labels were asked for by them, so told.

        Raises:
            _CutOff: the model thinks, and has been given no room to.
        """
        replies: list[httpx2.Response] = []
        request = known_request(scorer, labels)
        wire = open_wire(endpoint, scorer, self.client)
        provider = HostedProvider(self.name, wire, Limiter(max_concurrency=1), PATIENCE)
        usage = Usage()
        self.client.event_hooks = {"response": [replies.append]}
        try:
            for unit in provider.score([request], self.budget):
                usage += unit.usage
        except Unanswered as why:
            room = endpoint.reasoning_tokens
            if scorer == "samples" and not room and _ended_in_length(replies[-1]):
                raise _CutOff from why
            raise
        finally:
            self.client.event_hooks = {"response": []}
        served = [name for reply in replies if (name := _model_of(reply))]
        return Found(
            scorer=scorer,
            revision=served[-1] if served else "",
            top_k=k,
            token_ids=bool(replies) and b"logprob_token_ids" in replies[-1].request.content,
            keeps_leading_space=endpoint.keeps_leading_space,
            reasoning_tokens=endpoint.reasoning_tokens,
            characters=characters(request.prompt),
            tokens=usage.prompt_tokens,
        )


class _CutOff(Exception):
    """A drawn answer ran into its bound of tokens."""


def _ended_in_length(reply: httpx2.Response) -> bool:
    try:
        return bool(reply.json()["choices"][0]["finish_reason"] == "length")
    except (ValueError, TypeError, KeyError, IndexError):
        return False  # the wire says what is wrong with it


def _model_of(reply: httpx2.Response) -> str:
    """What the server calls the model that answered; empty where it does not say."""
    try:
        name = reply.json()["model"]
    except (ValueError, TypeError, KeyError):
        return ""  # the wire says what is wrong with it
    return name if isinstance(name, str) else ""
