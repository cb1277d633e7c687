# The one door to this project, for people and for CI. `make help` lists it.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
STAMP = $(VENV)/.complete
NEXT = .next
NEXT_PACKAGES = hydra-core omegaconf hydra-joblib-launcher hydra-submitit-launcher lightning torchmetrics
LOWEST = .lowest

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-next test-lowest lint types format bench check clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## a virtual environment with exactly the versions the tests ran with (2 to 4 minutes, 6 GB)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev,wandb]'
	@# pip would compile on one core; what is written for a newer Python stays as it is.
	$(RUN) -m compileall -qq -j 0 $(VENV)/lib || true
	touch $@

demo: setup  ## train, localize and draw overlays on the embedded dataset (5 to 7 minutes on 2 cores)
	$(RUN) -m cam_lightning.train experiment=shapes_quick

test: setup  ## the whole quick suite
	$(RUN) -m pytest -n 2 -m 'not slow'

test-slow: setup  ## the tests that take more than a few seconds each
	$(RUN) -m pytest -m slow

test-next: setup  ## the quick suite with the pre-releases of Hydra, OmegaConf and Lightning, all else as pinned
	$(RUN) -m venv --clear --without-pip $(NEXT)
	@# What is not newer is seen through to the pinned environment, pip and this project too.
	cd $(NEXT)/lib/python*/site-packages && \
	  echo "import glob, site; site.addsitedir(*glob.glob('$(abspath $(VENV))/lib/python*/site-packages'))" > pinned.pth
	$(NEXT)/bin/python -m pip install --quiet --pre --upgrade --editable . $(NEXT_PACKAGES)
	$(NEXT)/bin/python -m pytest -n 2 -m 'not slow'

test-lowest:  ## the quick suite with the lowest versions that pyproject.toml admits (its own environment, 6 GB)
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python .ci/lowest_versions.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/pip install --quiet --constraint $(LOWEST)/constraints.txt --editable '.[dev,wandb]'
	$(LOWEST)/bin/python -m pytest -n 2 -m 'not slow'

lint: setup  ## style, and whether the code is formatted
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: setup  ## static types
	$(RUN) -m mypy

format: setup  ## format the code, and mend what can be mended
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: setup  ## what Lightning and localization cost, as ratios against named alternatives
	$(RUN) -m experiments.bench_training_step
	$(RUN) -m experiments.bench_local_response_norm
	$(RUN) -m experiments.bench_localization
	$(RUN) -m experiments.bench_localization --metrics all --backbone resnet50_gap --images 64 --pairs 3
	$(RUN) -m experiments.bench_level_sweep
	$(RUN) -m experiments.bench_evaluate_maps
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(RUN) -m experiments.bench_peers
	$(RUN) -m experiments.bench_maps
	$(RUN) -m experiments.bench_dataset
	$(RUN) -m experiments.bench_loading

check: lint types test  ## all that CI asks for

clean:  ## remove the environment and what the tools left
	rm -rf $(VENV) $(NEXT) $(LOWEST) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
