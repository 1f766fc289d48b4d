# Two commands set everything up on a fresh machine with Python >= 3.11, a C++ compiler and make:
#   make run    the workbench          make test    the tests
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
JOBS   ?= 2

# Where a shell forbids it, each of the processes that tests start would compile our modules anew: 0.15 s each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run serve test lint format bench torture screenshots snapshots clean help

help:
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

# What llama.cpp is built for is decided by what the machine has; scripts/engine-build.sh says which.
$(VENV)/.engine: scripts/engine-build.sh
	$(PYTHON) -m venv $(VENV)
	PYTHON=$(BIN)/python sh scripts/engine-build.sh
	@touch $@

$(VENV)/.installed: $(VENV)/.engine pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

run: $(VENV)/.installed ## the workbench
	@$(BIN)/corral

serve: $(VENV)/.installed ## the server without a screen
	@$(BIN)/corral serve

test: $(VENV)/.dev ## all tests; says which it left out and why
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -ra --tb=short

lint: $(VENV)/.dev ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## put the code in the house's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## measure; prints ratios
	$(BIN)/python -m tests.bench

torture: $(VENV)/.dev ## break things for long
	$(BIN)/python -m pytest -q -m torture tests/torture

screenshots: $(VENV)/.dev ## draw screenshots/ from the running app with the starter model
	$(BIN)/python -m tests.screenshots

snapshots: $(VENV)/.dev ## draw the screens anew that tests compare with; read the difference before you commit it
	$(BIN)/python -m pytest -q -n $(JOBS) tests/unit/tui/test_snapshots.py --snapshot-update

clean: ## remove what was built here
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
