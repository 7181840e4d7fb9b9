# Every target does its own set-up: a virtual environment from the pinned, hashed lock file.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: help setup demo up ingest-check test lint types unit services stack cluster-test image-test lock clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(READY)  ## create .venv from requirements.lock

# make demo [DATA=folder] [OLD=road] [NEW=building] [CONTROL=1] [OUT=out] [MINUTES=2.5] [CLICKS=60] [IMAGES=1] [SEED=0] [ARGS=...]
DEMO_ARGS = $(if $(DATA),--data "$(DATA)") $(if $(OLD),--old "$(OLD)") $(if $(NEW),--new "$(NEW)") \
	$(if $(OUT),--out "$(OUT)") $(if $(MINUTES),--minutes $(MINUTES)) $(if $(CLICKS),--clicks $(CLICKS)) \
	$(if $(IMAGES),--images $(IMAGES)) $(if $(SEED),--seed $(SEED)) $(if $(CONTROL),--control) $(ARGS)

demo: $(READY)  ## the main job, from nothing to a class added by clicks
	$(BIN)/python -m services.demo $(DEMO_ARGS)

up: $(READY)  ## the same services, staying up for your own clicks
	$(BIN)/python -m services.demo --up $(DEMO_ARGS)

ingest-check: $(READY)  ## what FOLDER=... would become: a table and a picture, nothing is stored
	$(BIN)/icss ingest check "$(FOLDER)"

lint: $(READY)  ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## mypy, strict on icss_core and services
	nice -n 5 $(BIN)/mypy

unit: $(READY)  ## pytest without what needs a server
	nice -n 5 $(BIN)/pytest -m "not services and not stack and not cluster"

services: $(READY)  ## pytest of what needs S3 or MLflow
	$(BIN)/pytest -m services tests/services

stack: $(READY)  ## pytest of what needs all services, Ray and Serve among them
	$(BIN)/pytest -m stack tests/e2e

cluster-test: $(READY)  ## pytest of nodes that are lost: machines as network namespaces (as root), minutes
	$(BIN)/pytest -m cluster -s tests/cluster

# three at a time, the longest first: those with servers wait for them half of the time, and what only computes
# gives way to them; each prints its lines when it is done
test: lint  ## everything CI runs
	@$(MAKE) --no-print-directory --jobs 3 --output-sync=target stack services unit types

LOCK = uv pip compile pyproject.toml --generate-hashes --python-version 3.11 --no-header --no-annotate

# the second file is what an image needs: the first without the tools of development. uv keeps the versions and
# hashes that it finds in a file, so each entry of it is an entry of the first (tests/image checks that)
lock:  ## resolve pyproject.toml into the two lock files again (needs uv)
	$(LOCK) --extra dev -o requirements.lock
	cp requirements.lock requirements-runtime.lock
	$(LOCK) --extra pretrained -o requirements-runtime.lock

# make image-test [VARIANTS="cpu cuda"] [WORK=folder]: root, some minutes, and 30 GB of disk for a while
VARIANTS ?= cpu cuda
image-test:  ## build the container image and try it, read-only and without root
	$(PYTHON) -m tests.image $(if $(WORK),--work "$(WORK)") $(VARIANTS)

clean:  ## remove the virtual environment and results
	rm -rf $(VENV) out
