# `make demo` and `make test` are all a fresh machine needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test clean

demo: .venv/.predict
	$(BIN)/upscore demo -o demo-output

test: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

# uv resolves and unpacks torch's large wheels in a fraction of pip's time.
.venv/bin/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv

.venv/.%: pyproject.toml constraints.txt | .venv/bin/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable ".[$*]"
	touch $@

clean:
	rm -rf .venv demo-output
