"""What should be known before a model is tuned at a provider."""

from __future__ import annotations

from elicit.providers.shutdowns import shutdown_date

CLOSING = (
    "OpenAI ends self-serve fine-tuning: organizations that had never tuned a model can begin "
    "no job since 2026-05-07, nor since 2026-07-02 those that asked no tuned model for 60 "
    "days, and nobody can from 2027-01-06. Models already tuned answer until their base model "
    "shuts down (https://developers.openai.com/api/docs/deprecations)"
)

_DEPLOY = "the tuned model does not answer before it is deployed, which is paid for by the hour"
_DEPLOYED = {
    "together": f"{_DEPLOY}: https://docs.together.ai/docs/lora-training-and-inference",
    "fireworks": f"{_DEPLOY}: https://docs.fireworks.ai/fine-tuning/deploying-loras",
}


def notice(provider: str, model: str) -> str | None:
    """How long models can be tuned there, and what it takes to use one; None where there is
    nothing to tell.

    Args:
        model: the one to start from, by the provider's name.
    """
    if provider != "openai":
        return _DEPLOYED.get(provider)
    ends = shutdown_date("openai", model)
    if ends is None:
        return CLOSING
    return f"{CLOSING}. What is tuned from {model} stops answering on {ends}"
