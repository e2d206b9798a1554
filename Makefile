# `make serve` and `make test` each work alone on a fresh checkout with make and a Python that all packages have wheels for.
FITS = -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))'
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell $(name) $(FITS) 2>&- && echo $(name))))
UNFIT = $(or $(PYTHON),python3) is not Python 3.11, 3.12, 3.13 or 3.14. Install one and name it: make $(MAKECMDGOALS) PYTHON=python3.13
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --disable-pip-version-check -c constraints.txt
DATA ?= $(firstword $(wildcard ../shared/data/train data/train))
SERVE := $(VENV)/.serve
DEV := $(VENV)/.dev
SERVED := build/served
PINS ?= constraints.txt
AUDIT = $(BIN)/pip-audit --requirement $(PINS) --no-deps --disable-pip --progress-spinner off $(AUDIT_OPTIONS)
SECONDS ?= 60
C_SOURCES = $(wildcard model/backends/*/*.[ch] app/codec/*.[ch] tests/model/backends/*/*.[ch])

.DEFAULT_GOAL := help
.PHONY: help setup serve test coverage check format train wheels pythons bench sbom audit fuzz docker-check scale-check ray-check clean no-data

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# PyTorch computes on NVIDIA GPUs, and on systems that the kernels in C are not compiled for.
SYSTEM := $(shell uname -s)-$(shell uname -m)
ifneq ($(wildcard /dev/nvidiactl),)
  COMPUTE := gpu
else ifeq ($(filter Linux-x86_64 Linux-aarch64,$(SYSTEM)),)
  COMPUTE := torch
endif

$(SERVE): pyproject.toml constraints.txt setup.py $(wildcard model/backends/*/*.[ch] app/codec/*.[ch])
	@test -x $(BIN)/pip || $(or $(PYTHON),false) $(FITS) || { echo "$(UNFIT)" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing what serving needs here: $(if $(COMPUTE),PyTorch included,no PyTorch (no NVIDIA GPU); make setup adds it)"
	@mkdir -p build
	@$(BIN)/python deploy/image/requirements.py pyproject.toml heif $(COMPUTE) > build/serve.txt
	$(PIP) --quiet --no-deps -e . & own=$$!; $(PIP) -r build/serve.txt && wait $$own  # both: compiling takes as long
	@touch $@

$(DEV): $(SERVE)
	@$(BIN)/python deploy/image/requirements.py pyproject.toml heif dev train > build/dev.txt
	$(PIP) --quiet -r build/dev.txt
	@touch $@

setup: $(DEV) ## .venv with everything, for development

serve: $(SERVE) ## install what serving needs and serve on LAPSRN_HOST:LAPSRN_PORT (127.0.0.1:8000)
	$(BIN)/lapsrn serve

test: $(DEV) ## install everything and run every test
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(COVERAGE)

coverage: COVERAGE = --cov --cov-report=term
coverage: test ## the same, and which lines of the sources ran

check: $(DEV) ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(C_SOURCES)
	$(BIN)/ruff check .
	$(BIN)/mypy app model tests bench deploy clients/python/src lapsrn
	$(BIN)/lint-imports

format: $(DEV) ## rewrite the sources in the house style
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_SOURCES)
	$(BIN)/ruff check --fix .

train: $(if $(DATA),$(DEV),no-data) ## train the served network on the pictures in DATA (resumes)
	$(BIN)/python -m model.train --preset served --data $(DATA)

no-data:
	@echo "there are no pictures to train on: name a folder of them, make train DATA=/folder/of/pictures" >&2; exit 1

wheels: $(DEV) ## dist/: the service for every system that it can be compiled for, and the client
	for target in x86_64-linux aarch64-linux x86_64-macos aarch64-macos x86_64-windows; do \
	  LAPSRN_TARGET=$$target $(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps -w dist . || exit 1; done
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps -w dist ./clients/python

# The newest interpreter of each version that pyenv or the system has.
pythons: $(DEV) ## build/pythons/: the wheel, installed for every other supported Python, for tests/deploy/test_pythons.py
	mkdir -p build/pythons && rm -f build/pythons/*.whl
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps -w build/pythons .
	for version in 3.12 3.13 3.14; do \
	  python=$$(ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version.*/bin/python 2>/dev/null | tail -n 1); \
	  python=$${python:-$$(command -v python$$version)} || { echo "there is no Python $$version here"; continue; }; \
	  $$python -m venv --clear build/pythons/$$version && build/pythons/$$version/bin/pip install --quiet \
	    --disable-pip-version-check -c constraints.txt "$$(ls build/pythons/lapsrn-*.whl)[heif]" || exit 1; done

bench: $(DEV) ## measure against peers, in one run, as ratios
	$(BIN)/python -m bench

# An environment of its own: the tool lists all that is installed, and .venv holds development's packages too.
$(SERVED)/.done: pyproject.toml constraints.txt deploy/image/requirements.py | $(DEV)
	$(BIN)/python -m venv --clear --without-pip $(SERVED)
	$(BIN)/python deploy/image/requirements.py pyproject.toml heif > $(SERVED)/requirements.txt
	$(BIN)/pip --python $(SERVED) install --quiet --disable-pip-version-check -c constraints.txt \
	  -r $(SERVED)/requirements.txt
	@touch $@

sbom: $(SERVED)/.done ## what serving installs, with versions and licences, as CycloneDX: build/sbom.cdx.json
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  --output-file build/sbom.cdx.json $(SERVED)

# pip-audit exits with 1 for a vulnerability and for a service that does not answer, but reports only vulnerabilities.
# The dry run fails on what is wrong with the pins themselves.
audit: $(DEV) ## ask for known vulnerabilities of every pinned package; skipped where no advisory service answers
	$(AUDIT) --dry-run
	@report=$$($(AUDIT)) || { test -z "$$report" && report="audit: skipped: no advisory service answered"; }; \
	status=$$?; echo "$$report"; exit $$status

fuzz: $(DEV) ## throw damaged pictures at the decoder for SECONDS (60), guided by coverage
	$(BIN)/python -m tests.fuzz.decode $(SECONDS) build/fuzz

docker-check: ## build the image, run it with Prometheus, send a picture, ask Prometheus
	deploy/docker-check

scale-check: ## containers behind a balancer, restarted and killed under load
	deploy/scale-check $(SCALE_OPTIONS)

# An environment of its own: Ray brings half a gigabyte that nothing else needs.
build/ray-venv/.done: pyproject.toml constraints.txt
	test -x build/ray-venv/bin/python || $(PYTHON) -m venv build/ray-venv
	build/ray-venv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[heif,ray]'
	@touch $@

ray-check: build/ray-venv/.done ## two nodes of Ray: pictures while a replica and then a node are killed
	build/ray-venv/bin/python -m deploy.ray_check

clean: ## remove what can be made again
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage build *.egg-info model/backends/*/_*.so app/codec/_native*.so
