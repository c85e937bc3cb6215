"""Models that other packages bring, through the entry-point group `elicit.providers`.

What a plugin does is checked, since nobody here has read it: a score of the wrong shape would
be stored, and taken for good by every run after it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.metadata import EntryPoint, entry_points

from elicit.cache.errors import ElicitError
from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Halted,
    Identity,
    ModelError,
    Provider,
    ProviderError,
    ScoredUnit,
    ScoreRequest,
    Scoring,
)

GROUP = "elicit.providers"
_PARTS = ("name", "identity", "capabilities", "score", "count_tokens", "close")


def plugin_prefixes() -> tuple[str, ...]:
    """The prefixes that installed packages answer to."""
    return tuple(sorted(entry_points(group=GROUP).names))


def open_plugin(prefix: str, rest: str) -> Provider | None:
    """The provider of `prefix:rest` that an installed package brings; None where none does.

    Raises:
        ModelError: several packages answer to the prefix, or the one can't open the model.
    """
    points = list(entry_points(group=GROUP, name=prefix))
    if not points:
        return None
    if len(points) > 1:
        sources = " and ".join(sorted(_source(point) for point in points))
        raise ModelError(f"{prefix}: {sources} both answer to it; uninstall one")
    source = _source(points[0])
    try:
        provider = points[0].load()(rest)
    except ElicitError:
        raise
    except Exception as error:  # it may raise anything
        raise ModelError(
            f"{prefix}:{rest} can't be opened by {source}: {_words(error)}"
        ) from error
    missing = [part for part in _PARTS if not hasattr(provider, part)]
    if missing:
        raise ModelError(
            f"{prefix}: what {source} opened is no provider: it has no {', '.join(missing)}"
        )
    return _Checked(provider, source)


class _Checked:
    """A plugin's provider, its scores checked before anything sees them."""

    def __init__(self, provider: Provider, source: str) -> None:
        self._provider = provider
        self._source = source

    @property
    def name(self) -> str:
        return self._provider.name

    @property
    def identity(self) -> Identity:
        return self._provider.identity

    @property
    def capabilities(self) -> Capabilities:
        return self._provider.capabilities

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        with self._blamed():
            return self._provider.count_tokens(requests)

    def close(self) -> None:
        self._provider.close()

    def score(self, requests: Sequence[ScoreRequest], budget: Budget = UNBOUNDED) -> Scoring:
        """As `Provider.score`; whatever the plugin raises that is no `ElicitError` becomes a
        `ProviderError` that names it, and so does a score that is not what was asked for."""
        answered: set[int] = set()
        with self._blamed():
            units = self._provider.score(requests, budget)
        if not isinstance(units, Generator):
            raise ProviderError(
                f"{self._source}: score() gave {type(units).__name__}, not a generator"
            )
        halted: Halted | None = None
        with closing(units):
            while True:
                with self._blamed():
                    unit = _next(units, halted)
                    if unit is not None:
                        self._check(unit, requests, answered)
                if unit is None:
                    return
                halted = None
                try:
                    yield unit
                except Halted as told:
                    halted = told

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except (ElicitError, Halted):
            raise
        except Exception as error:  # it may raise anything
            raise ProviderError(
                f"{self._source} failed while {self.name} was asked: {_words(error)}"
            ) from error

    def _check(
        self, unit: ScoredUnit, requests: Sequence[ScoreRequest], answered: set[int]
    ) -> None:
        for index, scores in unit.scores:
            if not 0 <= index < len(requests) or index in answered:
                raise ProviderError(
                    f"{self._source} answered request {index!r}, which is none of the "
                    f"{len(requests)} that are open"
                )
            wanted = len(requests[index].labels)
            if len(scores.log_probs) != wanted:
                raise ProviderError(
                    f"{self._source} gave {len(scores.log_probs)} log-probabilities for "
                    f"{wanted} labels"
                )
            answered.add(index)


def _next(units: Scoring, halted: Halted | None) -> ScoredUnit | None:
    """None at the end."""
    try:
        return next(units) if halted is None else units.throw(halted)
    except StopIteration:
        return None


def _source(point: EntryPoint) -> str:
    return f"the package {point.dist.name}" if point.dist else f"the plugin {point.value}"


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
