# One command each; CI runs the same ones. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Real clusters run beside the quick tests, so more workers than this only make them wait for each other.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n > 4 ? 4 : n)))
# What pytest gets on top, for instance: make test-quick ARGS="-k placement -x"
ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20

$(STAMP): requirements/dev.txt setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("spot-balancer needs Python 3.11 or newer; found %d.%d. Set PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	@echo "== installing into $(VENV) (once; about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --require-hashes --no-deps --progress-bar off -r requirements/dev.txt | sed -u -n 's/^Collecting \([^ ]*\).*/   \1/p; /^Installing/p'
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: venv
venv: $(STAMP) ## the virtual environment, with spot-balancer in it

.PHONY: demo
demo: $(STAMP) ## one idle, one busy and one unknown owner, and a burst of pods, through the real TLS server (needs Python only)
	@$(BIN)/spot-balancer demo

.PHONY: demo-snapshot
demo-snapshot: $(STAMP) parts ## capture examples/demo.snapshot.json anew from the real control plane and Prometheus
	$(BIN)/python -m tests.e2e.capture examples/demo.snapshot.json

.PHONY: parts
parts: $(STAMP) ## find or build the real programs that tests run (Go 1.26 or newer; once, about 15 minutes)
	$(BIN)/python -m tests.parts.fetch

.PHONY: test
test: $(STAMP) ## everything: lint, types, chart, docs, unit, fault and end-to-end tests
	@echo "== real parts"
	@if [ -n "$${SPOT_BALANCER_REQUIRE_PARTS:-}" ]; then $(BIN)/python -m tests.parts.fetch; else \
	  $(BIN)/python -m tests.parts.fetch || echo "== tests that need a missing part are skipped and counted below; the lines above say how to get it"; fi
	@echo "== tests on $(WORKERS) workers"
	$(BIN)/python -m pytest -q -n $(WORKERS) --durations=15 $(ARGS)

.PHONY: test-quick
test-quick: $(STAMP) ## the suite without the real parts and the slow tests
	$(BIN)/python -m pytest -q -n $(WORKERS) -m "not e2e and not slow" $(ARGS)

.PHONY: soak
soak: $(STAMP) ## every law that needs no real part, with 10,000 examples each: hours, for a night
	SPOT_BALANCER_HYPOTHESIS=soak $(BIN)/python -m pytest -q -n $(WORKERS) -m "not e2e and not slow" --durations=15 $(ARGS)

.PHONY: lint
lint: $(STAMP) ## ruff, import-linter, yamllint, shellcheck, hadolint
	$(BIN)/python -m tests.house.linters

.PHONY: type
type: $(STAMP) ## mypy --strict
	$(BIN)/mypy

.PHONY: chart
chart: $(STAMP) ## helm lint, helm-unittest and the chart's Python tests
	$(BIN)/python -m tests.parts.fetch --only helm helm-unittest
	$(BIN)/python -m pytest -q -n $(WORKERS) tests/chart $(ARGS)

.PHONY: bench
bench: $(STAMP) ## measure, print tables and write build/bench.json
	$(BIN)/python -m bench $(ARGS)

.PHONY: docs
docs: $(STAMP) ## write the generated tables into README.md and docs/
	$(BIN)/python -m bench.tables

.PHONY: lock
lock: ## renew requirements/*.txt from requirements/*.in, for every Python and platform at once
	@test -x build/lock/bin/uv || { $(PYTHON) -m venv build/lock && build/lock/bin/python -m pip install -q uv; }
	cd requirements && for lock in base build dev; do \
	  ../build/lock/bin/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-annotate --no-emit-index-url --no-emit-find-links $$lock.in -o $$lock.txt; done

.PHONY: fmt
fmt: $(STAMP) ## format the code and apply safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .

.PHONY: clean
clean: ## remove what make targets left in this tree, the virtual environment included
	rm -rf $(VENV) build dist ./*.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
