# `make demo` and `make test` each do all their own set-up in .venv; both can be repeated.
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
export OMP_NUM_THREADS := 1
export MKL_CBWR := AVX2

.PHONY: demo test slow lint bench clean

demo: .venv/installed
	$(BIN)/regsearch study start studies/digits.yaml --replace

test: .venv/installed-dev
	$(BIN)/python -m pytest -m "not slow" -n 2

slow: .venv/installed-dev
	$(BIN)/python -m pytest -m slow

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed-dev
	$(BIN)/python benchmarks/bench.py

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache

.venv/made:
	@test -n "$(PYTHON)" || { echo "regsearch needs Python 3.11 or newer with the venv module on the PATH"; exit 1; }
	rm -rf .venv
	$(PYTHON) -m venv .venv
	touch $@

.venv/installed: .venv/made pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/made pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@ .venv/installed
