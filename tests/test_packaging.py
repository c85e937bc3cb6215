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
