# Two commands do everything on a fresh machine: `make demo` and `make test`. See README.md.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
# The first Python that runs and is new enough; name another with `make PYTHON=...`.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
  "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$p" && break; done)
CORES ?= $(shell nproc)
SNAKEMAKE = $(VENV)/bin/snakemake --cores $(CORES) --show-failed-logs --scheduler greedy
APT_LINE = sudo apt-get install -y python3 python3-venv git make libgl1 libglib2.0-0
# The environment is made again when what it is made from has changed.
STAMP := $(VENV)/.installed-$(shell cat pyproject.toml constraints.txt | sha256sum | cut -c1-12)

.PHONY: help env demo demo-all pull test check unit clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

env: $(STAMP)  ## create the environment in .venv and install the project

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found. On Debian: $(APT_LINE)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "Python's venv module is missing. On Debian: $(APT_LINE)"; exit 1; }
	@echo "Creating the environment in $(VENV) (about 7 GB with PyTorch; a few minutes the first time)"
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(VENV)/bin/python --constraint constraints.txt --editable '.[workflow,compare,dev]' \
	  || $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[workflow,compare,dev]'
	@$(VENV)/bin/python -c 'import cv2' \
	  || { echo "OpenCV cannot load the system libraries it links. On Debian: $(APT_LINE)"; exit 1; }
	@rm -f $(VENV)/.installed-* && touch $@

runs/demo/archives/SHA256SUMS: $(STAMP) $(wildcard prn/tools/miniature/*.py)
	@mkdir -p runs/demo/archives
	@echo "Building the demo's small archives from photographs of scikit-image"
	@test ! -f $@ || cp $@ $@.before
	@$(VENV)/bin/prn miniature --out runs/demo/archives
	@if test -f $@.before && ! cmp -s $@ $@.before; then \
	  echo "The archives have changed: removing what was made from the old ones"; rm -rf runs/demo/data runs/demo-all/data; fi
	@rm -f $@.before && touch $@

demo: $(STAMP) runs/demo/archives/SHA256SUMS  ## run the whole benchmark on small embedded data (minutes on 2 cores)
	@$(SNAKEMAKE) --profile workflow/profiles/demo all
	@echo "Read runs/demo/reports/README.md"

demo-all: $(STAMP) runs/demo/archives/SHA256SUMS  ## the demo with every other variant and method, on one category
	@mkdir -p runs/demo-all && ln -sfn ../demo/archives runs/demo-all/archives
	@$(SNAKEMAKE) --configfile workflow/presets/demo.yaml workflow/presets/demo-all.yaml --directory runs/demo-all --keep-going -- all
	@echo "Read runs/demo-all/reports/README.md"

pull: $(STAMP)  ## fetch results from the DVC remote and take over those that match today's settings
	@$(VENV)/bin/dvc pull
	@$(VENV)/bin/prn adopt

check: $(STAMP)  ## format, lint, types, spelling, workflow lint
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/codespell
	@$(VENV)/bin/snakefmt --check Snakefile workflow
	@$(VENV)/bin/snakemake --lint

unit: $(STAMP)  ## the tests that need no real tools
	@$(VENV)/bin/pytest -n 2 -m "not slow"

test: check  ## checks and the whole test suite
	@$(VENV)/bin/pytest -n 2 --dist worksteal

clean:  ## remove what the demo made
	rm -rf runs/demo runs/demo-all
