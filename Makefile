# `make demo` and `make test` are all a fresh machine needs.
PYTHON ?= python3
BIN := .venv/bin

# Some machines tell Python to keep no compiled modules: each of the hundreds of processes that the
# tests start would then spend seconds on compiling torch.
export PYTHONDONTWRITEBYTECODE :=
# Two test processes share the cores: threads of OpenMP that wait shall not keep others from working.
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test test-fast release docs browser clean

demo: .venv/.predict
	$(BIN)/upscore demo -o demo-output

test: .venv/.test browser
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select PLW1514 src # text files have a named encoding
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto --dist loadfile

# While you work: without the slow tests. The first run also compiles all kernels.
test-fast: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/pytest -n auto -m "not slow and not release"

# What takes many minutes, after `make test`: each extra alone, other Pythons, kernels that check every
# index, sixty thousand pixels squared, ten thousand files and requests.
release: .venv/.test browser
	$(BIN)/pytest -m release -rs

# The site, in site/; a broken link is an error.
docs: .venv/.docs
	$(BIN)/zensical build --clean --strict

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
	rm -rf .venv demo-output site
