# Everything a fresh machine needs: `make demo` and `make test` work without any other command.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed-runtime
DEVELOPMENT := $(VENV)/.installed-development
RUNTIME_LIST := packaging/apt-packages.txt
DEVELOPMENT_LIST := packaging/apt-packages-development.txt
BUILT_FROM := pyproject.toml setup.py $(wildcard holdfast/gate/data/c/*.[ch])
# Without it each Python program, not only ours, loads a finder of modules when it starts.
PLAINLY := --config-settings editable_mode=compat
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Tests mostly wait: for time-outs, disks, other processes.
TEST_PROCESSES ?= 4
# Tests start thousands of commands: each would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE
# Loop devices, FUSE and mounts need root.
AS_ROOT := $(shell test "$$(id -u)" = 0 || echo sudo --preserve-env=CI,HOLDFAST_HOME,HOLDFAST_SOAK,HOLDFAST_PACKAGE_TEST)

.DEFAULT_GOAL := help
.PHONY: help setup demo test unit lint format bench pictures deb wheel package-test lock clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(DEVELOPMENT) ## make .venv with the holdfast command, install what tests need

demo: $(RUNTIME) ## storage is lost under running applications; nobody notices
	@$(AS_ROOT) $(BIN)/holdfast demo

test: $(DEVELOPMENT) ## every test, on the real kernel (needs root)
	$(AS_ROOT) $(BIN)/python -m tests --processes $(TEST_PROCESSES)

unit: $(DEVELOPMENT) ## the tests that need neither root nor kernel
	$(BIN)/python -m pytest tests/unit

lint: $(DEVELOPMENT) ## ruff, mypy --strict, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks tests/faults tests/conftest.py tests/__main__.py
	$(BIN)/lint-imports

format: $(DEVELOPMENT) ## let ruff format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEVELOPMENT) ## against a plain loop device and two peers, in one run; ARGUMENTS="--help"
	$(AS_ROOT) $(BIN)/python -m benchmarks $(ARGUMENTS)

pictures: $(DEVELOPMENT) ## the pictures in docs/pictures, of volumes that are made for it (needs root)
	@packaging/install-packages --also psmisc --also chromium
	$(AS_ROOT) $(BIN)/python -m tests.dashboard_pictures docs/pictures

deb: ## the Debian package, in dist/: docs/install.md
	@packaging/install-packages --also python3-venv --also gcc --also libc6-dev --also python3-dev
	packaging/deb/build dist

wheel: $(BIN)/python ## the wheel, in dist/: docs/install.md
	$(PIP) wheel --no-deps --wheel-dir dist .

package-test: $(DEVELOPMENT) ## deb and wheel, built, installed in a Debian of their own, upgraded, booted, removed
	@packaging/install-packages --also debootstrap --also python3-venv
	HOLDFAST_PACKAGE_TEST=1 $(AS_ROOT) $(BIN)/python -m pytest --timeout 1800 tests/package

lock: $(BIN)/python ## take the newest libraries into the package: packaging/deb/*.lock
	packaging/deb/lock

clean: ## forget .venv and every cache
	rm -rf $(VENV) build dist *.egg-info holdfast/gate/data/*.so .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A Debian python3 comes without the module that makes environments: python3-venv brings it.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Holdfast needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		packaging/install-packages --also python3-venv
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): $(BUILT_FROM) $(RUNTIME_LIST) | $(BIN)/python
	@packaging/install-packages $(RUNTIME_LIST)
	$(PIP) install $(PLAINLY) --editable .
	@touch $@

$(DEVELOPMENT): $(BUILT_FROM) $(RUNTIME_LIST) $(DEVELOPMENT_LIST) | $(BIN)/python
	@packaging/install-packages $(RUNTIME_LIST) $(DEVELOPMENT_LIST)
	$(PIP) install $(PLAINLY) --editable '.[development]'
	@touch $@ $(RUNTIME)
