"""Handles of llama.cpp: a loaded model and its context, freed in the right order.

All ctypes are here. Nothing above this file knows a pointer.
"""

from __future__ import annotations

import atexit
import ctypes
import weakref
from collections.abc import Sequence
from pathlib import Path

import llama_cpp as c
import numpy as np
from numpy.typing import NDArray

from elicit.providers.base import ModelError, ProviderError
from elicit.providers.llama_cpp.batch import BatchToken
from elicit.providers.llama_cpp.content_hash import ADAPTER_OF, content_hash
from elicit.providers.llama_cpp.control import ControlToken
from elicit.providers.llama_cpp.settings import LlamaSettings, available_cores, has_amx

_KV_TYPES = {"f16": c.GGML_TYPE_F16, "f32": c.GGML_TYPE_F32, "q8_0": c.GGML_TYPE_Q8_0}
_WHOLE = ("F32", "F16", "BF16")
"""Number types of models that are not quantised."""
_ERROR_LEVELS = (3, 4)  # ggml's warning and error
_log: list[str] = []


@c.llama_log_callback  # type: ignore[untyped-decorator]  # a ctypes function type
def _keep_log(level: int, text: bytes, _data: ctypes.c_void_p) -> None:
    """llama.cpp talks to stderr; keep its last complaints for our own errors instead."""
    if level in _ERROR_LEVELS:
        _log.append(text.decode("utf-8", "replace").strip())
        del _log[:-20]


class LlamaModel:
    """A GGUF model with one context, grown as needed. Not thread-safe."""

    def __init__(self, path: Path, settings: LlamaSettings, adapter: Path | None) -> None:
        check_gguf(path)
        c.llama_log_set(_keep_log, ctypes.c_void_p(0))
        c.llama_backend_init()
        self._settings = settings
        self._context: object | None = None
        self._adapter: object | None = None
        self._cells = 0
        self._model: object | None = _loaded(path, settings)
        _open_models.add(self)
        self._vocab = c.llama_model_get_vocab(self._model)
        self.n_vocab = int(c.llama_vocab_n_tokens(self._vocab))
        self.trained_context = int(c.llama_model_n_ctx_train(self._model))
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
                raise ModelError(f"{adapter}: not an adapter of {path}: {_complaint()}")
            if self._adapter_of() not in ("", content_hash(path)):
                self.close()
                raise ModelError(
                    f"{adapter}: was made for another model than {path}, or that file has "
                    "changed since; tune this one (elicit finetune)"
                )

    def close(self) -> None:
        """Free the context, then the model. A second call does nothing."""
        if self._context is not None:
            c.llama_free(self._context)
            self._context = None
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
        key = b"tokenizer.chat_template"
        length = c.llama_model_meta_val_str(self._model, key, None, 0)
        if length < 0:
            return None
        buffer = ctypes.create_string_buffer(length + 1)
        c.llama_model_meta_val_str(self._model, key, buffer, length + 1)
        return buffer.value.decode("utf-8", "replace")

    def reserve(self, cells: int) -> bool:
        """Make room for so many tokens at once; True if the memory was cleared for it."""
        if self._context is not None and cells <= self._cells:
            return False
        cells = max(2048, 1 << (cells - 1).bit_length())
        if self._context is not None:
            c.llama_free(self._context)
            self._context = None
        _log.clear()
        self._context = c.llama_init_from_model(self._model, self._params(cells))
        if not self._context:
            self._context = None
            raise ModelError(
                f"no memory for a context of {cells:,} tokens: {_complaint()}. Show fewer "
                'demonstrations (demonstrations = "fit" with a smaller n_ctx, or a number).'
            )
        self._cells = cells
        if self._adapter is not None:
            adapters = (c.llama_adapter_lora_p_ctypes * 1)(self._adapter)
            scales = (ctypes.c_float * 1)(1.0)
            c.llama_set_adapters_lora(self._context, adapters, 1, scales)
        return True

    def _params(self, cells: int) -> object:
        s = self._settings
        threads = s.threads or available_cores()
        params = c.llama_context_default_params()
        params.n_ctx = cells
        params.n_batch = params.n_ubatch = max(s.chunk, s.branch_tokens)
        params.n_seq_max = s.sequences + 1
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = _KV_TYPES[s.kv_type]
        params.flash_attn_type = (
            c.LLAMA_FLASH_ATTN_TYPE_ENABLED
            if s.flash_attention
            else c.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        params.kv_unified = True
        params.no_perf = True
        return params

    def keep_prefix(self, length: int) -> None:
        """Forget all but the first `length` tokens of sequence 0."""
        memory = c.llama_get_memory(self._context)
        for sequence in range(1, self._settings.sequences + 1):
            c.llama_memory_seq_rm(memory, sequence, -1, -1)
        c.llama_memory_seq_rm(memory, 0, length, -1)

    def branch(self, sequences: int) -> None:
        """Let sequences 1 to `sequences` begin with what sequence 0 holds."""
        memory = c.llama_get_memory(self._context)
        for sequence in range(1, sequences + 1):
            c.llama_memory_seq_cp(memory, 0, sequence, -1, -1)

    def decode(self, tokens: Sequence[BatchToken]) -> list[NDArray[np.float32]]:
        """Forward a batch; the logits, (n_vocab,), of each token that asks for them, copied.

        Raises:
            ProviderError: llama.cpp failed or gave something that is not a number.
        """
        width = max(len(token.sequences) for token in tokens)
        batch = c.llama_batch_init(len(tokens), 0, width)
        try:
            batch.n_tokens = len(tokens)
            for i, token in enumerate(tokens):
                batch.token[i] = token.id
                batch.pos[i] = token.position
                batch.n_seq_id[i] = len(token.sequences)
                for k, sequence in enumerate(token.sequences):
                    batch.seq_id[i][k] = sequence
                batch.logits[i] = token.wanted
            _log.clear()
            code = c.llama_decode(self._context, batch)
        finally:
            c.llama_batch_free(batch)
        if code != 0:
            raise ProviderError(f"llama.cpp failed to decode (code {code}): {_complaint()}")
        return [self._row(i) for i, token in enumerate(tokens) if token.wanted]

    def _row(self, index: int) -> NDArray[np.float32]:
        pointer = c.llama_get_logits_ith(self._context, index)
        row: NDArray[np.float32] = np.ctypeslib.as_array(pointer, (self.n_vocab,)).copy()
        if not np.isfinite(row.max()) or np.isnan(row).any():
            raise ProviderError("the model gave logits that are no numbers: it is damaged")
        return row


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


def _load(path: Path, params: object) -> object:
    _log.clear()
    model: object = c.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        raise ModelError(f"{path}: llama.cpp can't load it: {_complaint()}")
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


def _complaint() -> str:
    """llama.cpp's last line of complaint, on one line."""
    return _log[-1].replace("\n", " ") if _log else "it gave no reason"


# llama.cpp crashes if a model outlives the library's own tear-down.
_open_models: weakref.WeakSet[LlamaModel] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for model in list(_open_models):
        model.close()
