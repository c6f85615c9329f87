# On a fresh clone this needs only make and Python 3.11 to 3.13; everything else comes from PyPI.

# Which Python makes the environment (empty: the first suitable one on PATH), with which Airflow, and where it is made.
PYTHON ?=
SUPPORTED := 3.1.8 3.2.2 3.3.2
NEWEST := $(lastword $(SUPPORTED))
AIRFLOW ?= $(NEWEST)
VENV ?= .venv$(if $(filter-out $(NEWEST),$(AIRFLOW)),-$(AIRFLOW))
# What is installed into it: empty for this checkout, editable; or a wheel, which is then what the tests see.
PACKAGE ?=
# A process a core shares the tests, four at most since each has Airflow in memory; the order of their files keeps what
# takes longest from being the last.
IN_PARALLEL := --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# pytest's command line; `-m ""` runs the slow tests too, as CI does, one after the other.
PYTEST_ARGS ?= $(IN_PARALLEL)

# The bench's command line, such as `--parts waits --sizes 10,100 --repeats 1`.
BENCH_ARGS ?= --picture docs/images/bench.svg

# Added to the cluster's command line, such as `--runs 40` or `--stay`.
CLUSTER_ARGS ?=

# Added to the fault matrix's command line, such as `--rows token,cleared`.
FAULTS_ARGS ?=

BIN := $(VENV)/bin
PINS := .ci/constraints$(if $(filter-out $(NEWEST),$(AIRFLOW)),-$(AIRFLOW)).txt
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(PINS)
# These change when the environment has to be brought up to date.
INPUTS := pyproject.toml $(PINS) $(PACKAGE)

$(if $(filter $(AIRFLOW),$(SUPPORTED)),,$(error AIRFLOW=$(AIRFLOW) is none of the versions that have pins: $(SUPPORTED)))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo airflow test test-all faults cluster bench lint docs audit release clean

help: ## show this list
	@echo "usage: make TARGET [PYTHON=python3.12] [AIRFLOW=$(firstword $(SUPPORTED))]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.installed ## load, transform and show a month of flights in a real Airflow, without a dbt Cloud account
	@$(BIN)/python tools/demo.py

airflow: $(VENV)/.installed ## the same, but Airflow stays up for looking around
	@$(BIN)/python tools/demo.py --stay

test: $(VENV)/.installed ## run the tests, without the slow ones (all of them: PYTEST_ARGS='-m ""')
	$(if $(PACKAGE),EXPECT_INSTALLED_WHEEL=1) $(BIN)/pytest $(PYTEST_ARGS)

test-all: ## run the tests on each supported Airflow, in an environment of its own: in half an hour
	@failed=; for airflow in $(SUPPORTED); do \
		echo "---- Airflow $$airflow ----"; \
		$(MAKE) --no-print-directory test AIRFLOW=$$airflow || failed="$$failed $$airflow"; \
	done; \
	test -z "$$failed" || { echo "The tests have failed on Airflow$$failed" >&2; exit 1; }

faults: $(VENV)/.installed-official ## kill workers, triggerers and dbt Cloud under this provider and the official one: a table, in an hour and a half
	@$(BIN)/python tools/faults.py $(FAULTS_ARGS)

cluster: $(VENV)/.installed-cluster ## run docker-compose.yaml's Airflow without Docker, with Celery, and kill parts of it: in a quarter of an hour
	@$(BIN)/python tools/cluster.py $(CLUSTER_ARGS)

bench: $(VENV)/.installed-bench ## measure what waiting costs with this provider and the official one: tables and a picture, in an hour
	@$(BIN)/python tools/bench.py $(BENCH_ARGS)

lint: $(VENV)/.installed-lint ## check style, types and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-docs ## build the documentation in build/site; a link that leads nowhere is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

audit: $(VENV)/.installed-lint ## look for known vulnerabilities in what is pinned, where the database can be reached
	@$(BIN)/python .ci/audit.py $(PINS)

release: $(VENV)/.installed-lint ## build the source distribution and the wheel in dist/, and check them as a user would find them
	@$(BIN)/python tools/release.py

clean: ## remove what these targets made: environments, builds, caches
	rm -rf .venv .venv-3.* .ci/work .demo .airflow dist build *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find airflow_provider_dbtcloud_dlt dags_examples tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@python=$$(sh .ci/find-python "$(PYTHON)") && echo "Making $(VENV) with $$python" && "$$python" -m venv "$(VENV)"

# `test` holds all that the demo needs; one environment serves both.
$(VENV)/.installed: $(INPUTS) | $(BIN)/python
	@echo "Installing Airflow, dlt, dbt and the rest into $(VENV): one or two minutes, once"
	@$(INSTALL) $(if $(PACKAGE),"$(PACKAGE)[test]",--editable ".[test]")
	@touch $@

$(VENV)/.installed-lint: $(VENV)/.installed
	@echo "Installing ruff, mypy, import-linter, twine and pip-audit into $(VENV)"
	@$(INSTALL) $(if $(PACKAGE),"$(PACKAGE)[lint]",--editable ".[lint]")
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed-lint
	@echo "Installing mkdocs into $(VENV)"
	@$(INSTALL) $(if $(PACKAGE),"$(PACKAGE)[docs]",--editable ".[docs]")
	@touch $@

$(VENV)/.installed-official: $(VENV)/.installed
	@echo "Installing the official provider into $(VENV)"
	@$(INSTALL) $(if $(PACKAGE),"$(PACKAGE)[official]",--editable ".[official]")
	@touch $@

$(VENV)/.installed-cluster: $(VENV)/.installed
	@echo "Installing Celery into $(VENV)"
	@$(INSTALL) $(if $(PACKAGE),"$(PACKAGE)[cluster]",--editable ".[cluster]")
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-official
	@echo "Installing matplotlib into $(VENV)"
	@$(INSTALL) $(if $(PACKAGE),"$(PACKAGE)[bench]",--editable ".[bench]")
	@touch $@
