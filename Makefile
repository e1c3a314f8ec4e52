# Two commands: `make run` searches, evaluates and predicts on generated data; `make test` is what CI runs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?= data/sample
RESULTS ?= results
JOBS ?= 3
INPUTS ?= 1000

# Tests start hundreds of programs: sources are compiled once, also where the environment keeps nothing compiled.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help run test lint unit faults thorough attacks fuzz release bench generate clean

help: ## List the targets.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(BIN)/tao-skill: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

# What is imported is compiled then, on both cores; all of it, on one, is a minute.
$(VENV)/dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	@touch $(BIN)/tao-skill $@

run: $(BIN)/tao-skill ## Sample data, a search of 150 seconds, evaluation and inference of its winner.
	$(BIN)/tao-skill data sample --out $(DATA)
	$(BIN)/tao-skill run train -e $(DATA)/spec.yaml --time-budget 150s --results-root $(RESULTS)
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
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

faults: $(VENV)/dev ## Break every action in every way we know; the tests take a part of it.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/faults --numprocesses $(JOBS) -m "faults or not faults"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/cli/test_automl_kills.py -m "faults or not faults"

thorough: $(VENV)/dev ## The tests, and those that take too long for each change.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder -m "thorough or not thorough"

attacks: $(VENV)/dev ## Whole flows whose every file, answer and process is read for secrets; the tests take a part.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/security/test_secrets.py -m "attacks or not attacks"

$(VENV)/release: $(VENV)/dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[release]'
	@touch $@

release: $(VENV)/release ## Wheel, sdist, audit, SBOM and SHA256SUMS in dist/; fails where a vulnerability is known.
	$(BIN)/python tools/release.py

$(VENV)/fuzz: $(VENV)/dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[fuzz]'
	@touch $@

fuzz: $(VENV)/fuzz ## Feed every parser hostile files, INPUTS drawn and as many guided by coverage; the tests take a few.
	OMP_NUM_THREADS=1 PYTHONPATH=. $(BIN)/python -m tests.fuzz.run --inputs $(INPUTS)
	OMP_NUM_THREADS=1 PYTHONPATH=. $(BIN)/python -m tests.fuzz.run --inputs $(INPUTS) --guided

bench: $(VENV)/dev ## Beside a textbook ST-GCN, plain PyTorch and a bare Python: one table, kept in benchmarks/results.md.
	env -u OMP_NUM_THREADS $(BIN)/python benchmarks/run.py

generate: $(VENV)/dev ## Write every generated file.
	$(BIN)/python tools/generate.py

clean: ## Remove the virtual environment and caches.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist
