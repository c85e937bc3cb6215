"""How a model's prompts become tokens: as plain text, or by the chat template of its file."""

from __future__ import annotations

from pathlib import Path

from elicit.providers.base import ModelError
from elicit.providers.llama_cpp.chat_template import ChatTemplate
from elicit.providers.llama_cpp.chat_tokens import ChatTokeniser
from elicit.providers.llama_cpp.control import ControlTokeniser
from elicit.providers.llama_cpp.model import LlamaModel
from elicit.providers.llama_cpp.settings import LlamaSettings
from elicit.providers.llama_cpp.vocab import Tokeniser


def template_of(model: LlamaModel, path: Path, settings: LlamaSettings) -> ChatTemplate | None:
    """The template by which the model is asked in a chat; None where it is asked in text.

    Raises:
        ModelError: its file has none, or one that can't be used.
    """
    if settings.chat == "off":
        return None
    source = model.chat_template()
    if not source:
        raise ModelError(
            f"{path}: has no chat template (tokenizer.chat_template); name the GGUF file of a "
            "model that was trained for chats, write a template into this one with "
            "gguf-new-metadata --chat-template, or ask it in plain text, without chat=on"
        )
    return ChatTemplate(source, *model.bos_and_eos(), str(path))


def tokeniser_of(
    model: LlamaModel, template: ChatTemplate | None, settings: LlamaSettings
) -> Tokeniser | ChatTokeniser:
    """What makes tokens of prompts and labels."""
    if template is None:
        return Tokeniser(model.tokenize, model.bos)
    control = ControlTokeniser(model.tokenize, model.control_tokens())
    return ChatTokeniser(template, control, merge=settings.system == "user")
