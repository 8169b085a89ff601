# make demo, make test, make check, make bench: each creates the environment it needs.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check bench clean

demo: $(VENV)/.demo
	rm -rf demo
	$(BIN)/prunelle quickstart --out demo

test: $(VENV)/.test
	$(BIN)/pytest

check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest
	out=$$(mktemp -d) && $(BIN)/prunelle quickstart --out $$out/demo && rm -rf $$out

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/all.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .[demo]
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .[demo,dev,onnx,openvino,compiler,vision]
	touch $@ $(VENV)/.demo

$(VENV)/.bench: $(VENV)/.test
	$(PIP) --editable .[ray,spark]
	touch $@

clean:
	rm -rf $(VENV) demo .cache .pytest_cache .mypy_cache .ruff_cache build *.egg-info
