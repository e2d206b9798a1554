# `make serve` and `make test` each work alone on a fresh checkout with Python 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= $(firstword $(wildcard ../shared/data/train data/train))
SERVE := $(VENV)/.serve
DEV := $(VENV)/.dev
SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help setup serve test check format train bench sbom audit fuzz docker-check clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(SERVE): pyproject.toml constraints.txt setup.py $(wildcard model/backends/*/*.[ch] app/codec/*.c)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(DEV): $(SERVE)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,train]'
	@touch $@

setup: $(DEV) ## .venv with everything, for development

serve: $(SERVE) ## install what serving needs and serve on LAPSRN_HOST:LAPSRN_PORT (127.0.0.1:8000)
	$(BIN)/lapsrn serve

test: $(DEV) ## install everything and run every test, with coverage
	$(BIN)/python -m pytest --cov --cov-report=term

check: $(DEV) ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror model/backends/*/*.[ch] app/codec/*.c
	$(BIN)/ruff check .
	$(BIN)/mypy app model tests bench deploy
	$(BIN)/lint-imports

format: $(DEV) ## rewrite the sources in the house style
	$(BIN)/ruff format .
	$(BIN)/clang-format -i model/backends/*/*.[ch] app/codec/*.c
	$(BIN)/ruff check --fix .

train: $(DEV) ## train the served network on the pictures in DATA (resumes)
	$(BIN)/python -m model.train --preset served --data $(DATA)

bench: $(DEV) ## measure against peers, in one run, as ratios
	$(BIN)/python -m bench

sbom: $(DEV) ## what serving installs, with versions and licences, as CycloneDX: build/sbom.cdx.json
	$(BIN)/python -m deploy.sbom build/sbom.cdx.json

audit: $(DEV) ## ask for known vulnerabilities of every pinned package
	$(BIN)/python -m deploy.audit

fuzz: $(DEV) ## throw damaged pictures at the decoder for SECONDS (60), guided by coverage
	$(BIN)/python -m tests.fuzz.decode $(SECONDS) build/fuzz

docker-check: ## build the image, run it with Prometheus, send a picture, ask Prometheus
	deploy/docker-check

clean: ## remove what can be made again
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage build *.egg-info model/backends/*/_*.so app/codec/_native*.so
