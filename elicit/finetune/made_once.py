"""Has a provider make something once, though replies get lost.

No provider documents a header for requests that may be repeated safely. So a request that
makes something is never sent again before the provider was asked whether it has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import httpx2

from elicit.cache.errors import ElicitError
from elicit.finetune.hosted import Status
from elicit.providers.faults import Fault
from elicit.providers.retry import CallFailed, Rejected
from elicit.providers.submission import LISTED_AFTER, Patience

__all__ = [
    "LISTED_AFTER",
    "Patience",
    "ended",
    "gone",
    "looked_for",
    "made_once",
    "refused_job",
]

_NEVER_HEARD = (httpx2.ConnectError, httpx2.ConnectTimeout)


def made_once(
    make: Callable[[], str],
    find: Callable[[], str | None],
    classify: Callable[[Exception], Fault | None],
    patience: Patience,
) -> str:
    """The id of what `make` makes. Where a try ended without an answer, it is looked for
    before the next.

    Args:
        make: one request.
        find: asks for what was made, at once and without trying again.

    Raises:
        Rejected: see `retrying`; nothing was made.
        CallFailed: see `retrying`. If it may have been made all the same, the error says so.
    """
    unsure = False

    def attempt() -> str:
        nonlocal unsure
        if unsure:
            found = find()
            if found is not None:
                return found
            unsure = False
        try:
            return make()
        except Exception as error:
            unsure = _may_have_made(error, classify(error))
            raise

    try:
        return patience.ask(attempt, classify)
    except (CallFailed, Rejected) as error:
        if not unsure:
            raise
        failed = str(error)
    raise CallFailed(
        f"{failed}. It may have been made all the same: the next time it is looked for first"
    )


def looked_for(
    find: Callable[[], str | None],
    patience: Patience,
    listed_after: float,
    unlisted_for: float | None = None,
) -> str | None:
    """What `find` finds. It looks twice, as what was made a moment ago may not be in a
    provider's list yet; `listed_after` is the time between, seconds, or less where it is known
    that what is looked for can be `unlisted_for` no longer than that."""
    found = find()
    waits = listed_after if unlisted_for is None else min(listed_after, unlisted_for)
    if found is None and waits > 0:
        patience.sleep(waits)
        found = find()
    return found


def gone(error: Rejected, provider: str) -> Status:
    """Where a job stands that its provider does not have any more.

    Raises:
        Rejected: the error is of another kind.
    """
    if error.status != 404:
        raise error
    return Status("failed", f"{provider} does not have the job any more")


def ended(look: Callable[[], Status], cancel: Callable[[], object]) -> Status:
    """Where a job stands once `cancel` has asked for its end; one that is over is not asked.

    Raises:
        Rejected: it is not over, and its provider refuses to end it.
    """
    now = look()
    if now.is_over:
        return now
    try:
        cancel()
    except Rejected:
        now = look()
        if now.is_over:  # it ended in between, and can't be cancelled
            return now
        raise
    return look()


def refused_job(fault: Fault, provider: str, file: str) -> Fault:
    """The fault with what may be the matter, where a job on that file was refused."""
    if fault.kind != "permanent" or fault.status not in (400, 404, 422):
        return fault
    hint = (
        f"check the settings, that {provider} tunes this model, and that the file {file} was "
        "not deleted there (a new job sends it again)"
    )
    return replace(fault, hint=hint)


def _may_have_made(error: Exception, fault: Fault | None) -> bool:
    """Whether a request that failed may have been heard."""
    if fault is None:
        return not isinstance(error, ElicitError)
    if isinstance(error, _NEVER_HEARD) or isinstance(error.__cause__, _NEVER_HEARD):
        return False
    return fault.kind != "permanent" and fault.status != 429
