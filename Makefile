# sekisho: `make` lists what can be made. `make demo` and `make test` set up all they need themselves.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# The distribution's Python is the one of the images and takes a tenth less CPU than one that is compiled without a
# profile; where there is none that will do, the first that is found.
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo /usr/bin/python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
# Most tests wait for real processes: more workers than cores. Three leave a third of two cores idle, six next to nothing.
# The quick ones wait for little.
WORKERS ?= 6
QUICK_WORKERS ?= 3
PYTEST := $(BIN)/python -m pytest
CORE := */sekisho/errors.py,*/sekisho/api/*,*/sekisho/classify/*,*/sekisho/placement/*,*/sekisho/attest/*,*/sekisho/formats/*,*/sekisho/seal/*,*/sekisho/ledger/*,*/sekisho/access/*,*/sekisho/redact/*,*/sekisho/scan/*,*/sekisho/render/*,*/sekisho/plan/*,*/sekisho/broker/decide.py,*/sekisho/broker/grants.py,*/sekisho/broker/kbs_evidence.py,*/sekisho/broker/kbs_shapes.py,*/sekisho/broker/proving.py,*/sekisho/broker/releasefacts.py,*/sekisho/broker/replay.py,*/sekisho/gateway/choosing/filtering.py,*/sekisho/gateway/choosing/metrics.py,*/sekisho/gateway/choosing/preferring.py,*/sekisho/gateway/choosing/replicas.py,*/sekisho/gateway/dialects/*
export PYTHONPATH := $(CURDIR)/operator:$(CURDIR)
# Bytecode is kept, beside the packages and not in the tree: without it each process that a test starts compiles all it imports.
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/pycache
export PYTHONDONTWRITEBYTECODE :=
# Files of the tree and of the cache are UTF-8, whatever the locale says.
export PYTHONUTF8 := 1
# Who became root by `su` alone has a user's PATH.
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: help
help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): operator/locks/dev.txt pyproject.toml
	@echo "==> Python packages into $(VENV) (about 30 s cold)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it by PYTHON=…" >&2; exit 1; }
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r operator/locks/bootstrap.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes operator/locks/dev.txt operator/locks/bootstrap.txt
	@touch $@

.PHONY: setup
setup: $(STAMP) ## Install the Python packages that the project develops with

.PHONY: check
check: $(STAMP) ## Format, lint, types, layers, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m sekisho.api.crd --check

.PHONY: generate
generate: $(STAMP) ## Write the CRDs and their reference from the models
	$(BIN)/python -m sekisho.api.crd

.PHONY: format
format: $(STAMP) ## Format and mend what can be mended by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: binaries
binaries: $(STAMP) ## Build the test cluster's binaries into the cache (5 to 6 min cold)
	$(BIN)/python -m e2e.cluster build

.PHONY: images
images: $(STAMP) ## Build every image into the cache
	$(BIN)/python inference-images/build.py agent attester controller gateway depot broker trust unsafe-release llamacpp

.PHONY: test
test: $(STAMP) images binaries ## Run every test: units, control plane, real nodes, real engines
	$(PYTEST) -n $(WORKERS) --no-loadscope-reorder

.PHONY: test-quick
test-quick: $(STAMP) ## Run what needs no cluster and little time (about 60 s)
	$(PYTEST) -n $(QUICK_WORKERS) --no-loadscope-reorder -m "not integration and not cluster and not vllm and not slow"

.PHONY: coverage
coverage: $(STAMP) ## Measure branch coverage of the quick tests; the core must have all of it
	$(BIN)/coverage run -m pytest -q -m "not integration and not cluster and not vllm"
	$(BIN)/coverage report
	$(BIN)/coverage report --fail-under=100 --include='$(CORE)'

.PHONY: mutants
mutants: $(STAMP) ## Try mutants of what appraises evidence and releases keys against its tests (ONLY=broker/decide.py for some)
	nice -n 19 $(BIN)/python -m tests.mutation.decision $(ONLY)

.PHONY: demo
demo: $(STAMP) ## Bring up a cluster, install sekisho, serve models, show what is refused
	$(BIN)/python -m e2e.demo up

.PHONY: demo-down
demo-down: $(STAMP) ## Remove the demo and everything it made
	$(BIN)/python -m e2e.demo down

.PHONY: bench
bench: $(STAMP) ## Run the benchmarks (ONLY=B3,C1 for some) into build/bench.json
	$(BIN)/python -m bench $(if $(ONLY),--only "$(ONLY)")

.PHONY: lock
lock: $(STAMP) ## Lock the dependencies anew, by version and hash
	for extra in agent attester controller gateway depot broker trust unsafe-release dev; do \
	  $(BIN)/uv pip compile --quiet pyproject.toml --extra $$extra --generate-hashes --no-emit-index-url --no-header \
	    --no-annotate --python-version 3.11 --prerelease=if-necessary-or-explicit -o operator/locks/$$extra.txt || exit 1; done
	echo "uv" | $(BIN)/uv pip compile --quiet - --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  -o operator/locks/bootstrap.txt
