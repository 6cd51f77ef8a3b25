# Both commands do all their own set-up on a machine with Python 3.11 or newer and make.
PYTHON ?= python3
RUNTIME := .venv
DEV := .venv-dev
CONSTRAINTS := .constraints.txt

.PHONY: demo test check clean

# The runtime alone, no torch: drives the built-in road with the shipped model.
demo: $(RUNTIME)/.ready
	$(RUNTIME)/bin/drivable-node --source synthetic --duration 20 --out out/demo.mp4

# Everything: lint, types, tests.
test: $(DEV)/.ready check
	$(DEV)/bin/python -m pytest

check: $(DEV)/.ready
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy --strict -p perception -p bench
	$(DEV)/bin/mypy -p train -p export

$(RUNTIME)/.ready: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(RUNTIME)
	$(RUNTIME)/bin/python -m pip install --constraint $(CONSTRAINTS) --editable .
	touch $@

$(DEV)/.ready: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/python -m pip install --constraint $(CONSTRAINTS) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(RUNTIME) $(DEV) out
