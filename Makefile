# make demo   install, sample 70 Fashion-MNIST images from the shipped weights, show the quality
# make test   install what the tests need, then lint, types and tests
# make docs   the site, in build/site, and the page of all benchmarks
# make bench-install   and the libraries that benchmarks/ compares with
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint docs bench-install clean

demo: $(VENV)/.zoo
	$(BIN)/scorezoo sample fashion-mnist-edm --labels all --count 70 --output samples.png
	$(BIN)/scorezoo evaluate fashion-mnist-edm --labels all --count 500

test: $(VENV)/.dev lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch first, by itself: a range would take another build.
$(VENV)/.zoo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) "$$(grep '^torch==' constraints.txt)"
	$(INSTALL) --editable '.[zoo]'
	touch $@

$(VENV)/.dev: $(VENV)/.zoo
	$(INSTALL) --editable '.[dev]'
	touch $@

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	$(BIN)/python -m benchmarks report --output build/site
	@echo open build/site/index.html

$(VENV)/.docs: $(VENV)/.dev
	$(INSTALL) --editable '.[docs]'
	touch $@

bench-install: $(VENV)/.bench

# azula and k-diffusion without their dependencies: numpy < 2, torchvision, CLIP, wandb and others that
# no sampler imports. The last line fails where one of the peers is missing.
$(VENV)/.bench: $(VENV)/.dev
	$(INSTALL) --editable '.[bench]'
	$(INSTALL) --no-deps azula k-diffusion
	$(BIN)/python -c 'from benchmarks import peers; assert not peers.absent(), peers.absent()'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
