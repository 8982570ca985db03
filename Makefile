# make demo, make test: everything they need is set up from nothing; again only when a lock file changed.
# DEMO_SECONDS=20 make demo ends by itself and prints one line of JSON. PYTHON=python3.12 chooses the interpreter.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
RUN_STAMP := $(VENV)/.ready-run
DEV_STAMP := $(VENV)/.ready-dev
DEMO_SECONDS ?=
DEMO_LISTEN ?= 127.0.0.1:8080
SOURCES := protocol proxy tests docs/tools

.PHONY: help demo test lint docs bench lock clean

help:
	@echo "make demo   simulated site, pool and utility; page on http://$(DEMO_LISTEN) (DEMO_SECONDS=20 ends it)"
	@echo "make test   all tests (installs what they need)"
	@echo "make lint   format, lint, types, layers, generated docs"
	@echo "make docs   write the generated pages of docs/"
	@echo "make bench  benchmarks: ratios, printed, never asserted"
	@echo "make lock   renew requirements*.txt (maintainers)"
	@echo "make clean  remove what was built; the virtual environment too"

demo: $(RUN_STAMP)
	@$(BIN)/thermostratum demo --listen $(DEMO_LISTEN) $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS))

test: $(DEV_STAMP)
	@deploy/ci/browser.sh
	@deploy/ci/broker.sh
	@start=$$(date +%s); $(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS) && echo "tests passed in $$(( $$(date +%s) - start )) s"

lint: $(DEV_STAMP)
	@$(BIN)/ruff format --check --quiet $(SOURCES) || { echo "run: $(BIN)/ruff format $(SOURCES)"; exit 1; }
	@$(BIN)/ruff check --quiet $(SOURCES)
	@$(BIN)/mypy --no-error-summary
	@found=$$($(BIN)/lint-imports 2>&1) || { echo "$$found"; exit 1; }
	@$(BIN)/python docs/tools/config_reference.py --check
	@$(BIN)/python docs/tools/diagrams.py --check
	@$(BIN)/python docs/tools/decisions_index.py --check
	@$(BIN)/python docs/tools/sv2_codecs.py --check
	@$(BIN)/python docs/tools/modbus_map.py --check
	@echo "lint passed"

docs: $(DEV_STAMP)
	@$(BIN)/python docs/tools/config_reference.py
	@$(BIN)/python docs/tools/diagrams.py
	@$(BIN)/python docs/tools/decisions_index.py
	@$(BIN)/python docs/tools/sv2_codecs.py
	@$(BIN)/python docs/tools/modbus_map.py

bench: $(DEV_STAMP)
	@for bench in $$(ls tests/bench/bench_*.py deploy/bench/*.py 2>/dev/null); do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done

# The environment of the product: hashes are checked, nothing is built from source but ourselves, and that without a download.
$(RUN_STAMP): requirements.txt requirements-build.txt
	@echo "setting up $(VENV): about a minute, once"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try PYTHON=python3.12 make ...")'
	@$(PIP) install --require-hashes -r requirements.txt
	@$(PIP) install --require-hashes -r requirements-build.txt
	@$(PIP) install --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(DEV_STAMP): requirements-dev.txt $(RUN_STAMP)
	@echo "setting up the tools for tests: about a minute, once"
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

# Needs uv on the path. Locks hold for every platform and Python from 3.11 on, and name no index.
UV_LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet
lock:
	$(UV_LOCK) pyproject.toml -o requirements.txt
	$(UV_LOCK) pyproject.toml --extra postgres -c requirements.txt -o requirements-postgres.txt
	$(UV_LOCK) pyproject.toml --extra opcua -c requirements.txt -o requirements-opcua.txt
	$(UV_LOCK) pyproject.toml --extra dev -c requirements.txt -o requirements-dev.txt
	printf 'hatchling\neditables\n' | $(UV_LOCK) - -c requirements-dev.txt -o requirements-build.txt

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
	find protocol proxy tests docs -name __pycache__ -type d -prune -exec rm -rf {} +
