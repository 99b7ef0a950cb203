.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Rebuilt when the pins change; the stamp comes last, so a broken set-up is tried again.
.venv/ready: pyproject.toml
	@echo "Setting up .venv (once) ..."
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; try: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet "$$(grep -o 'uv==[0-9.]*' pyproject.toml)"
	@.venv/bin/uv pip install --quiet --python .venv --group dev
	@$(PYTHON) -m venv --without-pip .venv/checkov
	@.venv/bin/uv pip install --quiet --python .venv/checkov --group checkov
	@touch $@

.PHONY: test
test: .venv/ready ## Run every test
	.venv/bin/python -m pytest
