# Everything runs inside .venv, which the targets make and reuse by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The lock names everything, so nothing is resolved again: an older pip takes a package that others want with extras for
# another one, and refuses it or installs a newer version beside the lock. `pip check` proves that nothing is missing.
# Tests go to whoever is free; those that share a server stay together, see tests/schedule.py.
TOGETHER := --numprocesses $(or $(JOBS),auto) --dist loadscope
# Tests start many Pythons: each would compile everything anew, where the environment keeps it from being written.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo test chaos check bench bench-quick peers format lock record clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)  ## Create .venv with the locked packages

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "dealsync needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked packages into $(VENV) (once; about a minute) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps --require-hashes \
		-r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@found=$$($(BIN)/python -m pip check --disable-pip-version-check) || { echo "$$found"; exit 1; }
	@touch $@

demo: $(READY)  ## Run the main job on embedded defaults (KEEP=1 keeps the Prefect UI open)
	@$(BIN)/dealsync demo $(if $(KEEP),--keep)

test: $(READY)  ## Run the tests (JOBS=2: processes, else one more than cores)
	@$(BIN)/pytest -q $(TOGETHER) $(ARGS)

chaos: $(READY)  ## Real processes, killed and lied to, against the simulator (SEEDS=200 FIRST=0 JOBS=1)
	@$(BIN)/python -m tests.chaos --seeds $(or $(SEEDS),20) --first $(or $(FIRST),0) --jobs $(or $(JOBS),1) $(ARGS)

check: $(READY)  ## What CI runs: format, lint, types, contracts, tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -q $(TOGETHER) $(ARGS)

# The packages that dealsync is compared with have an environment of their own, and never meet its own packages.
PEERS := .venv-peers
PEERS_READY := $(PEERS)/.ready

bench: $(READY) $(PEERS_READY)  ## Measure everything, print one table (about fifty minutes; ARGS="--markdown README.md")
	@$(BIN)/python -m benchmarks --called "make bench" $(ARGS)

bench-quick: $(READY) $(PEERS_READY)  ## The same without what is long (under three minutes)
	@$(BIN)/python -m benchmarks --quick --called "make bench-quick" $(ARGS)

peers: $(PEERS_READY)  ## Install what the benchmarks compare dealsync with into .venv-peers

$(PEERS_READY): benchmarks/peers.lock
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	@echo "Installing the packages to compare with into $(PEERS) (once) ..."
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps \
		--require-hashes -r benchmarks/peers.lock
	@touch $@

format: $(READY)  ## Format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

record: $(READY)  ## Record the contract tests' cassettes again, against the simulator or live accounts (see README)
	@rm -rf tests/cassettes
	@$(BIN)/pytest -q tests/contract

lock:  ## Resolve pyproject.toml into requirements.lock again, and what the benchmarks compare with
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile pyproject.toml --group dev --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --quiet --output-file requirements.lock
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile benchmarks/peers.in --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --quiet --output-file benchmarks/peers.lock

clean:  ## Remove .venv and caches
	@rm -rf $(VENV) $(PEERS) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
