# Every everyday task, one line of help each: `make help`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test lint lock peers clean

help: ## list the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/installed: requirements-dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("tocsin needs Python 3.11 or newer, this is %s.%s; name another with PYTHON=" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

install: $(VENV)/installed ## make .venv and install the locked dependencies and tocsin itself

demo: install ## replay recorded incidents through everything (ARGS="--speed 600 --json summary.json")
	$(BIN)/tocsin demo --once $(ARGS)

test: install ## run all tests, the slow ones too (ARGS="-m 'not slow'" leaves those out)
	$(BIN)/python -m deploy.prerequisites
	$(BIN)/python -m pytest $(ARGS)

lint: install ## ruff and mypy, as CI runs them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock: ## make the lock files anew, for developing and for the image (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --group dev pyproject.toml -o requirements-dev.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -c requirements-dev.lock pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group pyproject.toml:peers -o requirements-peers.lock

peers: requirements-peers.lock ## make .venv-peers with the engines that `tocsin bench peers` compares with
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --require-hashes -r requirements-peers.lock

clean: ## remove the environment and caches
	rm -rf $(VENV) .venv-peers .pytest_cache .mypy_cache .ruff_cache
