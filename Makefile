# `make demo` and `make test` are all that a fresh machine needs: Python 3.11 or newer and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := .demo/library
PAGE := $(shell find web -name node_modules -prune -o -type f -print)

.PHONY: demo test check lint page docs constraints clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Exact versions from constraints.txt; `pip install clap-musicgen` alone takes any in the ranges.
$(VENV)/demo.stamp: $(BIN)/python pyproject.toml constraints.txt hatch_build.py $(PAGE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt .
	touch $@

$(VENV)/dev.stamp: $(BIN)/python pyproject.toml constraints.txt hatch_build.py $(PAGE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/demo.stamp

demo: $(VENV)/demo.stamp
	rm -rf .demo
	$(BIN)/clap-musicgen index examples/music --library $(DEMO)
	$(BIN)/clap-musicgen search "church organ and choir" --library $(DEMO) -k 5
	$(BIN)/clap-musicgen similar examples/music/bossa-nova.ogg --library $(DEMO) -k 5

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/dev.stamp page
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Needs Node.js; the installation above has fetched what it uses.
page: $(VENV)/dev.stamp
	npm --prefix web run check
	npm --prefix web test

docs: $(VENV)/dev.stamp
	$(BIN)/python docs/build_site.py

check: test lint

# Pins what CI runs. Local versions such as +cpu are cut: every machine takes its own build.
constraints: $(VENV)/dev.stamp
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --all-extras --strip-extras --no-emit-index-url \
	  --no-emit-find-links --no-annotate --no-header --constraint constraints.in \
	  --output-file constraints.txt pyproject.toml
	sed -i -e 's/^\([A-Za-z0-9_.-]*==[^+ ]*\)+[A-Za-z0-9.]*/\1/' -e '/^clap-musicgen @/d' constraints.txt

clean:
	rm -rf $(VENV) .demo build dist web/node_modules src/clap_musicgen/service/page
