# The targets need Python >= 3.11, make and pip. Each builds .venv from requirements.lock first, if it is missing or old.
# `make PYTHON=python3.12 test` chooses the interpreter that .venv is made with.

PYTHON ?= python3
BIN := .venv/bin
PACKAGES := pipelines serving expressions lake dashboard cli
SDK := sdk/python

.DEFAULT_GOAL := help
.PHONY: help install demo shop up test check format bench lock editor notebooks sdk clean

help:     ## this list
	@sed -n 's/^\([a-z]*\): *[^#]*## /\1\t/p' Makefile | expand -t 10

install: .venv/.installed  ## build .venv: the locked requirements, and engine and Python SDK as editable installs

demo: .venv/.installed  ## a guided tour on real purchases: events in, decisions that change; the stack keeps running
	$(BIN)/tinycdp demo

# --prefix, not cd: so npm says where it was called, and TINYCDP_HOME may be a path from there.
shop:     ## a shop in the browser on the demo's stack: prices that change as you buy (needs Node >= 20.19 and npm)
	cd sdk/typescript && npm ci --ignore-scripts && npm run build
	npm --prefix examples/shop ci --ignore-scripts
	npm --prefix examples/shop start

up: .venv/.installed  ## the whole stack on this machine, until Ctrl-C
	$(BIN)/tinycdp up

# A hundred processes start. Each would compile our code anew where the environment has Python write no bytecode.
test: .venv/.installed  ## the tests but deep ones, in random order (the seed is in pytest's header); ARGS="-k window" narrows
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadgroup $(ARGS)

check: .venv/.installed  ## the static checks: lint, format, types, who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PACKAGES) $(SDK)/src
	$(BIN)/lint-imports

format: .venv/.installed  ## let lint and format repair what they can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.installed  ## the speed budgets, as ratios to floors of the same run; ARGS="--only track,batch" for some
	$(BIN)/python -m benchmarks $(ARGS)

# uv makes the lock, and pip reads it. It is universal, so one file serves every platform. It has hashes, so the files that
# were tested are those that are installed. It has no index address, so the machine that installs decides where from.
# What is deployed is a part of what was tested, so the second list is made within the first.
COMPILE := uv --no-config pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
  --no-emit-index-url --custom-compile-command 'make lock'
lock:     ## write requirements.lock and deploy/requirements.lock from both pyproject.toml (needs uv); ARGS="--upgrade" takes newer releases
	$(COMPILE) --extra dev --output-file requirements.lock pyproject.toml $(SDK)/pyproject.toml $(ARGS)
	$(COMPILE) --extra build --constraints requirements.lock --output-file deploy/requirements.lock pyproject.toml $(SDK)/pyproject.toml

# esbuild's program comes as a package for the machine; no package runs a script of its own.
editor:   ## build the console's editor of expressions into dashboard/editor/bundle (needs Node >= 20 and npm)
	cd dashboard/editor/source && npm ci --ignore-scripts && npm run build

notebooks: .venv/.installed  ## write the notebooks of examples from the texts beside them
	$(BIN)/jupytext --quiet --update --to ipynb examples/notebooks/*.py

# The tests build the TypeScript SDK by themselves, on a copy.
sdk: .venv/.installed  ## build what apps install: wheel and sdist of sdk/python, the package of sdk/typescript (needs Node >= 20, npm)
	cd $(SDK) && $(CURDIR)/$(BIN)/python -m hatchling build -t sdist -t wheel
	cd sdk/typescript && npm ci --ignore-scripts && npm run build

clean:    ## remove .venv and the caches; the data in .tinycdp stays
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path '*/node_modules/*' -prune -exec rm -rf {} +

# The lock is named twice, as the list and as a constraint: by the list alone a pip before 23.3 takes the newest release of
# what another package wants with an extra, which may not be the locked one, and refuses to install.
# The stamp is made last, so an install that was cut off is done again.
.venv/.installed: requirements.lock pyproject.toml $(SDK)/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "TinyCDP needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock -c requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . -e $(SDK)
	@touch $@
