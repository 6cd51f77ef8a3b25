# Both commands do all their own set-up on a machine with Python 3.11 or newer and make.
PYTHON ?= python3
RUNTIME := .venv
DEV := .venv-dev
CONSTRAINTS := .constraints.txt

EPOCHS ?= 12

.PHONY: demo test check rigs published clean

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

# Faults of cameras, sinks, disks and files, against real counterparts, and a table of what was seen. As root
# on Debian it installs what it needs (QEMU, a kernel with a virtual camera, GStreamer).
rigs: $(DEV)/.ready
	$(DEV)/bin/python tests/rigs/run.py

# The five networks of the published study by its protocol, one after the other, then their table:
# make published DATA=DIR [EPOCHS=1]. What was broken off goes on where it stopped.
published: $(DEV)/.ready
	for network in fcn unet pspnet deeplabv3plus segformer; do \
		$(DEV)/bin/drivable-train --config train/published --model $$network --data $(DATA) --out runs/published \
			--stages "[{input_wh: [320, 180], epochs: $(EPOCHS), batch_size: 8, max_learning_rate: 3.0e-4}]" \
			$$(test -f runs/published/$$network/last.pt && echo --resume) || exit 1; \
	done
	$(DEV)/bin/drivable-train table --runs runs/published

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
