.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
RUN := .venv/bin/python
WHEEL := $(RUN) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir .venv/wheels

.PHONY: help
help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The stamp comes last: a set-up that broke is tried again, and so is one whose pins have changed.
.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Setting up .venv, once ..."
	@$(PYTHON) -m venv .venv
	@$(RUN) -m pip install --quiet --disable-pip-version-check "$$(grep -o 'uv==[0-9.]*' pyproject.toml)"
	@.venv/bin/uv pip install --quiet --compile-bytecode --python .venv -r pyproject.toml --group dev
	@$(PYTHON) -m venv --without-pip .venv/checkov
	@.venv/bin/uv pip install --quiet --python .venv/checkov --group checkov
	@# Published as source only, pyspark as 400 MB of it: made into wheels once, not at every install.
	@$(WHEEL) "$$(grep -o 'git-remote-codecommit==[0-9.]*' '{{cookiecutter.project_slug}}/pyproject.toml')"
	@! command -v java >/dev/null || $(WHEEL) "$$(grep -o 'pyspark\[pipelines\]==[0-9.]*' pyproject.toml)"
	@touch $@

# What make rehearse plays.
REPOSITORY ?= demo/my-data-project

.PHONY: demo rehearse test golden bench mutants lint clean
demo: .venv/ready ## Bake the default answers into demo/, check and rehearse them
	@PYTHONPATH=. $(RUN) tests/demo.py

rehearse: .venv/ready ## Play the pipeline of a rendered repository (REPOSITORY=path OPTIONS=--quick)
	@$(RUN) -m rehearsal $(REPOSITORY) $(OPTIONS)

# One folder at a time: CONTRIBUTING.md says which file goes with which.
TESTS ?= tests
test: .venv/ready ## Run every test (TESTS=tests/test_check.py for one file)
	@$(RUN) -m pytest $(TESTS)

golden: .venv/ready ## Rewrite tests/golden after a change that was meant
	@PYTHONPATH=. $(RUN) tests/golden.py

bench: .venv/ready ## Measure what validation costs and how long a rehearsal takes
	@PYTHONPATH=. $(RUN) tests/bench.py

# mutmut has an environment of its own, made at the first use.
.venv/mutmut/ready: .venv/ready
	@$(PYTHON) -m venv --without-pip .venv/mutmut
	@.venv/bin/uv pip install --quiet --python .venv/mutmut -r pyproject.toml --group dev --group mutants
	@touch $@

mutants: .venv/mutmut/ready ## Change what decides in the rendered Python; does a test notice? (MODULES="deploy plan")
	@PYTHONPATH=. .venv/mutmut/bin/python tests/mutants.py $(MODULES)

# The rendered Python has no Jinja, so it is linted as it stands in the template. No cache: it would
# be rendered too. Two runs of mypy, for ops imports cicd/steps/names.py under a longer name.
PROJECT := {{cookiecutter.project_slug}}
lint: export RUFF_NO_CACHE = true
lint: .venv/ready ## Lint and type-check the Python of the template and of what it renders
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/ruff check --extend-select C90 --config 'lint.mccabe.max-complexity = 8' '$(PROJECT)/ops' '$(PROJECT)/cicd'
	@.venv/bin/ruff format --check '$(PROJECT)/ops' '$(PROJECT)/cicd'
	@.venv/bin/mypy rehearsal hooks
	@MYPYPATH='$(PROJECT)' .venv/bin/mypy '$(PROJECT)/ops'
	@MYPYPATH='$(PROJECT)/cicd/steps' .venv/bin/mypy '$(PROJECT)/cicd/steps'

clean: ## Remove what make has made
	rm -rf .venv .mutants demo .mypy_cache .pytest_cache .ruff_cache
