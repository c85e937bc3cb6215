"""The card beside tuned weights: what they are of, how they were made and are used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MADE = (
    "It was tuned on examples of a prompt and its label; the loss is -log P(label | prompt), "
    "in nats, on the label's tokens alone. The labels may be a search's own: what the "
    "base model finds coherent, and no more."
)


def model_card(
    base: Path, told: Mapping[str, Any], files: Mapping[str, str], *, merged: bool = False
) -> str:
    """The text of a README.md, with the header that model hubs read.

    Args:
        told: `base` and `data`, SHA-256 of the model and of the examples; `settings` and
            `figures` of the job.
        files: Of each file beside the card what it is.
        merged: The weights are the base's with the adapter added.
    """
    figures = told["figures"]
    curve = figures["losses"]
    tenth = max(1, len(curve) // 10)
    rows = {name: value for name, value in figures.items() if name != "losses"}
    rows["first tenth of the steps, mean loss"] = f"{sum(curve[:tenth]) / tenth:.4f}"
    rows["last tenth of the steps, mean loss"] = f"{sum(curve[-tenth:]) / tenth:.4f}"
    header = ["---", "tags:", "- elicit", *([] if merged else ["- lora"]), "---"]
    what = "tuned weights" if merged else "LoRA adapter"
    return "\n".join(
        [
            *header,
            "",
            f"# {base.stem}: {what}",
            "",
            f"Made by elicit from `{base.name}`, SHA-256 `{told['base']}`. {_MADE}",
            "",
            f"Examples: SHA-256 `{told['data']}`.",
            "",
            *_table("file", files),
            *_table("setting", told["settings"]),
            *_table("figure", rows),
            "## Use",
            "",
            *_use(base, merged),
            "",
        ]
    )


def _use(base: Path, merged: bool) -> list[str]:
    if merged:
        return ["The GGUF file or the folder is a model of its own: `llama-cpp:MERGED.gguf`."]
    ways = (
        f"With elicit: `--model 'llama-cpp:{base.name}+adapter.gguf'`.",
        f"With llama.cpp: `llama-cli -m {base.name} --lora adapter.gguf`.",
        "With PEFT: `PeftModel.from_pretrained(base, 'peft')`.",
    )
    return [" ".join(ways)]


def _table(head: str, rows: Mapping[str, object]) -> list[str]:
    lines = [f"| {head} | |", "| --- | --- |"]
    return [*lines, *(f"| {name} | {value} |" for name, value in rows.items()), ""]
