"""From a model's name to a provider: `prefix:rest` names who answers."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from elicit.cache.batches import Batches
from elicit.cache.findings import Findings
from elicit.cache.store import ScoreStore
from elicit.providers.base import UNBOUNDED, Budget, ModelError, Provider
from elicit.providers.plugins import open_plugin, plugin_prefixes
from elicit.providers.presets import presets

if TYPE_CHECKING:
    from elicit.providers.opening import Opening

Factory = Callable[[str], Provider]
"""From what follows the prefix to a provider."""


def hosted_prefixes() -> tuple[str, ...]:
    """The prefixes of hosted models."""
    return ("openai", "anthropic", *presets())


def _is_hosted(name: str) -> bool:
    return name.partition(":")[0] in hosted_prefixes()


def _llama_cpp(rest: str, name: str | None = None) -> Provider:
    try:
        from elicit.providers.llama_cpp import LlamaCppProvider, LlamaSettings
    except ImportError as error:
        raise ModelError(
            "local models need llama-cpp-python: pip install 'elicit-lm[local]'"
        ) from error
    paths, settings = _parts(rest)
    if not paths[0]:
        raise ModelError("llama-cpp: name a file, as in llama-cpp:model.gguf")
    chosen = LlamaSettings.parse(settings)
    model, *adapters = (_gguf_file(path) for path in paths)
    adapter = adapters[0] if adapters else None
    name = name or f"llama-cpp:{rest}"
    if chosen.workers == 1:
        return LlamaCppProvider(model, adapter=adapter, settings=chosen, name=name)
    from elicit.providers.ray import RayProvider

    return RayProvider(model, adapter=adapter, settings=chosen, name=name)


def _parts(rest: str) -> tuple[list[str], str]:
    """`MODEL.gguf[+ADAPTER.gguf][?SETTING=VALUE&...]` → the one or two files, the settings."""
    files, mark, settings = rest.rpartition(".gguf?")
    files = files + ".gguf" if mark else rest
    path, plus, adapter = files.partition(".gguf+")
    return ([path + ".gguf", adapter] if plus else [path]), (settings if mark else "")


def lasting_name(model: str) -> str:
    """The name by which a model is found again from another folder: its paths made whole."""
    if model.startswith("tiny+"):
        adapter, mark, settings = model.removeprefix("tiny+").rpartition(".gguf?")
        path = adapter + ".gguf" if mark else model.removeprefix("tiny+")
        return f"tiny+{_lasting(path)}" + (f"?{settings}" if mark else "")
    prefix, _, rest = model.partition(":")
    if prefix != "llama-cpp":
        return model
    paths, settings = _parts(rest)
    whole = "+".join(_lasting(path) for path in paths)
    return f"{prefix}:{whole}" + (f"?{settings}" if settings else "")


def _lasting(path: str) -> str:
    return path if path.startswith("hf:") else str(Path(path).expanduser().resolve())


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model of this machine by its name: `tiny`, `llama-cpp:FILE.gguf`, and settings."""

    name: str
    """Without settings."""
    file: Path
    settings: str
    """As they stand in the name: `chat=on`."""

    def tuned(self, adapter: Path) -> str:
        """The name of the model with an adapter on it."""
        return f"{self.name}+{adapter}" + (f"?{self.settings}" if self.settings else "")


def local_model(model: str) -> LocalModel:
    """A model of this machine that has no adapter yet.

    Raises:
        ModelError: it is another's, or has one.
    """
    if model.partition("?")[0] == "tiny":
        return LocalModel("tiny", _embedded(), model.partition("?")[2])
    prefix, _, rest = model.partition(":")
    paths, settings = _parts(rest)
    if len(paths) > 1 or model.startswith("tiny+"):
        raise ModelError(
            f"{model} is tuned already: name the model without its adapter (--model), and tune "
            "that on all the labels"
        )
    if prefix != "llama-cpp":
        raise ModelError(
            f"{model} is no model of this machine: name one (--model llama-cpp:FILE.gguf, or "
            "tiny), or tune it at its provider (--backend)"
        )
    return LocalModel(f"{prefix}:{paths[0]}", _gguf_file(paths[0]), settings)


def _gguf_file(name: str) -> Path:
    """A path, or `hf:ORG/REPO/FILE.gguf`, which is fetched once into the Hub's cache."""
    if not name.startswith("hf:"):
        return Path(name).expanduser()
    parts = name.removeprefix("hf:").split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise ModelError(f"{name}: write hf:ORG/REPO/FILE.gguf")
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HFValidationError
    except ImportError as error:
        raise ModelError(
            f"{name}: needs the huggingface_hub package: pip install 'elicit-lm[hf]'"
        ) from error
    try:
        return Path(hf_hub_download(repo_id="/".join(parts[:2]), filename=parts[2]))
    except (OSError, HFValidationError) as error:
        raise ModelError(f"{name}: {str(error).splitlines()[0]}") from error


def _tiny(rest: str) -> Provider:
    if rest and not rest.startswith(("?", "+")):
        raise ModelError(
            "the embedded model is called tiny; +ADAPTER.gguf and ?SETTING=VALUE may follow"
        )
    return _llama_cpp(f"{_embedded()}{rest}", name=f"tiny{rest}")


def _embedded() -> Path:
    return Path(str(files("elicit.organism") / "organism.gguf"))


FACTORIES: dict[str, Factory] = {"llama-cpp": _llama_cpp, "tiny": _tiny}


def open_model(
    name: str,
    findings: Findings | None = None,
    budget: Budget = UNBOUNDED,
    *,
    ask: bool = True,
    again: bool = False,
) -> Provider:
    """The provider of a model name such as `llama-cpp:model.gguf` or `openai:gpt-4.1-mini`.

    Packages add their own through the entry-point group `elicit.providers`, whose entries
    are factories.

    A hosted model that is opened for the first time is asked a short question, to find out
    how it can be asked; `findings` keeps what came of it, and the budget is asked first.
    With `ask=False` it is not: such a model is for estimates, not for scores. With `again`
    it is asked anew.

    Raises:
        ModelError: nobody answers to the name, or its model can't be opened.
    """
    prefix, _, rest = name.partition(":")
    if name.startswith(("tiny?", "tiny+")):
        prefix, rest = "tiny", name.removeprefix("tiny")
    if prefix in FACTORIES:
        return FACTORIES[prefix](rest)
    plugin = open_plugin(prefix, rest)
    if plugin is not None:
        return plugin
    if _is_hosted(name):
        with _hosted_packages():
            from elicit.providers.opening import Opening
        return _opened(prefix, rest, Opening(findings, budget, ask, again))
    prefixes = [*FACTORIES, *hosted_prefixes(), *plugin_prefixes()]
    near = difflib.get_close_matches(prefix, prefixes, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ModelError(f"unknown model {name!r}{hint} (known: {', '.join(prefixes)})")


def in_batches(provider: Provider, store: ScoreStore) -> Provider:
    """A hosted model asked through its provider's batch endpoint. What was submitted is
    recorded in the store, where any process finds it again.

    Raises:
        ModelError: it has no batch endpoint, or can't be asked so.
    """
    if not _is_hosted(provider.name):
        raise ModelError(f"{provider.name} is no hosted model; run it without --batch")
    from elicit.providers.batching import batched

    return batched(provider, Batches(store))


def tokens_per_character(name: str, findings: Findings) -> float | None:
    """What a hosted model's server counted when it was first asked; None where it was never."""
    if not _is_hosted(name):
        return None
    with _hosted_packages():
        from elicit.providers.opening import found_before
    found = found_before(name, findings)
    return found.tokens / found.characters if found and found.characters else None


def at_once(provider: Provider) -> int:
    """Requests that a model is sent at once, at most."""
    if not _is_hosted(provider.name):
        return 1
    from elicit.providers.hosted import HostedProvider

    return provider.limiter.max_concurrency if isinstance(provider, HostedProvider) else 1


def _opened(prefix: str, rest: str, opening: Opening) -> Provider:
    """A hosted model. Only the SDK that it needs is imported."""
    with _hosted_packages():
        if prefix == "anthropic":
            from elicit.providers.anthropic.opened import open_anthropic
        else:
            from elicit.providers.openai.opened import open_compatible, open_openai
    if prefix == "anthropic":
        return open_anthropic(rest, opening)
    if prefix == "openai":
        return open_openai(rest, opening)
    return open_compatible(prefix, rest, opening)


@contextmanager
def _hosted_packages() -> Iterator[None]:
    """Where what hosted models need is imported."""
    try:
        yield
    except ImportError as error:
        raise ModelError(
            f"hosted models need some packages ({error.name}): pip install 'elicit-lm[hosted]'"
        ) from error
