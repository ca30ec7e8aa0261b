# Two commands need nothing else: `make demo` and `make test`. Both install into $(VENV) first, as all do.
VENV ?= .venv
PYTHON ?= python3
OUTPUT ?= runs/demo
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo train-english test test-slow test-s3 test-faults test-gpu test-browser lint format bench docs

demo: $(VENV)/.installed
	$(VENV)/bin/circuit-sweep run pipeline/demo/sweep.yaml --output $(OUTPUT)

train-english: $(VENV)/.installed
	$(VENV)/bin/circuit-sweep train-english --output runs/english-model

test: $(VENV)/.installed-dev
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile

test-slow: $(VENV)/.installed-dev
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile -m slow

test-s3: $(VENV)/.installed-dev
	$(VENV)/bin/python -m pytest -m s3

test-faults: $(VENV)/.installed-dev
	$(VENV)/bin/python -m pytest -n 2 -m 'faults and not s3'

test-gpu: $(VENV)/.installed-dev
	$(VENV)/bin/python -m pytest -m gpu

test-browser: $(VENV)/.installed-browser
	$(VENV)/bin/python -m pytest -m browser

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(VENV)/.installed
	$(VENV)/bin/python -m docs.generate

bench: $(VENV)/.installed
	$(VENV)/bin/circuit-sweep bench

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[dev]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-browser: $(VENV)/.installed-dev
	$(PIP) -e '.[browser]'
	touch $@
