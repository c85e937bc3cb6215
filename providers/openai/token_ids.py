"""Which token is a label? The server's tokenizer is asked, once a text."""

from __future__ import annotations

import threading
from typing import Protocol

import httpx2

from elicit.providers.base import UNBOUNDED, Budget, ModelError, Usage
from elicit.providers.faults import fault_of_status
from elicit.providers.garbled import Garbled

BEFORE = "\n"
"""What a text is put behind. Some tokenizers add a space to a text's beginning, which is not
what the model reads in the middle of a prompt; and none joins a line break to a word."""

_ONE = Usage(calls=1)


class TokenLookup(Protocol):
    """Tells the ids of texts that are one token."""

    def get(self, text: str, /) -> int | None: ...


class TokenIds:
    """A `TokenLookup` that asks the server. Threads may share it.

    Args:
        client: may reach the server, and knows the key.
        url: the tokenizer's address.
        field: what its request calls the text.
        budget: asked before each request, since these count as requests too.
    """

    def __init__(
        self,
        client: httpx2.Client,
        url: str,
        model: str,
        field: str = "prompt",
        budget: Budget = UNBOUNDED,
    ) -> None:
        self._client = client
        self._url = url
        self._model = model
        self._field = field
        self._budget = budget
        self._tokens: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    def get(self, text: str, /) -> int | None:
        """The id of the one token that a text is inside a longer one; None where it is
        several, or can't be sent.

        Raises:
            Garbled: the server gave no answer that can be used, and may the next time.
            ModelError: it has no such tokenizer.
            BudgetReached: nothing was asked.
            httpx2.TransportError: it could not be reached.
        """
        try:
            text.encode()
        except UnicodeEncodeError:
            return None  # half of a surrogate pair
        with self._lock:
            before, whole = self._of(BEFORE), self._of(BEFORE + text)
        begins = whole[: len(before)] == before
        return whole[-1] if begins and len(whole) == len(before) + 1 else None

    def _of(self, text: str) -> list[int]:
        if text not in self._tokens:
            self._budget.reserve(_ONE)
            try:
                self._tokens[text] = self._asked(text)
            finally:
                self._budget.settle(_ONE, _ONE)
        return self._tokens[text]

    def _asked(self, text: str) -> list[int]:
        body = {"model": self._model, self._field: text, "add_special_tokens": False}
        reply = self._client.post(self._url, json=body)
        if reply.is_error:
            words = f"{self._url} tells no token ids (HTTP {reply.status_code})"
            fault = fault_of_status(reply.status_code, None, None, words, dict(reply.headers))
            if fault.kind == "permanent":
                raise ModelError(f"{words}; {_NONE_THERE}")
            raise Garbled(words, dict(reply.headers))
        try:
            told = reply.json()
        except (ValueError, RecursionError) as error:
            words = f"{self._url} answers with no JSON"
            raise Garbled(words, dict(reply.headers), _NONE_THERE) from error
        tokens = told.get("tokens") if isinstance(told, dict) else None
        if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
            raise ModelError(f"{self._url} answers without token ids; {_NONE_THERE}")
        return tokens


_NONE_THERE = "set ?token_ids=false if the server has no tokenizer there"
