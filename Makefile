# Two commands do everything on a fresh machine with Python 3.11, make and pip:
#   make demo    the main job, good images in and defect report out, on generated 5120x5120 images
#   make test    the tests
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test slow lint typecheck bench constraints viewer clean

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cpu,openvino,train,watch,mqtt,export,serve,postgres,baselines,dev]'
	touch $@

# OpenSeadragon, for the report's deep zoom, by npm under package-lock.json; a wheel built afterwards carries it.
VIEWER := inspect/report/viewer
viewer: $(VIEWER)/openseadragon.min.js

$(VIEWER)/openseadragon.min.js: package.json package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund
	mkdir -p $(VIEWER)
	cp node_modules/openseadragon/LICENSE.txt $(VIEWER)
	cp node_modules/openseadragon/build/openseadragon/openseadragon.min.js $(VIEWER)
	rm -rf node_modules

demo: $(VENV)/installed
	@command -v npm >/dev/null && $(MAKE) --no-print-directory viewer || echo "no viewer from npm: the report shows plain pictures"
	$(BIN)/flawmap demo --output demo

test: $(VENV)/installed
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile

slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy does not see setuptools' editable hooks: it gets the packages as a folder of links.
typecheck: $(VENV)/installed
	rm -rf .typecheck && mkdir -p .typecheck/flawmap
	for folder in tiling training export inspect configs sample_data; do ln -s ../../$$folder .typecheck/flawmap/$$folder; done
	MYPYPATH=.typecheck $(BIN)/mypy --explicit-package-bases -p flawmap

# patchify and SAHI ask for other numpy and OpenCV packages than flawmap runs with, and run with these.
bench: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps patchify sahi
	$(BIN)/python -m benchmarks

# Pins every version that is installed now, for the next fresh machine.
constraints:
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt

clean:
	rm -rf $(VENV) .typecheck demo
