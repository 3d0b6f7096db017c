# Every target makes the virtual environment that it needs first, if it is missing.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# The lower bounds of setup.cfg, where .venv has the newest versions that were tested.
OLDEST := .venv-oldest
# A process for each core; the tests of a file stay together, since they share what they train.
PARALLEL := --numprocesses auto --dist loadfile
RUN := runs/demo-$(shell date +%Y%m%d-%H%M%S)
# Nothing is fetched by a test or the demo: the digits come inside scikit-learn.
export HF_HUB_OFFLINE := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-oldest test-slow test-multinode quality style

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

$(VENV)/.complete: constraints.txt
$(OLDEST)/.complete: .ci/oldest.txt
%/.complete: setup.cfg pyproject.toml
	test -x $*/bin/python || $(PYTHON) -m venv $*
	$*/bin/python -m pip install --quiet --upgrade pip
	$*/bin/python -m pip install --quiet --constraint $(filter %.txt,$^) --editable '.[dev]'
	touch $@

demo: $(VENV)/.complete ## the whole method on long-tailed digits, on a CPU, in minutes
	$(BIN)/deit-lt finetune digits_lt --output_dir $(RUN)
	$(BIN)/deit-lt classify $(RUN) $(RUN)/example.png

test: $(VENV)/.complete ## the tests
	$(BIN)/python -m pytest $(PARALLEL)

test-oldest: $(OLDEST)/.complete ## the tests with the oldest versions that setup.cfg admits
	$(OLDEST)/bin/python -m pytest $(PARALLEL)

test-slow: $(VENV)/.complete ## the tests that take longer
	$(BIN)/python -m pytest -m slow $(PARALLEL)

test-multinode: $(VENV)/.complete ## two machines, as network namespaces; needs root and iproute2
	@test "$$(id -u)" = 0 && command -v ip > /dev/null || { echo "make test-multinode needs root and ip (iproute2)"; exit 1; }
	$(BIN)/python -m pytest -m slow tests/ranks/test_two_hosts.py

quality: $(VENV)/.complete ## lint and format check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

style: $(VENV)/.complete ## lint and format, written
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
