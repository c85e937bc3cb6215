"""Handles of llama.cpp: a loaded model and its contexts, freed in the right order.

All ctypes are here and in `context`. Nothing above these files knows a pointer.
"""

from __future__ import annotations

import atexit
import ctypes
import weakref
from pathlib import Path

import llama_cpp as c

from elicit.providers.base import ModelError, ProviderError
from elicit.providers.llama_cpp.complaints import complaint, complaints, listen
from elicit.providers.llama_cpp.content_hash import ADAPTER_OF, content_hash
from elicit.providers.llama_cpp.context import LlamaContext
from elicit.providers.llama_cpp.control import ControlToken
from elicit.providers.llama_cpp.settings import LlamaSettings, has_amx

_WHOLE = ("F32", "F16", "BF16")
"""Number types of models that are not quantised."""


class LlamaModel:
    """A GGUF model, and the contexts that decode with it. Not thread-safe.

    With `vocabulary_only` it has no weights, which take memory, and can't decode.
    """

    def __init__(
        self,
        path: Path,
        settings: LlamaSettings,
        adapter: Path | None,
        *,
        vocabulary_only: bool = False,
    ) -> None:
        check_gguf(path)
        listen()
        c.llama_backend_init()
        self._settings = settings
        self._contexts: list[LlamaContext] = []
        self._adapter: object | None = None
        self._model: object | None = (
            _vocabulary(path) if vocabulary_only else _loaded(path, settings)
        )
        _open_models.add(self)
        self._vocab = c.llama_model_get_vocab(self._model)
        self.n_vocab = int(c.llama_vocab_n_tokens(self._vocab))
        # Of the file, as llama.cpp does not read it without the weights.
        architecture = self._meta("general.architecture")
        self.trained_context = int(self._meta(f"{architecture}.context_length") or 0)
        self.bos = (
            int(c.llama_vocab_bos(self._vocab))
            if c.llama_vocab_get_add_bos(self._vocab)
            else None
        )
        if adapter is not None:
            check_gguf(adapter)
            self._adapter = c.llama_adapter_lora_init(self._model, str(adapter).encode())
            if not self._adapter:
                self.close()
                raise ModelError(f"{adapter}: not an adapter of {path}: {complaint()}")
            if self._adapter_of() not in ("", content_hash(path)):
                self.close()
                raise ModelError(
                    f"{adapter}: was made for another model than {path}, or that file has "
                    "changed since; tune this one (elicit finetune)"
                )

    def close(self) -> None:
        """Free the contexts, then the model. A second call does nothing."""
        while self._contexts:
            self._contexts.pop().close()
        if self._model:
            c.llama_model_free(self._model)
            self._model = None
        _open_models.discard(self)

    def _adapter_of(self) -> str:
        """The hash of the model that the adapter was made for; empty where it does not say."""
        buffer = ctypes.create_string_buffer(65)
        length = c.llama_adapter_meta_val_str(
            self._adapter, ADAPTER_OF.encode(), buffer, len(buffer)
        )
        return "" if length < 0 else buffer.value.decode("ascii", "replace")

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, without BOS; control tokens written in it stay text."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 2
        buffer = (c.llama_token * room)()
        n = c.llama_tokenize(self._vocab, data, len(data), buffer, room, False, False)
        if n < 0:
            raise ProviderError(f"llama.cpp can't tokenise a text of {len(data):,} bytes")
        return list(buffer[:n])

    def control_tokens(self) -> tuple[ControlToken, ...]:
        """See `control_tokens`."""
        return control_tokens(self._vocab)

    def bos_and_eos(self) -> tuple[str, str]:
        """How the tokens that begin and end a text are spelled; empty where there is none."""
        tokens = c.llama_vocab_bos(self._vocab), c.llama_vocab_eos(self._vocab)
        bos, eos = (_spelling(self._vocab, int(t)) if t >= 0 else "" for t in tokens)
        return bos, eos

    def chat_template(self) -> str | None:
        """The file's own, as it stands in it; None where there is none.

        `llama_model_chat_template` also gives names of templates that no file has.
        """
        return self._meta("tokenizer.chat_template")

    def _meta(self, key: str) -> str | None:
        """What the file says under a key, as text."""
        length = c.llama_model_meta_val_str(self._model, key.encode(), None, 0)
        if length < 0:
            return None
        buffer = ctypes.create_string_buffer(length + 1)
        c.llama_model_meta_val_str(self._model, key.encode(), buffer, length + 1)
        return buffer.value.decode("utf-8", "replace")

    def context(self) -> LlamaContext:
        """A memory of its own to decode in. It is freed with the model, if not before."""
        made = LlamaContext(self._model, self.n_vocab, self._settings, self._adapter)
        self._contexts.append(made)
        return made


def control_tokens(vocab: object) -> tuple[ControlToken, ...]:
    """The tokens of a `llama_vocab` that llama.cpp finds in a text only where it is told to
    parse special ones."""
    control = c.LLAMA_TOKEN_ATTR_CONTROL | c.LLAMA_TOKEN_ATTR_UNKNOWN
    found = []
    for token in range(c.llama_vocab_n_tokens(vocab)):
        kind = int(c.llama_vocab_get_attr(vocab, token))
        if kind & control:
            left = bool(kind & c.LLAMA_TOKEN_ATTR_LSTRIP)
            right = bool(kind & c.LLAMA_TOKEN_ATTR_RSTRIP)
            found.append(ControlToken(token, _spelling(vocab, token), left, right))
    return tuple(found)


def _loaded(path: Path, settings: LlamaSettings) -> object:
    params = c.llama_model_default_params()
    params.n_gpu_layers = settings.gpu_layers
    params.use_extra_bufts = not has_amx()
    model = _load(path, params)
    if not params.use_extra_bufts and _description(model).split()[-1] in _WHOLE:
        # Mapped and not yet repacked, it cost next to nothing.
        c.llama_model_free(model)
        params.use_extra_bufts = True
        model = _load(path, params)
    return model


def _vocabulary(path: Path) -> object:
    params = c.llama_model_default_params()
    params.vocab_only = True
    return _load(path, params)


def _load(path: Path, params: object) -> object:
    complaints.clear()
    model: object = c.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        raise ModelError(f"{path}: llama.cpp can't load it: {complaint()}")
    return model


def _description(model: object) -> str:
    """Its architecture, size and number type: `llama 1B Q8_0`."""
    buffer = ctypes.create_string_buffer(256)
    c.llama_model_desc(model, buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace")


def _spelling(vocab: object, token: int) -> str:
    spelled: bytes = c.llama_vocab_get_text(vocab, token)
    return spelled.decode("utf-8", "replace")


def check_gguf(path: Path) -> None:
    """Refuse what is plainly not a GGUF file, in words.

    Raises:
        ModelError: names the file and what is wrong.
    """
    if path.is_dir():
        raise ModelError(f"{path}: is a folder; name a .gguf file")
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: there is no such model file") from error
    except OSError as error:
        raise ModelError(f"{path}: can't be read: {error.strerror}") from error
    if not head:
        raise ModelError(f"{path}: is empty; fetch the model again")
    if head[:4] != b"GGUF":
        raise ModelError(f"{path}: is not a GGUF file (it begins with {head[:4]!r})")
    if len(head) < 24:
        raise ModelError(f"{path}: ends inside its header; fetch the model again")


# llama.cpp crashes if a model outlives the library's own tear-down.
_open_models: weakref.WeakSet[LlamaModel] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for model in list(_open_models):
        model.close()
