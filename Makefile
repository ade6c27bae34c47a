# Every target sets itself up: python3 (3.11 or newer, with venv) and make are enough.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# This environment has the library as users install it: compiled, if there is a compiler.
BUILT  := .venv-built
# This one has the native path, beside the plain library.
NATIVE := .venv-native

SECONDS ?= 60
MINUTES ?= 60

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PRECIOUS: %/.stamp
.PHONY: help demo test test-built test-native test-core test-newest check docs coverage bench fuzz soak news audit lock dist clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.stamp-cli,sql,tls ## See the broker work, in a terminal
	@echo "==> Running the demo"
	@$(BIN)/python examples/demo.py

test: $(VENV)/.stamp-test ## Run the tests (more options: make test ARGS="-k order -x")
	@echo "==> Running the tests"
	@$(BIN)/pytest --numprocesses auto --dist loadfile $(ARGS)

test-built: $(BUILT)/.stamp-test ## Run the tests of the core over the compiled build
	@echo "==> Running the tests of the core, over $$($(BUILT)/bin/pb --version)"
	@$(BUILT)/bin/pytest -o pythonpath=. --numprocesses auto --dist loadfile $(or $(ARGS),$(CORE_TESTS))

test-native: ## Run the tests of the codecs with the native path (needs cargo)
	@if ! command -v cargo >/dev/null 2>&1; then echo "==> Rust (cargo) is not here: the native path is not tested"; \
	elif ! cargo fetch --quiet --locked --manifest-path native/Cargo.toml; then echo "==> The crates cannot be fetched: the native path is not tested"; else \
	    $(MAKE) --no-print-directory $(NATIVE)/.stamp-native && echo "==> Running the tests of the codecs, with the native path" && \
	    $(NATIVE)/bin/pytest --numprocesses auto --dist loadfile $(or $(ARGS),tests/dialects tests/transcripts); fi

test-core: $(VENV)/.stamp-core-test ## Run the tests of the core, and those of its faults
	@echo "==> Running the tests of the core, on $$($(BIN)/python -V)"
	@$(BIN)/pytest --numprocesses auto --dist loadfile $(or $(ARGS),$(CORE_TESTS) $(FAULT_TESTS))

# Each version has an environment of its own, so that a newer one that is installed later gets a new one.
test-newest: ## Run the tests of the core on the newest installed Python, if it is newer than the usual one
	@newest=$$("$(PYTHON)" tests/newest.py); \
	    if [ -z "$$newest" ]; then echo "==> $$("$(PYTHON)" -V 2>&1) is the newest here: it runs all tests"; else \
	    $(MAKE) --no-print-directory test-core PYTHON="$$newest" VENV=".venv-$$("$$newest" -c 'import platform; print(platform.python_version())')" \
	        ARGS="$(or $(ARGS),$(NEWEST_TESTS))"; fi

check: $(VENV)/.stamp-dev ## Lint, formatting, types, import contracts and spelling
	@echo "==> ruff check"
	@$(BIN)/ruff check .
	@echo "==> ruff format --check"
	@$(BIN)/ruff format --check .
	@echo "==> mypy"
	@$(BIN)/mypy
	@echo "==> pyright"
	@$(BIN)/basedpyright
	@$(BIN)/python -m tests.typing_score
	@echo "==> lint-imports"
	@$(BIN)/lint-imports
	@echo "==> codespell"
	@$(BIN)/codespell

docs: $(VENV)/.stamp-docs ## Build the site of the documentation (make docs ARGS=--serve shows it)
	@echo "==> Building the site"
	@$(BIN)/python docs/site/build.py $(ARGS)

coverage: $(VENV)/.stamp-coverage ## Measure the part of each module that its own tests cover (some: make coverage ARGS="cred/ limits.py")
	@$(BIN)/python -m tests.own_coverage $(ARGS)

bench: $(BUILT)/.stamp-bench ## Measure against the other brokers (heavy install)
	@echo "==> Running the benchmarks, of $$($(BUILT)/bin/python -c 'import perspective_broker as pb; print("the compiled build" if pb.build.COMPILED else "plain Python: no compiler was found")')"
	@$(BUILT)/bin/python -m bench $(ARGS)

fuzz: $(VENV)/.stamp-fuzz ## Fuzz every codec and the broker, and live random lives (make fuzz SECONDS=60, for each)
	@echo "==> Fuzzing, $(SECONDS) seconds for each target"
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

soak: $(VENV)/.stamp-soak ## Run a busy server for a long time, and check for leftovers (make soak MINUTES=60)
	@echo "==> Soaking for $(MINUTES) minutes"
	@$(BIN)/python -m bench.soak --minutes $(MINUTES) $(ARGS)

news: $(VENV)/.stamp-release ## Show the next section of CHANGELOG.md, from the files in changes/
	@$(BIN)/towncrier build --draft --version next

audit: $(VENV)/.stamp-audit ## Look for known vulnerabilities in the packages of .ci/locks (queries the package index)
	@for lock in $(LOCKS); do echo "==> pip-audit, of .ci/locks/$$lock.txt"; \
	    $(BIN)/pip-audit --strict --disable-pip --requirement .ci/locks/$$lock.txt || exit 1; done

lock: $(VENV)/.stamp-lock ## Write .ci/locks again, with the newest versions that pyproject.toml allows
	@for lock in $(LOCKS); do echo "==> uv pip compile, of .ci/locks/$$lock.txt"; \
	    $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	        --upgrade --extra $$lock --output-file .ci/locks/$$lock.txt pyproject.toml .ci/locks/build.in || exit 1; done

dist: $(VENV)/.stamp-release ## Build the archive of the source, and the wheel (compiled, where there is a compiler)
	@$(BIN)/python -m build

clean: ## Remove the environment, caches and build products
	rm -rf $(VENV) $(BUILT) $(NATIVE) native/target .venv-[0-9]* build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests bench examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# With LOCKED=1 only what .ci/locks names is installed, and only if its hash is there; for these extras.
LOCKS  := dev core-test
LOCKED ?=
lock_of = .ci/locks/$(if $(filter core-test,$(1)),core-test,dev).txt
# The build then takes its own tools from there, too.
FROM_LOCK := $(if $(LOCKED),--no-deps --no-build-isolation)

# One stamp per set of extras, in one environment; a changed pyproject.toml installs again.
$(VENV)/.stamp-%: pyproject.toml $(VENV)/.stamp
	@echo "==> Installing perspective-broker[$*] into $(VENV) (the first time takes a minute)"
	@$(if $(LOCKED),$(BIN)/python -m pip install --quiet --require-hashes --requirement $(call lock_of,$*))
	@PERSPECTIVE_BROKER_COMPILE=0 $(BIN)/python -m pip install --quiet $(FROM_LOCK) --editable ".[$*]"
	@touch "$@"

SOURCES := pyproject.toml hatch_build.py $(shell find src -name '*.py')
# The table of bad input against typed methods runs once, with all tests.
CORE_TESTS := $(addprefix tests/,aio compat dialects flavors interfaces robustness session testing transcripts transports) \
    --ignore=tests/robustness/test_table_typed.py
# What new versions of Python and asyncio change first. All of the core takes twice as long: make test-core PYTHON=python3.13
NEWEST_TESTS := $(addprefix tests/,aio interfaces session)
# Without those that need a database and the command line.
FAULT_TESTS := $(filter-out %/test_full_disk.py,$(wildcard tests/faults/test_*.py))

# The same, not editable; what changed in the source is compiled again.
$(BUILT)/.stamp-%: $(SOURCES) $(BUILT)/.stamp
	@echo "==> Building and installing perspective-broker[$*] into $(BUILT) (compiling takes a minute or two)"
	@$(if $(LOCKED),$(BUILT)/bin/python -m pip install --quiet --require-hashes --requirement $(call lock_of,$*))
	@rm -rf $(BUILT)/wheel && $(if $(shell command -v cc),PERSPECTIVE_BROKER_COMPILE=1) $(BUILT)/bin/python -m pip wheel --quiet --no-deps $(FROM_LOCK) --wheel-dir $(BUILT)/wheel .
	@$(BUILT)/bin/python -m pip install --quiet --force-reinstall --no-deps $(BUILT)/wheel/*.whl
	@$(if $(LOCKED),,$(BUILT)/bin/python -m pip install --quiet "$$(echo $(BUILT)/wheel/*.whl)[$*]")
	@touch "$@"

$(NATIVE)/.stamp-native: pyproject.toml $(shell find native -name '*.rs' -o -name '*.toml' -o -name Cargo.lock) $(NATIVE)/.stamp
	@echo "==> Building the native path, and installing it into $(NATIVE) (the first time takes two minutes)"
	@rm -rf $(NATIVE)/wheel && $(NATIVE)/bin/python -m pip wheel --quiet --no-deps --wheel-dir $(NATIVE)/wheel ./native
	@PERSPECTIVE_BROKER_COMPILE=0 $(NATIVE)/bin/python -m pip install --quiet --editable ".[core-test]"
	@$(NATIVE)/bin/python -m pip install --quiet --force-reinstall --no-deps $(NATIVE)/wheel/*.whl
	@touch "$@"

# The stamp is written last, so that an incomplete environment is made again.
%/.stamp:
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
	    echo "error: no '$(PYTHON)' here; install Python 3.11 or newer, or say: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "error: '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1), and 3.11 or newer is needed; say: make PYTHON=python3.11" >&2; exit 1; }
	@echo "==> Creating $* with $$("$(PYTHON)" -V 2>&1)"
	@"$(PYTHON)" -m venv --clear $* || { \
	    echo "error: '$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@touch "$@"
