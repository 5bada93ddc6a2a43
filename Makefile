# Each target sets up everything it needs: a virtual environment in .venv with the package and its tools.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= ../shared/data/nih_cxr14
FUZZ_SECONDS ?= 60
# Processes that share the test files, one thread each.
JOBS ?= 2

.PHONY: demo test test-portable coverage wheel wheel-test dev docs lint bench gpu-check report-demo fuzz clean

demo: $(VENV)/installed
	$(BIN)/reid-audit demo

test: $(VENV)/developer
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# The quick tests as on other processors, with more threads, memory in use and another locale. ARGS: see --help.
test-portable: $(VENV)/developer
	$(BIN)/python tests/portable.py $(ARGS)

# How much of the package the tests run, with the floor of pyproject.toml.
coverage: $(VENV)/developer
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered

# Source archive and wheel in dist/, as they are published.
wheel: $(VENV)/developer
	rm -rf dist
	$(BIN)/python -m hatchling build -d dist

# The wheel alone, in an environment of its own and outside the repository.
wheel-test: wheel
	rm -rf build/wheel && mkdir -p build/wheel
	$(PYTHON) -m venv build/wheel/env
	build/wheel/env/bin/python -m pip install --quiet dist/*.whl
	cd build/wheel && env/bin/reid-audit policy check && env/bin/reid-audit inspect ../../examples/targets/cnn.safetensors \
	    && env/bin/reid-audit render ../../tests/report/golden/passing.json --out report && test -s report/report.html

dev: $(VENV)/developer

# The pages of docs/ as a site in build/site; a broken link, anchor or reference fails.
docs: $(VENV)/developer
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# The container parsing under mutated files: guided by coverage where atheris installs, random elsewhere.
fuzz: $(VENV)/developer
	-$(BIN)/python -m pip install --quiet -e ".[fuzz]"
	$(BIN)/python tests/fuzz/fuzz_container.py --seconds $(FUZZ_SECONDS)

lint: $(VENV)/developer
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# What speed was promised and what is had: one table, for docs/performance.md.
bench: $(VENV)/developer
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.bench $(if $(wildcard $(DATA)),--data $(DATA))

# Example reports as HTML in build/report-demo, their pictures in docs/screenshots. Needs Chromium.
report-demo: $(VENV)/developer
	$(BIN)/python tests/report/screenshots.py build/report-demo docs/screenshots

gpu-check: $(VENV)/developer
	CUDA_VISIBLE_DEVICES=0 $(BIN)/python -m pytest -m cuda
	CUDA_VISIBLE_DEVICES=0 TEST_DEVICE=cuda $(BIN)/python -m pytest tests/audit -n $(JOBS) --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m benchmarks.gpu_check --data $(DATA) --out benchmarks/out/gpu-check.json

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/developer: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) reid-audit-demo reid-audit-report
