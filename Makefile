# What a fresh clone can do: `make demo`, `make test`.  Needs Python 3.11 to 3.13 and nothing else:
# every target makes .venv by itself, with the exact packages of constraints.txt.

PYTHON ?= python3
ARGS ?=

PINS = pyproject.toml constraints.txt
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
SUPPORTED = (3, 11) <= sys.version_info[:2] <= (3, 13)

help:
	@echo "make demo    run the quickstart: ten clients, one model, about a minute"
	@echo "make test    run the tests; options go in ARGS: make test ARGS='-k fedprox'"
	@echo "make lint    check style and types"
	@echo "make docs    build the documentation into docs/_build/html"
	@echo "make clean   delete .venv and everything else that can be made again; runs/ stays"
	@echo
	@echo "Another interpreter: make test PYTHON=python3.12"

demo: .venv/demo.stamp
	.venv/bin/fedsim run scenarios/quickstart.yaml

test: .venv/test.stamp
	.venv/bin/python -m pytest $(ARGS)

lint: .venv/test.stamp
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

docs: .venv/docs.stamp
	.venv/bin/sphinx-build -W -q docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean:
	rm -rf .venv build dist docs/_build docs/_made .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(not ($(SUPPORTED)))' || { \
	  echo "fedsim needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is not: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
	  exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/demo.stamp: .venv/python.stamp $(PINS)
	@echo "installing into .venv: the first time this takes some minutes"
	$(PIP) -e ".[sim]"
	@touch $@

.venv/test.stamp: .venv/python.stamp $(PINS)
	@echo "installing into .venv: the first time this takes some minutes"
	$(PIP) -e ".[sim,dp,tune,dev]"
	@touch $@

.venv/docs.stamp: .venv/python.stamp $(PINS)
	@echo "installing into .venv: the first time this takes some minutes"
	$(PIP) -e ".[sim,docs]"
	@touch $@

.PHONY: help demo test lint docs clean
