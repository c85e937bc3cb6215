# Both targets do all their own set-up: a virtual environment here, what is in
# requirements.lock (llama.cpp is built from source, some minutes once), then the job.
PYTHON ?= python3.11
BIN = .venv/bin
READY = .venv/ready
LORA = .venv/lora
AXOLOTL = .venv-axolotl/ready
ECOSYSTEM = .venv-ecosystem/ready
VLLM = .venv-vllm/ready

.PHONY: demo docs test lint types unit lock

demo: $(READY)
	$(BIN)/elicit demo

docs: $(READY)
	$(BIN)/mkdocs build --strict

test: lint types unit

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

unit: $(READY) $(LORA) $(AXOLOTL) $(ECOSYSTEM) $(VLLM)
	$(BIN)/python -m pytest

# Needs uv. Notes every version with its hashes, for all platforms.
lock:
	uv pip compile pyproject.toml --extra dev --extra hosted --extra local --generate-hashes --universal \
		--python-version 3.11 --no-header --no-annotate --output-file requirements.lock

# PyTorch and what is built on it, for tuning models here: the lock is for Linux on x86-64,
# with PyTorch's CPU build; elsewhere the tests that need it are skipped and say so.
$(LORA): $(READY) requirements-lora.lock
	-$(BIN)/python -m pip install --quiet --no-deps --require-hashes \
		--requirement requirements-lora.lock
	touch $(LORA)

# Axolotl, and inspect_ai with lm-evaluation-harness, which read exports: each has an
# environment with versions of its own, and sees what is in .venv.
$(AXOLOTL) $(ECOSYSTEM): .venv-%/ready: requirements-%.lock $(LORA)
	$(PYTHON) -m venv .venv-$*
	-.venv-$*/bin/python -m pip install --quiet --no-deps --require-hashes \
		--requirement requirements-$*.lock
	for site in .venv-$*/lib/python*/site-packages; do \
		$(BIN)/python -c "import site; print(site.getsitepackages()[0])" > $$site/elicit.pth; \
	done
	touch $@

# vLLM, one of the two real servers that hosted models are tested against, wants other
# versions of what elicit uses. Its lock is for Linux on x86-64, with PyTorch's CPU build;
# where that can't be had, the tests that need it are skipped and say so.
$(VLLM): requirements-vllm.lock
	$(PYTHON) -m venv .venv-vllm
	-.venv-vllm/bin/python -m pip install --quiet --no-deps --require-hashes \
		--requirement requirements-vllm.lock
	touch $(VLLM)

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools wheel
	$(BIN)/python -m pip install --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $(READY)
