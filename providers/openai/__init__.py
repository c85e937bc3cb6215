"""Models behind OpenAI's wire format: OpenAI's own, and every server that speaks it.

`open_wire` gives a `Wire` for one of four ways to ask: `decisions`, `completions`, `chat`
and `samples`. In what servers differ stands in an `Endpoint`.
"""

from __future__ import annotations

from elicit.providers.openai.endpoint import Endpoint
from elicit.providers.openai.wire import OpenAIWire, open_wire

__all__ = ["Endpoint", "OpenAIWire", "open_wire"]
