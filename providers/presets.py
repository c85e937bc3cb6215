"""Servers that speak OpenAI's protocol: what is known of each kind, and how to name one.

`together:MODEL`, `vllm:MODEL` or `vllm:URL#MODEL`, `compatible:URL#MODEL`. What the table
`presets.toml` does not know of a server is None here, and found out by asking it.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from elicit.providers.base import ModelError

Endpoint = Literal["completions", "chat"]


@dataclass(frozen=True, slots=True)
class Preset:
    """What is known of a kind of server. Fields as in `presets.toml`; None is unknown."""

    name: str
    base_url: str | None = None
    key_variable: str | None = None
    key_required: bool = False
    scorers: tuple[Endpoint, ...] = ()
    max_logprobs: int | None = None
    max_top_logprobs: int | None = None
    count_in_logprobs: bool = False
    at_once: int | None = None
    tokenize: str | None = None
    tokenize_field: str | None = None
    logprob_token_ids: bool | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Server:
    """A model and where it answers."""

    base_url: str
    """Without a slash at its end; `/completions` and the like are appended."""
    model: str
    key_variable: str | None
    preset: Preset

    @property
    def tokenize_url(self) -> str | None:
        """The tokenizer's address; None where the server is not known to have one."""
        path = self.preset.tokenize
        return None if path is None else self.base_url.removesuffix("/v1") + path


@cache
def presets() -> Mapping[str, Preset]:
    """Every kind of server by its prefix, read once."""
    text = (files("elicit.providers") / "presets.toml").read_text(encoding="utf-8")
    return {name: _preset(name, table) for name, table in tomllib.loads(text).items()}


def _preset(name: str, table: Mapping[str, Any]) -> Preset:
    lists = {key: tuple(table.get(key, ())) for key in ("scorers", "notes")}
    return Preset(name=name, **{**table, **lists})


def parse_model(prefix: str, rest: str) -> Server:
    """The server and model that `prefix:rest` names.

    Raises:
        ModelError: no such prefix, an address that can't be one or that holds a password,
            no model, or a key that would travel unencrypted; each with its mend.
    """
    preset = presets().get(prefix)
    if preset is None:
        near = difflib.get_close_matches(prefix, presets(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ModelError(
            f"{prefix}: no such kind of server{hint} (known: {', '.join(presets())})"
        )
    address, mark, model = rest.partition("#")
    # A hosted model's own name may have a '#' in it.
    named = "://" in address or preset.base_url is None or (mark and not preset.key_required)
    if not named:
        address, model = preset.base_url or "", rest
    elif not mark:
        raise ModelError(f"{prefix}: no '#' before the model; write {_form(prefix)}")
    if not model.strip():
        raise ModelError(f"{prefix}: no model is named; write {_form(prefix)}")
    url = _checked(address, preset)
    return Server(url.geturl().rstrip("/"), model.strip(), preset.key_variable, preset)


def _form(prefix: str) -> str:
    example = presets()[prefix].base_url or "https://HOST/v1"
    return f"{prefix}:{example}#MODEL"


def _checked(address: str, preset: Preset) -> SplitResult:
    """The address in parts. No error repeats it whole: it might hold a password."""
    prefix, form = preset.name, _form(preset.name)
    if "://" not in address:
        raise ModelError(f"{prefix}: the address needs http:// or https://; write {form}")
    try:
        url = urlsplit(address)
        host, _ = url.hostname, url.port
    except ValueError as error:
        raise ModelError(f"{prefix}: that is no address; write {form}") from error
    if "@" in url.netloc:
        way = (
            f"set {preset.key_variable} to the key"
            if preset.key_variable
            else f"use compatible:... and set {presets()['compatible'].key_variable} to the key"
        )
        raise ModelError(f"{prefix}: an address must hold no user or password; {way}")
    if url.scheme not in ("http", "https"):
        raise ModelError(f"{prefix}: {url.scheme}:// is not http:// or https://; write {form}")
    if not host:
        raise ModelError(f"{prefix}: the address names no host; write {form}")
    if url.query or url.path == "":
        raise ModelError(
            f"{prefix}: the address must end with a path and no query, mostly with /v1; "
            f"write {url.scheme}://{url.netloc}/v1#MODEL"
        )
    keyed = preset.key_variable is not None and os.environ.get(preset.key_variable)
    if url.scheme == "http" and keyed and not is_loopback(host):
        raise ModelError(
            f"{prefix}: http://{url.netloc} would get the key in {preset.key_variable} "
            f"unencrypted; use https://, or unset {preset.key_variable}"
        )
    return url


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by a name or address that always means it."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
