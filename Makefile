# `make demo` and `make test` are all a fresh machine needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test browser clean

demo: .venv/.predict
	$(BIN)/upscore demo -o demo-output

test: .venv/.test browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto --dist loadfile

# For the tests of the pages: Debian's Chromium where it can be installed, else Playwright's own.
browser: .venv/.test
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && \
		timeout 300 sh -c "apt-get install -y -qq chromium || { apt-get update -qq && \
		apt-get install -y -qq chromium; }" >/dev/null 2>&1; } || \
		timeout 300 $(BIN)/playwright install chromium >/dev/null 2>&1 || \
		printf '\n*** No Chromium could be installed: the tests of the pages WILL SKIP. ***\n\n'

# uv resolves and unpacks torch's large wheels in a fraction of pip's time.
.venv/bin/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv

.venv/.%: pyproject.toml constraints.txt | .venv/bin/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable ".[$*]"
	touch $@

clean:
	rm -rf .venv demo-output
