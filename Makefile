# make demo   a simulated archive through the whole chain, with one picture
# make test   all tests
# make check  format, lint, types, imports
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check lock clean

# uv installs the matching torch and torchvision; other installers may pick a pair that does not fit.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Nightsift needs Python 3.11 or later: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraints constraints.txt --editable . --group dev
	$(BIN)/python -c 'import torchvision' || { echo "torch and torchvision do not fit together: remove $(VENV) and run make again" >&2; exit 1; }
	touch $@

demo: $(VENV)/installed
	rm -rf demo
	$(BIN)/nightsift simulate demo --stations 2 --nights 2 --frames 120 --seed 7
	$(BIN)/nightsift run demo/nightsift.toml
	$(BIN)/nightsift release show demo/nightsift.toml --picture demo/best.png

test: $(VENV)/installed
	$(BIN)/python -m pytest

check: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p nightsift
	$(BIN)/lint-imports

# Newest versions that resolve together; look at the difference before committing it.
lock: $(VENV)/installed
	$(BIN)/uv pip compile --quiet --universal --no-header --no-emit-index-url --no-annotate --group dev pyproject.toml --output-file constraints.txt

clean:
	rm -rf $(VENV) demo
