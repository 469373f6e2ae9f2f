# What a developer types. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
# Tests also wait, for servers, locks and clocks: one process more than there are processors.
PROCESSES ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
UV := uv==0.13.9
export PYTHON

.PHONY: help
help:  ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: $(VENV)/.runs  ## Start the application on http://127.0.0.1:8000 (PORT=, DATABASE_URL=)
	@scripts/dev_run "$(VENV)" "$(PORT)"

.PHONY: restart-dev
restart-dev: $(VENV)/.runs  ## Migrate, and let the server of make run load changed code (PORT=)
	@scripts/dev_restart "$(VENV)" "$(PORT)"

.PHONY: test
test: $(VENV)/.develops  ## Run all tests on SQLite and PostgreSQL (TESTS=path to run some)
	@scripts/dev_postgresql
	@scripts/dev_programs
	"$(VENV)/bin/python" -m pytest --numprocesses $(PROCESSES) --dist worksteal $(TESTS)

.PHONY: test-matrix
test-matrix:  ## Run a part of the tests (or TESTS=) on every Python, Django, PostgreSQL that is here
	@scripts/test_matrix $(TESTS)

.PHONY: lint
lint: $(VENV)/.develops  ## Check format, style, imports and types
	"$(VENV)/bin/black" . --check
	"$(VENV)/bin/pylint" kvb/ deploy_ops/
	"$(VENV)/bin/lint-imports"
	"$(VENV)/bin/mypy"

.PHONY: docs
docs: $(VENV)/.develops  ## Build the site of the documentation into build/docs; a warning fails
	"$(VENV)/bin/mkdocs" build --strict

.PHONY: pictures
pictures: $(VENV)/.develops  ## Take the pictures of the documentation again (needs Chromium)
	REQUIRE_BROWSER=true "$(VENV)/bin/python" -m pytest tests/browser -k "accessible_fits or page_fits"
	cp var/screenshots/operations-en-desktop.png docs/pictures/operations.png
	cp var/screenshots/list-desktop.png docs/pictures/flags.png

.PHONY: messages
messages: $(VENV)/.develops  ## Collect and compile the German texts (needs gettext)
	for locale in $(wildcard */locale */*/locale); do (cd "$$locale/.." && \
	    "$(abspath $(VENV))/bin/python" "$(CURDIR)/manage.py" makemessages \
	        --locale de --no-obsolete --no-location && \
	    "$(abspath $(VENV))/bin/python" "$(CURDIR)/manage.py" compilemessages --locale de); \
	done

.PHONY: requirements
requirements:  ## Compile requirements*.in to the newest pinned and hashed requirements*.txt
	@tools=$$(mktemp -d) && trap 'rm -rf "$$tools"' EXIT && \
	"$(PYTHON)" -m venv "$$tools" && "$$tools/bin/pip" install --quiet $(UV) && \
	for name in requirements requirements-dev; do \
	    UV_CUSTOM_COMPILE_COMMAND="make requirements" "$$tools/bin/uv" pip compile --quiet \
	        --no-config --universal --python-version 3.11 --generate-hashes --upgrade \
	        --no-emit-index-url $$name.in --output-file $$name.txt; \
	done

# The stamps say which requirements a virtualenv has, so that installing repeats only on a change.
$(VENV)/.runs: requirements.txt scripts/dev_venv
	@scripts/dev_venv "$(VENV)" requirements.txt
	@touch $@

$(VENV)/.develops: requirements-dev.txt scripts/dev_venv
	@scripts/dev_venv "$(VENV)" requirements-dev.txt
	@touch $@ "$(VENV)/.runs"
