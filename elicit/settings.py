"""Every setting of a run in one frozen object, and where each value came from.

Flags win over the task file's `[run]` table, that over `ELICIT_*` variables, those over
the defaults. An unknown or unusable setting is an error, never ignored.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args, get_type_hints

import numpy as np

from elicit.cache.errors import InputError
from elicit.constraints import Rules
from elicit.objective import Measure, Objective
from elicit.predictability import Folds, LeaveOneOut, Predictability, Prequential
from elicit.prior import parse_prior
from elicit.prompt import Writing
from elicit.providers.base import Form, PromptTooLong
from elicit.scorer import Scorer
from elicit.search.bootstrap import BootstrapSettings
from elicit.search.icm import ICMSettings
from elicit.search.methods import MethodSettings

Kind = Literal["folds", "loo", "prequential"]
Method = Literal["icm", "bootstrap"]
Combine = Literal["best", "mixture"]


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What decides a run's result, beside task and model."""

    method: Method = "bootstrap"
    seed: int = 0
    chains: int = 1
    predictability: Kind = "folds"
    folds: int = 2
    orders: int = 2
    """Orders that `prequential` is averaged over."""
    demonstrations: str = "all"
    """`all`, `fit` (as many as the model's context holds), or a number a prompt at most."""
    chat_form: Literal["block", "turns"] = "block"
    """How a chat model is shown demonstrations: in one message with the item, which takes the
    fewest tokens, or as turns of a conversation."""
    alpha: float = 50.0
    """α: weight of predictability against one inconsistent pair."""
    measure: Measure = "mean_log_prob"
    prior: str = ""
    """Expected shares of the labels, as `False=0.9,True=0.1`; none are expected by default."""
    pool: int = 0
    """Search so many items, drawn by seed with all that they are related to, and label the
    others from them; 0 stands for all."""
    combine: Combine = "best"
    """The labels of the chain with the best objective, or of the mean of all chains."""
    abstain: float = 0.0
    """Share of the items, the least certain ones, that are left unlabelled."""
    icm: ICMSettings = field(default_factory=ICMSettings)
    bootstrap: BootstrapSettings = field(default_factory=BootstrapSettings)

    @property
    def search(self) -> MethodSettings:
        """The settings of the method."""
        return self.bootstrap if self.method == "bootstrap" else self.icm

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise InputError(f"setting seed: must be from 0 to 2^63 - 1, not {self.seed}")
        if self.chains < 1:
            raise InputError(f"setting chains: must be at least 1, not {self.chains}")
        for name, least in (("folds", 2), ("orders", 1), ("pool", 0)):
            if getattr(self, name) < least:
                raise InputError(
                    f"setting {name}: must be at least {least}, not {getattr(self, name)}"
                )
        if not 0 < self.alpha < float("inf"):
            raise InputError(f"setting alpha: must be a positive number, not {self.alpha}")
        if not 0 <= self.abstain < 1:
            raise InputError(
                f"setting abstain: must be a share from 0 to below 1, not {self.abstain}"
            )
        if self.demonstrations not in ("all", "fit") and not (
            self.demonstrations.isdecimal() and int(self.demonstrations) > 0
        ):
            raise InputError(
                f'setting demonstrations: must be "all", "fit" or a number above 0, '
                f"not {self.demonstrations!r}"
            )

    def objective_for(
        self, scorer: Scorer, rules: Rules, rng: np.random.Generator
    ) -> Objective:
        """The objective these settings name. See `predictability_for`."""
        return Objective(
            rules,
            self.predictability_for(scorer, rng),
            self.alpha,
            self.measure,
            parse_prior(self.prior, scorer.rendered.labels),
        )

    def predictability_for(self, scorer: Scorer, rng: np.random.Generator) -> Predictability:
        """The measure these settings name; which demonstrations are shown is drawn by seed."""
        return self.predictability_of(scorer.n_items, self.limit_for(scorer), rng)

    def predictability_of(
        self, n_items: int, limit: int | None, rng: np.random.Generator
    ) -> Predictability:
        """The same where it is known how many demonstrations a prompt shows at most."""
        if self.predictability == "prequential":
            others = (self.orders - 1) // 2
            ranks = [rng.permutation(n_items) for _ in range(others)]
            return Prequential(self.orders, np.array(ranks) if ranks else None, limit)
        rank = None if limit is None else rng.permutation(n_items)
        if self.predictability == "loo":
            return LeaveOneOut(rank, limit)
        return Folds(self.folds, rank, limit)

    def writing_for(self, form: Form) -> Writing:
        """How prompts are written for a model that wants this form."""
        return "text" if form == "text" else self.chat_form

    def limit_for(self, scorer: Scorer) -> int | None:
        """Demonstrations that a prompt shows at most; None for all.

        Raises:
            InputError: they are to fit a context that is not known, or not one fits.
        """
        if self.demonstrations == "all":
            return None
        if self.demonstrations != "fit":
            return int(self.demonstrations)
        context = scorer.provider.capabilities.context_tokens
        question, demonstration = scorer.longest_tokens()
        if context is None or question is None or demonstration is None:
            raise InputError(
                'setting demonstrations: "fit" needs a model whose context and tokeniser are '
                "known; give a number instead"
            )
        limit = (context - question) // demonstration
        if limit < 1:
            raise PromptTooLong(
                f"not even one demonstration fits: the longest item has {question:,} tokens, "
                f"the longest demonstration {demonstration:,}, the context {context:,}"
            )
        return limit

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings, and for each name where its value came from."""

    settings: RunSettings
    origins: Mapping[str, str]


_METHODS: Mapping[str, type[MethodSettings]] = {
    "icm": ICMSettings,
    "bootstrap": BootstrapSettings,
}


def setting_types() -> dict[str, Any]:
    """Name → type of every setting, those of all methods among them."""
    types: dict[str, Any] = {}
    for kind in (*_METHODS.values(), RunSettings):
        hints = get_type_hints(kind)
        types |= {f.name: hints[f.name] for f in fields(kind) if f.name not in _METHODS}
    return types


def resolve(*layers: tuple[str, Mapping[str, object]]) -> Resolved:
    """Join layers of settings, the strongest first, each with the name of its origin.

    Raises:
        InputError: a setting is unknown or its value unusable; names the origin.
    """
    known = setting_types()
    values: dict[str, object] = {}
    origins = dict.fromkeys(known, "default")
    strength = dict.fromkeys(known, 0)
    for number, (origin, layer) in enumerate(reversed(layers), 1):
        for name, value in layer.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                mend = (
                    f"did you mean {near[0]}?"
                    if near
                    else "`elicit run TASK --show-settings` lists them"
                )
                raise InputError(f"{origin}: unknown setting {name!r}; {mend}")
            values[name] = _parsed(name, value, known[name], origin)
            origins[name] = origin
            strength[name] = number
    method = str(values.get("method", RunSettings().method))
    of_run = {f.name for f in fields(RunSettings)}
    of_method = {f.name for f in fields(_METHODS[method])}
    for name in sorted(values.keys() - of_run - of_method):
        if strength[name] < strength["method"]:
            continue  # whoever chose the method knew of it and wants another
        owner = _method_of(name)
        raise InputError(
            f"{origins[name]}: setting {name} is not one of the method {method}, which has "
            f"{', '.join(sorted(of_method))}; it is one of {owner}: give --method "
            f'{owner} (method = "{owner}")'
        )
    chosen: dict[str, Any] = {k: v for k, v in values.items() if k in of_method}
    own: dict[str, Any] = {k: v for k, v in values.items() if k in of_run}
    own[method] = _METHODS[method](**chosen)
    return Resolved(RunSettings(**own), origins)


def _method_of(name: str) -> str:
    """The first method that has a setting of this name."""
    return next(m for m, kind in _METHODS.items() if name in {f.name for f in fields(kind)})


def settings_from(data: Mapping[str, Any]) -> RunSettings:
    """Settings as `as_dict` gave them; those that came later have their defaults."""
    methods = {name: kind(**data.get(name, {})) for name, kind in _METHODS.items()}
    return RunSettings(**{**data, **methods})


def _parsed(name: str, value: object, kind: Any, origin: str) -> object:
    if kind is bool:
        if isinstance(value, bool):
            return value
        if value not in ("true", "false"):
            raise InputError(f"{origin}: setting {name}: must be true or false, not {value!r}")
        return value == "true"
    choices = get_args(kind)
    if choices:
        if value not in choices:
            raise InputError(
                f"{origin}: setting {name}: {value!r} is not one of {', '.join(choices)}"
            )
        return value
    try:
        if isinstance(value, bool) or (kind is int and isinstance(value, float)):
            raise ValueError(value)
        parsed: object = kind(value)
    except (TypeError, ValueError) as error:
        article = "a whole number" if kind is int else "a number"
        raise InputError(
            f"{origin}: setting {name}: must be {article}, not {value!r}"
        ) from error
    return parsed


__all__ = ["Measure", "Resolved", "RunSettings", "resolve", "setting_types", "settings_from"]
