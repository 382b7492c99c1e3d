# Two commands for everyone: `make report` and `make test`. Both install what they need into .venv first.
PYTHON      ?= python3
CONSTRAINTS ?= -c .ci/constraints.txt# empty on a GPU machine: make report CONSTRAINTS=
NOTEBOOKS   ?= 00 01 01b 01c 04 04b 04c
PROFILE     ?= laptop
BIN         := .venv/bin

# one thread a process: two threads on two shared cores are erratic, two processes are not
TEST_ENV := OMP_NUM_THREADS=1 MOTIONKIT_BATCH=1

.PHONY: help report test test-browser lint unit notebooks figures study pretrained bench lab dashboard install clean
.DEFAULT_GOAL := help

help:
	@echo "make report   run notebooks $(NOTEBOOKS) at profile $(PROFILE) and write report/index.html"
	@echo "make test     lint, unit tests, doctests, notebooks; where Chromium is installed, the notebooks live as well"
	@echo "make test-browser  the tests in a real browser alone; without one they fail"
	@echo "make figures  keep the pictures, tables and records of the last report in figures/, its times in the README"
	@echo "make study SWEEP=runs/sweeps/NAME  keep what a sweep found in figures/sweeps/, where notebooks 01c and 04c read it"
	@echo "make pretrained SWEEP=runs/sweeps/NAME  make a sweep's models the trained tokenizers inside the kit"
	@echo "make bench    speed side by side with the peers"
	@echo "make lab      JupyterLab at notebooks/00_start_here.ipynb"
	@echo "make dashboard     the same notebook as a page without code"

report: .venv/.all
	$(BIN)/motionkit run $(NOTEBOOKS) --profile $(PROFILE)
	$(BIN)/motionkit report $(NOTEBOOKS) --profile $(PROFILE) --out report/index.html

test: lint unit notebooks

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

unit: .venv/.dev
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 --dist loadfile --doctest-modules motionkit tests

test-browser: .venv/.dev
	$(TEST_ENV) MOTIONKIT_BROWSER=required $(BIN)/python -m pytest -n 2 --dist loadfile -m browser tests

notebooks: .venv/.dev
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 --dist loadfile -p no:doctest --nbval-lax --nbval-current-env \
		--nbval-cell-timeout=180 notebooks

# keep what finished runs drew and measured: pictures, tables, run records; and tell the README how long they took
figures:
	for record in runs/$(PROFILE)/[0-9]*/record.json; do \
		from=$$(dirname $$record); to=figures/$$(basename $$from)/$(PROFILE); mkdir -p $$to; \
		find $$from -maxdepth 1 \( -name '*.png' -o -name results.parquet -o -name record.json \) -exec cp {} $$to \; ; \
	done
	$(BIN)/python .ci/times.py

# keep what a sweep found, without its models: make study SWEEP=runs/sweeps/NAME; notebooks 01c and 04c read it
study:
	$(BIN)/python .ci/keep_sweep.py $(SWEEP)

# the models inside the kit, from a sweep that has run: make pretrained SWEEP=runs/sweeps/NAME
pretrained:
	$(BIN)/python .ci/pretrained.py $(SWEEP)

bench: .venv/.dev
	@for script in tests/bench/bench_*.py; do OMP_NUM_THREADS=1 $(BIN)/python $$script || exit 1; done

lab: .venv/.all
	$(BIN)/motionkit lab 00

dashboard: .venv/.all .venv/.dashboard
	$(BIN)/motionkit dashboard 00

install: .venv/.all

.venv/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else \
		"motionkit needs Python 3.11 or 3.12, %s is %d.%d; try: make PYTHON=python3.11" % (sys.executable, *v))'
	$(PYTHON) -m venv .venv

.venv/.all .venv/.dev .venv/.dashboard: .venv/.%: pyproject.toml .ci/constraints.txt | .venv/bin/python
	@echo "installing motionkit[$*] into .venv (about 2 minutes, once)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS) -e ".[$*]"
	@touch $@

clean:
	rm -rf .venv report runs test-artifacts
