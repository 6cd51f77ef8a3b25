# Both commands do all their own set-up on a machine with Python 3.11.1 or newer and make.
PYTHON ?= python3
RUNTIME := .venv
DEV := .venv-dev
LOWEST := .venv-lowest
VEHICLE := .venv-vehicle
ROS := .venv-ros
RERUN := .venv-rerun
CONSTRAINTS := .constraints.txt
PINS := configs/node/vehicle
UV := $(DEV)/bin/uv

EPOCHS ?= 12

# Many tests wait for something: half as many processes again as there are cores take less time than one each.
PROCESSES := $(shell n=$$(nproc 2>/dev/null || echo 2); n=$$((n + n / 2)); echo $$((n < 8 ? n : 8)))
PYTEST_OPTIONS := --numprocesses $(PROCESSES) --dist worksteal --durations 12
PYTEST := $(DEV)/bin/python -m pytest $(PYTEST_OPTIONS)
# Tests start hundreds of processes, which start a third faster where compiled modules are kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo quick test test-slow test-all test-lowest test-vehicle vehicle lint check rigs published clean

# The runtime alone, no torch: drives the built-in road with the shipped model.
demo: $(RUNTIME)/.ready
	$(RUNTIME)/bin/drivable-node --source synthetic --duration 20 --out out/demo.mp4 --overwrite

# Lint, types, and every test that is not slow: for before a push.
test: check
	$(PYTEST) -m "not slow and not slow_large"

# What `make test` leaves out. Some of it talks to programs of others, which root gets from Debian.
test-slow: $(DEV)/.ready $(ROS)/.ready
	$(DEV)/bin/python tests/clients.py
	$(PYTEST) -m "slow and not slow_large and not alone"
	$(DEV)/bin/python -m pytest -m alone

# Both, and so everything but the hours of `slow_large`.
test-all: test test-slow

# Lint, and the core of the runtime with neither processes nor networks of their own: for while one writes.
QUICK_TESTS := $(patsubst %,tests/perception/test_%.py,atomic_file books boundary_iou camera_health choice confidence \
	confusion_matrix contract damage durable endpoints frame frame_times freshness health histogram image_file \
	image_stats images jsonl letterbox masks messages numbers orientation outages overlay pacing pixel_aspect \
	planes playlist polygons predictor providers queue rate reasons redaction registry rotation runner segmentation \
	segments settings sink_worker spec stalled supervisor systemd utc video zoo) tests/perception/v4l2 \
	tests/test_rules_of_tests.py "tests/golden/test_golden.py::test_class_maps_of_a_video_are_the_golden_ones[rt_m-int8-onnx]"

quick: lint
	$(PYTEST) -m "not slow" $(QUICK_TESTS)

# The runtime, its plots and OpenVINO in the lowest versions that pyproject.toml allows: what stands on a package.
LOWEST_TESTS := $(patsubst %,tests/perception/test_%.py,boundary_iou image_stats choice completeness confidence damage \
	encrypted_streams endpoints frame frame_times gpu_engine h264_numbers image_file images imports jsonl known_answer \
	letterbox live_page masks mqtt zoo node onnx_engine openvino_engine orientation polygons overlay overlay_images predictor \
	pixel_aspect planes playlist providers rate settings stream_transport trace video video_sink whole_file \
	whole_or_cut) tests/perception/v4l2 tests/bench/report tests/bench/test_infer.py tests/bench/test_cli.py

test-lowest: $(LOWEST)/.ready
	$(LOWEST)/bin/python -m pytest $(PYTEST_OPTIONS) -W default -m "not slow and not slow_large" $(LOWEST_TESTS)

# The runtime exactly as vehicles get it, each file checked against its hash.
test-vehicle: $(VEHICLE)/.ready
	$(VEHICLE)/bin/drivable-node --source synthetic --max-frames 60 --out out/vehicle.mp4 --jsonl out/vehicle.jsonl --overwrite

# Pins the newest versions for vehicles; to be followed by `make test test-vehicle`.
vehicle: $(DEV)/.ready
	$(UV) pip compile --quiet --upgrade --universal --generate-hashes --custom-compile-command "make vehicle" \
		pyproject.toml --extra mcap --extra mqtt --output-file $(PINS).txt
	$(UV) pip compile --quiet --upgrade --universal --generate-hashes --custom-compile-command "make vehicle" \
		pyproject.toml --extra mcap --extra mqtt --extra cuda --output-file $(PINS)-cuda.txt

lint: $(DEV)/.ready
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .

check: lint
	$(DEV)/bin/mypy --strict -p perception -p bench
	$(DEV)/bin/mypy -p train -p export

# Faults of cameras, sinks, disks and files, against real counterparts, and a table of what was seen. As root
# on Debian it installs what it needs (QEMU, a kernel with a virtual camera, GStreamer).
rigs: $(DEV)/.ready $(ROS)/.ready $(RERUN)/.ready
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

$(LOWEST)/.ready: pyproject.toml $(DEV)/.ready
	$(PYTHON) -m venv --clear $(LOWEST)
	$(UV) pip install --python $(LOWEST)/bin/python --resolution lowest-direct --requirements pyproject.toml \
		--extra archive --extra bench --extra mcap --extra mqtt --extra openvino
	$(UV) pip install --python $(LOWEST)/bin/python --editable '.[test]'
	touch $@

$(VEHICLE)/.ready: pyproject.toml $(PINS).txt $(DEV)/.ready
	$(PYTHON) -m venv --clear $(VEHICLE)
	$(VEHICLE)/bin/python -m pip install --require-hashes --requirement $(PINS).txt
	$(VEHICLE)/bin/python -m pip install --no-deps .
	touch $@

# Real rclpy with Fast DDS; the wheels are for CPython 3.11 on x86-64 Linux.
$(ROS)/.ready:
	$(PYTHON) -m venv $(ROS)
	$(ROS)/bin/python -m pip install 'ros-jazzy-rclpy[fastrtps]' ros-jazzy-sensor-msgs ros-jazzy-diagnostic-msgs \
		ros-jazzy-nav-msgs ros-jazzy-std-msgs zenoh-ros2-sdk
	touch $@

# Reads bags; 166 MB.
$(RERUN)/.ready:
	$(PYTHON) -m venv $(RERUN)
	$(RERUN)/bin/python -m pip install rerun-sdk
	touch $@

clean:
	rm -rf $(RUNTIME) $(DEV) $(LOWEST) $(VEHICLE) $(ROS) $(RERUN) .npm-bags out
