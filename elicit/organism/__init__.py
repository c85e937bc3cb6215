"""The embedded tiny language model: a laboratory animal whose knowledge is known.

`model_path` is all that a user of the model needs; nothing here imports torch.
"""

from pathlib import Path

__all__ = ["model_path", "tasks_path"]

_FOLDER = Path(__file__).parent


def model_path() -> Path:
    """Return the path of the shipped GGUF file."""
    return _FOLDER / "organism.gguf"


def tasks_path() -> Path:
    """Return the folder of the embedded task files; `elicit tasks` lists them."""
    return _FOLDER / "tasks"
