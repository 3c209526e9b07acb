# A bare `make` lists the targets. PYTHON is the interpreter that the environments are made from.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PY := .venv/bin/python
SETUP := $(PYTHON) deploy/setup.py
ALL := dev,federated,mpc
LLMOS := $(PY) -m gateway.cli

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: ## build .venv, .venv-vllm and the model (WITH=mpc adds an extra)
	@$(SETUP) --extras '$(WITH)'

run: ## set up, start Valkey, vLLM and the gateway, show one request (WITH=mpc: on secret shares too; UPSTREAM=URL: a running server)
	@$(SETUP) --extras '$(WITH)' $(if $(UPSTREAM),--without-vllm)
	@exec $(LLMOS) up --demo $(if $(UPSTREAM),--upstream '$(UPSTREAM)') $(if $(findstring mpc,$(WITH)),--with mpc)

doctor: ## say what is missing on this machine, and how to mend it
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or newer is missing; install it, or name it: make PYTHON=…'; exit 1; }
	@test -x $(PY) || { echo '.venv is missing: make setup'; exit 1; }
	@$(LLMOS) doctor

test-env:
	@$(SETUP) --extras '$(ALL)'

test: test-env ## every test but the slow ones, with a real vLLM and a real Valkey
	@$(PY) -m pytest

test-slow: test-env ## the tests that take minutes
	@$(PY) -m pytest -m slow

test-console: test-env ## the admin console in a real Chromium, with axe-core (installs what it needs)
	@sh deploy/console_tests.sh
	@$(PY) -m pytest tests/gateway/console -m 'slow or not slow'

test-faults: test-env ## kill, pause, fill and cut what the gateway stands on, under load (SECONDS=600 for ten minutes of it)
	@LLMOS_TEST_FAULT_SECONDS=$(or $(SECONDS),60) $(PY) -m pytest tests/faults -m 'slow or not slow' -s

lint: test-env ## ruff, mypy --strict, the import contracts
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@PYTHONPATH=. .venv/bin/lint-imports

bench: bench-pii bench-gateway bench-survival bench-dp bench-mpc bench-fl bench-audit ## every benchmark, one after the other

bench-pii: ## detection: recall, precision and milliseconds beside Presidio's defaults
bench-gateway: ## what the gateway adds in milliseconds and memory, beside LiteLLM Proxy
bench-survival: ## how many values come back through SmolLM2: surrogates beside placeholders
bench-dp: ## private sampling and the ledger
bench-mpc: ## secret-shared inference: seconds, bytes and rounds a token
bench-fl: ## federated rounds
bench-audit: ## the audit log
bench-load: ## 500 streams at once on one worker, beside LiteLLM (MINUTES=30: the soak)
bench-pii:
	@$(SETUP) --extras '$(ALL),bench'
	@$(PY) -m bench.pii
bench-gateway bench-survival bench-dp bench-mpc bench-fl bench-audit bench-load: test-env
	@$(PY) -m bench.$(patsubst bench-%,%,$@) $(if $(filter bench-load,$@),$(if $(MINUTES),--minutes $(MINUTES)) $(if $(SECONDS),--seconds $(SECONDS)))

docs: test-env ## write the reference pages from the source, the figures of the READMEs from the reports
	@PYTHONPATH=. $(PY) docs/reference.py
	@$(PY) docs/readme_figures.py

clean: ## remove the environments and caches; the data directory .llmos stays
	rm -rf .venv .venv-vllm build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.llmos/*' -prune -exec rm -rf {} +

.PHONY: help setup run doctor test-env test test-slow test-console test-faults lint bench bench-pii bench-gateway bench-survival bench-dp bench-mpc bench-fl bench-audit bench-load docs clean
