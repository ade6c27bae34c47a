# Every target sets itself up: python3 (3.11 or newer, with venv) and make are all it takes.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

SECONDS ?= 60
MINUTES ?= 60

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check bench fuzz soak clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.stamp-cli,sql,tls ## See the broker work, in a terminal
	@echo "==> Running the demo"
	@$(BIN)/python examples/demo.py

test: $(VENV)/.stamp-test ## Run the tests (more options: make test ARGS="-k order -x")
	@echo "==> Running the tests"
	@$(BIN)/pytest --numprocesses auto --dist loadfile $(ARGS)

check: $(VENV)/.stamp-dev ## Lint, formatting, types and import contracts
	@echo "==> ruff check"
	@$(BIN)/ruff check .
	@echo "==> ruff format --check"
	@$(BIN)/ruff format --check .
	@echo "==> mypy"
	@$(BIN)/mypy
	@echo "==> lint-imports"
	@$(BIN)/lint-imports

bench: $(VENV)/.stamp-bench ## Measure against the other brokers (heavy install)
	@echo "==> Running the benchmarks"
	@$(BIN)/python -m bench $(ARGS)

fuzz: $(VENV)/.stamp-fuzz ## Fuzz every codec and the broker (make fuzz SECONDS=60, for each)
	@echo "==> Fuzzing, $(SECONDS) seconds for each target"
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

soak: $(VENV)/.stamp-soak ## A busy server for a long while, and what is left of it (make soak MINUTES=60)
	@echo "==> Soaking for $(MINUTES) minutes"
	@$(BIN)/python -m bench.soak --minutes $(MINUTES) $(ARGS)

clean: ## Remove the environment, caches and build products
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests bench examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# One stamp per set of extras, in one environment; a changed pyproject.toml installs again.
$(VENV)/.stamp-%: pyproject.toml $(VENV)/.stamp
	@echo "==> Installing perspective-broker[$*] into $(VENV) (the first time takes a minute)"
	@$(BIN)/python -m pip install --quiet --editable ".[$*]"
	@touch "$@"

# The stamp is written last, so that an environment half made is made anew.
$(VENV)/.stamp:
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
	    echo "error: no '$(PYTHON)' here; install Python 3.11 or newer, or say: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "error: '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1), and 3.11 or newer is needed; say: make PYTHON=python3.11" >&2; exit 1; }
	@echo "==> Creating $(VENV) with $$("$(PYTHON)" -V 2>&1)"
	@"$(PYTHON)" -m venv --clear $(VENV) || { \
	    echo "error: '$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@touch "$@"
