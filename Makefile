# What a fresh clone can do: `make demo`, `make test`.  Needs Python 3.11 to 3.13 and nothing else:
# every target makes .venv by itself, with the exact packages of constraints.txt.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

PINS = pyproject.toml constraints.txt
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
SUPPORTED = (3, 11) <= sys.version_info[:2] <= (3, 13)

help:
	@echo "make demo    run the quickstart: ten clients, one model, about a minute"
	@echo "make test    run the tests; options go in ARGS: make test ARGS='-k fedprox'"
	@echo "make lint    check style and types"
	@echo "make check   all that a change must pass: lint, docs, the wheel, the tests with coverage"
	@echo "make test-all  the tests on each of Python 3.11, 3.12 and 3.13 that is here"
	@echo "make docs    build the documentation into docs/_build/html"
	@echo "make wheel   build the wheel and import from it"
	@echo "make release VERSION=0.2.0   check, commit and tag a release; nothing is pushed"
	@echo "make clean   delete .venv and everything else that can be made again; runs/ stays"
	@echo
	@echo "Another interpreter: make test PYTHON=python3.12"

demo: $(VENV)/demo.stamp
	$(VENV)/bin/fedsim run scenarios/quickstart.yaml

test: $(VENV)/test.stamp
	$(VENV)/bin/python -m pytest $(ARGS)

lint: $(VENV)/test.stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

check: lint docs wheel $(VENV)/test.stamp
	$(VENV)/bin/python -m coverage run -m pytest $(ARGS)
	$(VENV)/bin/python -m coverage report

# The wheel must hold the shelves, scenarios, configs and templates, and start by itself.
wheel: $(VENV)/test.stamp
	rm -rf build dist
	$(VENV)/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(VENV)/bin/python tools/look_into_wheel.py dist/fedsim-*.whl

# A shim of pyenv can be on the path for a Python that does not start: so each is started.
test-all:
	@for version in 3.11 3.12 3.13; do \
	  if python$$version -c '' 2>/dev/null; then \
	    echo "== Python $$version"; \
	    $(MAKE) test PYTHON=python$$version VENV=.venv-$$version || exit 1; \
	  else echo "== Python $$version is not here"; fi; \
	done

release: $(VENV)/python.stamp
	$(VENV)/bin/python tools/release.py $(or $(VERSION),$(error say which: make release VERSION=0.2.0))

docs: $(VENV)/docs.stamp
	$(VENV)/bin/sphinx-build -W -q docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean:
	rm -rf .venv .venv-* build dist docs/_build docs/_made .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(not ($(SUPPORTED)))' || { \
	  echo "fedsim needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is not: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/demo.stamp: $(VENV)/python.stamp $(PINS)
	@echo "installing into $(VENV): the first time this takes some minutes"
	$(PIP) -e ".[sim]"
	@touch $@

$(VENV)/test.stamp: $(VENV)/python.stamp $(PINS)
	@echo "installing into $(VENV): the first time this takes some minutes"
	$(PIP) -e ".[sim,dp,tune,dev]"
	@touch $@

$(VENV)/docs.stamp: $(VENV)/python.stamp $(PINS)
	@echo "installing into $(VENV): the first time this takes some minutes"
	$(PIP) -e ".[sim,docs]"
	@touch $@

.PHONY: help demo test lint check wheel test-all release docs clean
