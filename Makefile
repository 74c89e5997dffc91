# Two commands do everything on a fresh machine with Python 3.11 and make:
#   make demo    trains, converts, proves and classifies a live stream
#   make test    the whole test suite
# Both set up what they need first.
#
# torch: a machine without an NVIDIA GPU gets the CPU build (200 MB), one with a GPU the CUDA build (several GB);
# GPU=0 or GPU=1 decides otherwise. The CPU build is not on PyPI: TORCH_INDEX=URL names the index that pytorch.org's
# "Get started" page gives for it, unless your pip already looks there.

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
GPU ?= $(if $(shell command -v nvidia-smi 2>/dev/null),1,0)
TORCH_INDEX ?=
DEMO_DIR ?= demo
STAMP := $(VENV)/.installed
OLD_VENV := .venv-tflite-runtime
OLD_STAMP := $(OLD_VENV)/.installed
INTEROP_VENV := .venv-interop
INTEROP_STAMP := $(INTEROP_VENV)/.installed
WINDOW_VENV := .venv-window
WINDOW_STAMP := $(WINDOW_VENV)/.installed
PIP := pip install --quiet --disable-pip-version-check
TORCH := torch==2.13.0

.PHONY: help demo test test-slow test-board test-machine test-interop lint format setup clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1|\2/' | column -t -s '|'

setup: $(STAMP) ## Install everything into .venv

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
ifeq ($(GPU),1)
	$(BIN)/$(PIP) '$(TORCH)'
else
	@$(BIN)/$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) '$(TORCH)+cpu' || { \
	  echo "No CPU build of torch where pip looks; taking the CUDA build, several GB, which runs on a CPU as well." >&2; \
	  echo "To avoid that: stop here, and give make TORCH_INDEX=URL (see the head of the Makefile)." >&2; \
	  $(BIN)/$(PIP) '$(TORCH)'; }
endif
	$(BIN)/$(PIP) --constraint constraints.txt --editable '.[dev]'
	touch $@

# The TFLite engine on tflite-runtime, the interpreter's old package: numpy 1, so in an environment of its own.
$(OLD_STAMP): pyproject.toml
	$(PYTHON) -m venv $(OLD_VENV)
	$(OLD_VENV)/bin/$(PIP) --editable '.[tflite-runtime]'
	touch $@

# Other people's programs, which our files must work in: 750 MB, a minute or two. mediapipe comes without what it asks for
# beyond this: a second OpenCV in the folder of the one that Model API brings, and sound.
$(INTEROP_STAMP): Makefile
	$(PYTHON) -m venv $(INTEROP_VENV)
	$(INTEROP_VENV)/bin/$(PIP) openvino-model-api==0.4.7 openvino==2026.4.1 onnxruntime==1.32.0 \
	  absl-py==2.5.1 certifi flatbuffers==25.12.19 matplotlib==3.11.2
	$(INTEROP_VENV)/bin/$(PIP) --no-deps mediapipe==1.2.2
	touch $@

# An OpenCV that opens windows, which cannot stand beside the headless one: for the test of `display://` (Xvfb, xdotool).
$(WINDOW_STAMP): constraints.txt
	$(PYTHON) -m venv $(WINDOW_VENV)
	$(WINDOW_VENV)/bin/$(PIP) --constraint constraints.txt numpy pillow opencv-python==5.0.0.93
	touch $@

demo: $(STAMP) ## Draw photos, train, convert, prove, run live (about five minutes after installation)
	$(BIN)/edgex demo --out $(DEMO_DIR)

test: $(STAMP) $(OLD_STAMP) lint ## Run the whole test suite but the tests that take minutes
	$(BIN)/pytest -m "not slow and not interop and not board and not machine"

test-slow: $(STAMP) ## Run the tests that take minutes, on real photos
	$(BIN)/pytest -m slow

test-board: $(STAMP) ## Deploy the registry's wheels to a bare Debian in a container, and to twenty boards (needs root)
	$(BIN)/pytest -m board

test-machine: $(STAMP) ## Deploy to a whole emulated ARM machine, reboot it, cut its power (needs root; half an hour or more)
	$(BIN)/pytest -m machine

test-interop: $(STAMP) $(INTEROP_STAMP) $(WINDOW_STAMP) ## Run our files in other people's programs, and the window
	$(BIN)/pytest -m interop

lint: $(STAMP) ## Check style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Rewrite the code in the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environments and what the demo made
	rm -rf $(VENV) $(OLD_VENV) $(INTEROP_VENV) $(WINDOW_VENV) $(DEMO_DIR)
