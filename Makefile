# make demo | test | docs | lint | clean: everything is installed into .venv from setup.cfg. PYTHON=... picks the interpreter.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# One test file per process at a time, for tests of a file share models. TensorFlow takes 2 GB in each process.
PYTEST := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile
HELD_OUT := demo/run/data/val
# TensorFlow 2.20 and 2.21 have wheels for these versions only.
SUPPORTED := import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(firstword $(foreach python,python3 python3.13 python3.12 python3.11 python,\
	$(shell $(python) -c '$(SUPPORTED)' 2>/dev/null && echo $(python))))

.PHONY: demo test kernels slow samples docs lint format clean help

help:
	@echo 'make demo    train on synthetic shapes, evaluate, draw detections (minutes on two cores)'
	@echo 'make test    the tests, without the slow ones; `make slow` runs those'
	@echo 'make kernels the tests whose numbers depend on the kernels of TensorFlow (TF_ENABLE_ONEDNN_OPTS=0 or 1)'
	@echo 'make samples run the notebooks of samples/ anew and keep what they show'
	@echo 'make docs    the documentation site, in site/index.html'
	@echo 'make lint    ruff, the import contracts and the types (pyright); `make format` rewrites'
	@echo 'make clean   remove .venv, demo/ and caches'

demo: $(INSTALLED)
	rm -rf demo
	$(BIN)/mask-rcnn train --config shapes --run demo/run
	$(BIN)/mask-rcnn detect $(HELD_OUT)/images --weights demo/run/final.weights.h5 \
		--out demo/pictures --json demo/detections.json > demo/detect.log
	$(BIN)/mask-rcnn evaluate --detections demo/run/detections.json --annotations $(HELD_OUT)/instances.json
	@echo
	@echo 'pictures       demo/pictures/'
	@echo 'detections     demo/detections.json (score at least 0.5), demo/run/detections.json (all)'
	@echo 'model          demo/run/final.weights.h5, with its config; the best one is beside it'
	@echo 'checkpoints    demo/run/checkpoints/'
	@echo 'losses, score  demo/run/loss.png, demo/run/results.json'

test: $(INSTALLED)
	$(PYTEST)

kernels: $(INSTALLED)
	$(PYTEST) -m 'kernels and not slow'

slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

samples: $(INSTALLED)
	$(BIN)/python tests/helpers/notebooks.py

docs: $(VENV)/.docs-installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo 'pages          site/index.html; with search: $(BIN)/python -m http.server --directory site'

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo site build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache

# A venv without pip needs no ensurepip, which Debian ships apart; the pip outside installs into it.
$(INSTALLED): setup.cfg setup.py pyproject.toml
	@test -n '$(PYTHON)' || { echo 'make: Python 3.11, 3.12 or 3.13 is needed, and none was found.' \
		'Found: '"$$(python3 --version 2>&1)"'. Install one, or say where it is: make PYTHON=/path/to/python3.12' >&2; exit 1; }
	@$(PYTHON) -c '$(SUPPORTED)' 2>/dev/null || { echo 'make: Python 3.11, 3.12 or 3.13 is needed.' \
		"Received: PYTHON=$(PYTHON), $$($(PYTHON) --version 2>&1 | head -n 1)." >&2; exit 1; }
	@$(PYTHON) -c 'import venv' 2>/dev/null || { echo 'make: $(PYTHON) has no module `venv`.' \
		'Install it (Debian, Ubuntu: apt-get install python3-venv).' >&2; exit 1; }
	@$(PYTHON) -c 'import pip; raise SystemExit(tuple(map(int, pip.__version__.split(".")[:2])) < (22, 3))' 2>/dev/null || \
		{ echo 'make: $(PYTHON) has no pip, or one before 22.3.' \
		'Install it (Debian, Ubuntu: apt-get install python3-pip; elsewhere: $(PYTHON) -m ensurepip --upgrade).' >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv --without-pip $(VENV)
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(VENV)/.docs-installed: $(INSTALLED)
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@
