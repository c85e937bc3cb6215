"""Exact label log-probabilities from GGUF models, through llama.cpp's low-level API."""

from elicit.providers.llama_cpp.scorer import LlamaCppProvider
from elicit.providers.llama_cpp.settings import LlamaSettings

__all__ = ["LlamaCppProvider", "LlamaSettings"]
