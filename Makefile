# One vocabulary for people, hooks and CI. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPATH := $(CURDIR):$(CURDIR)/plugins
PY := .venv/bin/python
UV := .venv/bin/uv
READY := .venv/.ready
# Packages that only torch's CUDA build needs stay out of the lock, so that it installs with either build.
CUDA_ONLY := $(addprefix --no-emit-package ,$(file < config/cuda_only.txt))
# Images without Airflow: what each imports, in the versions of the whole.
IMAGES := train serve
subset = $(UV) pip compile -q requirements-$(1).in -c requirements.txt -o $(2) --python-version 3.11 $(CUDA_ONLY) \
	--custom-compile-command 'make lock'

.PHONY: help setup demo test test-unit up down status check lock migration bench soak clean

help: ## List what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | column -t -s '|'

setup: $(READY) ## Make the virtual environment from the lock, make sure of Java
$(READY): requirements.txt
	@bin/setup
	@touch $@

demo: setup ## Watch a real model go stale and be replaced by itself (6 minutes)
	@exec $(PY) -m include.cli demo

test: setup ## Run all tests, two side by side; the demo is the first of them
	@$(PY) -m pytest tests -n 2 --dist loadfile --no-loadscope-reorder

test-unit: setup ## Run the unit tests alone, without a database server
	@$(PY) -m pytest tests/unit -k "not postgresql"

up: setup ## Start Airflow, the endpoint, MLflow and Spark on this machine
	@$(PY) -m include.cli up

down: setup ## Stop them
	@$(PY) -m include.cli down

status: setup ## Show every pipeline's champion, newest days and decisions
	@$(PY) -m include.cli status

check: setup ## Lint, types; lock, schema and docs/yaml.md in step
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .
	@.venv/bin/mypy
	@cp requirements.txt .venv/lock.txt && $(UV) pip compile -q requirements.in -o .venv/lock.txt --python-version 3.11 \
		$(CUDA_ONLY) --custom-compile-command 'make lock' && diff -u requirements.txt .venv/lock.txt \
		|| { echo "requirements.txt is not what requirements.in asks for: run 'make lock'."; exit 1; }
	@for image in $(IMAGES); do cp requirements-$$image.txt .venv/lock.txt && $(call subset,$$image,.venv/lock.txt) \
		&& diff -u requirements-$$image.txt .venv/lock.txt \
		|| { echo "requirements-$$image.txt is not what requirements-$$image.in asks for: run 'make lock'."; exit 1; }; done
	@$(PY) -m include.cli schema | diff - config/pipeline.schema.json \
		|| { echo "config/pipeline.schema.json is old: run 'make lock'."; exit 1; }
	@$(PY) -m include.cli schema --markdown | diff - docs/yaml.md \
		|| { echo "docs/yaml.md is old: run 'make lock'."; exit 1; }

lock: setup ## Write requirements*.txt from requirements*.in; the YAML's schema and docs/yaml.md from the types
	@$(UV) pip compile -q requirements.in -o requirements.txt --python-version 3.11 $(CUDA_ONLY) --custom-compile-command 'make lock'
	@for image in $(IMAGES); do $(call subset,$$image,requirements-$$image.txt) || exit 1; done
	@$(PY) -m include.cli schema > config/pipeline.schema.json
	@$(PY) -m include.cli schema --markdown > docs/yaml.md

migration: setup ## Write what the ledger's tables lack as a migration: make migration m="Add a pause table"
	@$(PY) -m include.ledger.migrations "$(m)"
	@.venv/bin/ruff format -q include/ledger/migrations/versions

bench: setup ## Measure, and write bench/results.json
	@$(PY) -m bench

soak: setup ## Run the long trials, and write bench/soak.json and docs/reliability.md (2 hours)
	@$(PY) -m soak

clean: ## Stop everything; remove the environment and all data
	@if [ -x $(PY) ]; then $(PY) -m include.cli down || true; fi
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis evergreen.egg-info "$${EVERGREEN_DATA:-data}"
