# Two commands: `make run` searches, evaluates and predicts on generated data; `make test` is what CI runs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?= data/sample
RESULTS ?= results
JOBS ?= 2
INPUTS ?= 1000

.DEFAULT_GOAL := help
.PHONY: help run test lint unit faults fuzz generate clean

help: ## List the targets.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(BIN)/tao-skill: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/dev: $(BIN)/tao-skill
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

run: $(BIN)/tao-skill ## Sample data, a small search, evaluation and inference of its winner.
	$(BIN)/tao-skill data sample --out $(DATA)
	$(BIN)/tao-skill run train -e $(DATA)/spec.yaml --trials 5 --max-epochs 6 --min-epochs 2 --epochs-total 20 \
	  --results-root $(RESULTS)
	$(BIN)/tao-skill run evaluate --parent latest:train --results-root $(RESULTS)
	$(BIN)/tao-skill run inference --parent latest:train --results-root $(RESULTS) \
	  inference.test_dataset.data_path=$(DATA)/test_data.npy

test: lint unit ## Everything CI checks.

lint: $(VENV)/dev ## Style, types, layers, generated files.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/generate.py --check

unit: $(VENV)/dev ## The tests.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadgroup

faults: $(VENV)/dev ## Kill searches at every named place; the tests take some of them.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/cli/test_automl_kills.py -m "faults or not faults"

fuzz: $(VENV)/dev ## Feed every parser hostile files, INPUTS of them; the tests take a few.
	OMP_NUM_THREADS=1 PYTHONPATH=. $(BIN)/python -m tests.fuzz.run --inputs $(INPUTS)

generate: $(VENV)/dev ## Write every generated file.
	$(BIN)/python tools/generate.py

clean: ## Remove the virtual environment and caches.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist
