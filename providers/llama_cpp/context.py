"""A memory of llama.cpp's: what is decoded into it, and what it is asked.

All ctypes are here and in `model`. Nothing above these files knows a pointer.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import llama_cpp as c
import numpy as np
from numpy.typing import NDArray

from elicit.providers.base import ModelError, ProviderError
from elicit.providers.llama_cpp.batch import BatchToken
from elicit.providers.llama_cpp.complaints import complaint, complaints
from elicit.providers.llama_cpp.settings import LlamaSettings, available_cores

_KV_TYPES = {"f16": c.GGML_TYPE_F16, "f32": c.GGML_TYPE_F32, "q8_0": c.GGML_TYPE_Q8_0}


class LlamaContext:
    """A context of a loaded model, grown as needed. `LlamaModel.context` makes it."""

    def __init__(
        self, model: object, n_vocab: int, settings: LlamaSettings, adapter: object | None
    ) -> None:
        self._model, self._adapter = model, adapter
        self._n_vocab = n_vocab
        self._settings = settings
        self._context: object | None = None
        self._cells = 0

    def close(self) -> None:
        """Free it. A second call does nothing."""
        if self._context is not None:
            c.llama_free(self._context)
            self._context = None

    def reserve(self, cells: int) -> bool:
        """Make room for so many tokens at once; True if the memory was cleared for it."""
        if self._context is not None and cells <= self._cells:
            return False
        cells = max(2048, 1 << (cells - 1).bit_length())
        self.close()
        complaints.clear()
        self._context = c.llama_init_from_model(self._model, self._params(cells))
        if not self._context:
            self._context = None
            raise ModelError(
                f"no memory for a context of {cells:,} tokens: {complaint()}. Show fewer "
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
            complaints.clear()
            code = c.llama_decode(self._context, batch)
        finally:
            c.llama_batch_free(batch)
        if code != 0:
            raise ProviderError(f"llama.cpp failed to decode (code {code}): {complaint()}")
        return [self._row(i) for i, token in enumerate(tokens) if token.wanted]

    def _row(self, index: int) -> NDArray[np.float32]:
        pointer = c.llama_get_logits_ith(self._context, index)
        row: NDArray[np.float32] = np.ctypeslib.as_array(pointer, (self._n_vocab,)).copy()
        if not np.isfinite(row.max()) or np.isnan(row).any():
            raise ProviderError("the model gave logits that are no numbers: it is damaged")
        return row
