# Everything runs with the Python of .venv, which the first target creates. The scripts in .venv/bin are not used,
# and all paths are relative: so the folder may lie anywhere, whatever letters and spaces its path has.

PYTHON ?= python3
PORT ?= 8000
RUN := .venv/bin/python
READY := .venv/ready

# Chapters and tests run in folders of their own, so a path from here has to become a whole one.
ifdef CNNLAB_DATA
override export CNNLAB_DATA := $(if $(filter /% ~%,$(firstword $(CNNLAB_DATA))),,$(CURDIR)/)$(CNNLAB_DATA)
endif

# Threads that wait should sleep: on a busy machine, spinning ones keep the others from working.
book serve test notebooks: export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup book serve test lint prose chromium notebooks bench clean

help:
	@echo "make book       run the chapters and write the site for both languages to book/_build/html"
	@echo "make serve      the same, then show it on http://localhost:$(PORT)"
	@echo "make test       lint, prose, then all tests: package, notebooks, site in a browser"
	@echo "make notebooks  run the notebooks again and write them back clean"
	@echo "make bench      measure the speed of the package"
	@echo "make lint       ruff and mypy"
	@echo "make prose      check the words of the book: textlint for Japanese, hunspell for Korean, terms"
	@echo "make clean      remove what was built; .venv stays"
	@echo "The first of these creates .venv with $(PYTHON); for another Python: make PYTHON=python3.12 book"

setup: $(READY)

# The mark says for which folder .venv was made, since an editable installation breaks when the folder moves.
ifneq "$(shell cat $(READY) 2>/dev/null)" "$(CURDIR)"
.PHONY: $(READY)
endif

$(READY): pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "There is no $(PYTHON) here. Install Python 3.10 or newer, or name yours: make PYTHON=/path/to/python"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.version_info >= (3, 10) or sys.exit("This needs Python 3.10 or newer; $(PYTHON) is " \
	  + sys.version.split()[0] + ". Name a newer one: make PYTHON=python3.12")'
	@test -x $(RUN) || "$(PYTHON)" -m venv .venv
	@$(RUN) -m pip --version >/dev/null 2>&1 || $(RUN) -m ensurepip
	@echo "Installing what the book and its tests need into .venv (once; PyTorch is large)"
	$(RUN) -m pip install --disable-pip-version-check -e ".[book,test,dev]"
	@pwd -P > $@

book: $(READY)
	@$(RUN) book/build.py

serve: $(READY)
	@$(RUN) book/build.py --serve $(PORT)

# What CI checks, this checks. Two at a time and with one thread each, as the build runs the chapters, the tests of a
# file one after another; those with limits of time and memory (marked `alone`) have the machine for themselves.
test: lint prose chromium book
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile -m "not alone" --nbval tests notebooks
	$(RUN) -m pytest -m alone tests

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

# Node comes with .venv, and textlint is fetched once; hunspell and its Korean dictionary are the system's.
prose: $(READY)
	@$(RUN) book/prose.py

# The tests of the site need a browser: one of the system, the one that CNNLAB_CHROMIUM names, or Playwright's own.
chromium: $(READY)
	@test -n "$$CNNLAB_CHROMIUM" || command -v chromium >/dev/null || command -v chromium-browser >/dev/null \
	  || command -v google-chrome >/dev/null || command -v google-chrome-stable >/dev/null \
	  || $(RUN) -m playwright install chromium \
	  || { echo "The tests of the site need Chromium, and it could not be fetched. Install it (Debian: apt install"; \
	       echo "chromium) or name a Chrome or Chromium: CNNLAB_CHROMIUM=/path/to/chrome make test"; exit 1; }

notebooks: $(READY)
	@$(RUN) book/notebooks.py

bench: .venv/bench
	$(RUN) tests/benchmarks/bench_ops.py
	$(RUN) tests/benchmarks/bench_grading.py
	$(RUN) tests/benchmarks/bench_widgets.py
	@if $(RUN) -c 'import sys; from cnnlab.data import data_folder; sys.exit(not (data_folder() / "MNIST/raw").is_dir())'; \
	  then echo "$(RUN) tests/benchmarks/bench_training.py"; $(RUN) tests/benchmarks/bench_training.py; \
	  else echo "MNIST is not on this machine, so the training was not measured (README says where MNIST is looked for)."; fi

.venv/bench: $(READY)
	$(RUN) -m pip install --disable-pip-version-check -e ".[bench]"
	@touch $@

clean:
	rm -rf book/_build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests book notebooks -name __pycache__ -prune -exec rm -rf {} +
