"""What is shipped is what stands in the folders."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_package_is_listed() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for folder in ("elicit", "cache", "providers")
        for path in (ROOT / folder).rglob("__init__.py")
    }
    names = {n if n.startswith("elicit") else f"elicit.{n}" for n in found}
    assert set(config["tool"]["setuptools"]["packages"]) == names


def test_importing_it_loads_no_model_and_opens_no_store() -> None:
    code = (
        "import sys, elicit; assert 'llama_cpp' not in sys.modules; "
        "assert 'torch' not in sys.modules; assert 'cache' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/", timeout=60)


EXTRAS = (
    *("accelerate", "anthropic", "datasets", "gguf", "httpx2", "llama_cpp", "matplotlib"),
    *("openai", "peft", "ray", "safetensors", "tenacity", "torch", "transformers", "trl"),
)
WITHOUT = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
sys.argv = ["elicit", "tasks"]
from elicit.cli.main import main
main()
"""


def test_the_command_line_starts_without_any_extra() -> None:
    """Who labels through a hosted model has no llama.cpp, and the other way round."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        capture_output=True,
        text=True,
        cwd="/",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "preferences" in done.stdout
