"""Reads an exported file with Axolotl's own code.

`python axolotl_reads.py TOKENISER FORM FILE` prints a JSON list of rows: `[all text, the text
with a loss]` for supervised rows, the row itself for preferences. It is a program of its own,
since Axolotl pins versions of its own and lives in another environment.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from typing import Any

os.environ |= {"AXOLOTL_DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}

CONFIGS: dict[str, Any] = {
    "sft": {
        "type": {
            "field_instruction": "prompt",
            "field_output": "completion",
            "format": "{instruction}",
            "no_input_format": "{instruction}",
        }
    },
    "chat": {"type": "chat_template"},
    "dpo": {"type": {"field_prompt": "prompt"}},
    "dpo-chat": {"type": "chat_template.default", "field_messages": "prompt"},
}
"""How an Axolotl configuration describes each file under `datasets`."""


def rows(tokeniser: str, form: str, path: str) -> list[Any]:
    """The rows as Axolotl would train on them."""
    from axolotl.prompt_strategies.dpo import load as load_dpo
    from axolotl.utils.data.shared import load_dataset_with_config
    from axolotl.utils.data.wrappers import get_dataset_wrapper
    from axolotl.utils.dict import DictDefault
    from transformers import AutoTokenizer

    read = AutoTokenizer.from_pretrained(tokeniser)
    described = {"path": path, "ds_type": "json", "split": "train", **CONFIGS[form]}
    config = DictDefault(
        sequence_len=512,
        train_on_inputs=False,
        chat_template="tokenizer_default",
        datasets=[described],
    )
    found = load_dataset_with_config(config.datasets[0], False)
    kind = described["type"]
    if form.startswith("dpo"):
        strategy = "user_defined.default" if isinstance(kind, dict) else kind
        change = load_dpo(strategy, config, dataset_idx=0)
        if isinstance(change, tuple):
            change = partial(change[0], tokenizer=read)
        return list(found.map(change))
    base = None if isinstance(kind, dict) else kind
    made, _ = get_dataset_wrapper(config.datasets[0], read, config, base, found)
    return [
        [read.decode(row["input_ids"]), read.decode([k for k in row["labels"] if k != -100])]
        for row in made
    ]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(rows(*sys.argv[1:])) + "\n")
