# Both targets do all their own set-up: a virtual environment here, what is in
# requirements.lock (llama.cpp is built from source, some minutes once), then the job.
PYTHON ?= python3.11
BIN = .venv/bin
READY = .venv/ready

.PHONY: demo test lint types unit lock

demo: $(READY)
	$(BIN)/elicit demo

test: lint types unit

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

unit: $(READY)
	$(BIN)/python -m pytest

# Needs uv. Notes every version with its hashes, for all platforms.
lock:
	uv pip compile pyproject.toml --extra dev --extra hosted --extra local --generate-hashes --universal \
		--python-version 3.11 --no-header --no-annotate --output-file requirements.lock

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools wheel
	$(BIN)/python -m pip install --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $(READY)
