# Every target does its own set-up: a virtual environment in .venv with the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Each imports the frameworks anew: more of them need more memory, and two cores are kept busy by two.
WORKERS ?= 2
COUNT ?= 100000
SEED ?= 1
STAMP := $(VENV)/.installed
PROTOS := $(basename $(notdir $(wildcard serve/protocols/*.proto)))
PROTOC = $(BIN)/python -m grpc_tools.protoc -Iserve/protocols --include_imports
EXTRAS := torch,tensorflow,sklearn,boosting,dev

.DEFAULT_GOAL := help
.PHONY: help run test test-stalled check e2e chaos gpu-check fuzz bench bench-counting bench-observing bench-peers docs site newcomer console dist sbom \
  image-check proto models format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11 or newer, or set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=" >&2; exit 1; }
	@echo "Setting up $(VENV): the first time takes a few minutes (frameworks are large)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@# Only the nets that ship in it are wanted: its own requirements are years old.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps basic-pitch
	@touch $@

run: $(STAMP) ## Serve the quickstart's six models (Ctrl-C ends)
	@$(BIN)/onegate up configs/quickstart.yaml

test: $(STAMP) ## Run the tests, on two processes (WORKERS=)
	@$(BIN)/python -m pytest tests --ignore=tests/e2e -n $(WORKERS) --dist worksteal

test-stalled: $(STAMP) ## Run the tests while threads and event loops stall at random (SEED=): finds tests that a busy machine fails
	@STALLS_SEED=$(SEED) $(BIN)/python -m pytest tests --ignore=tests/e2e -n $(WORKERS) --dist worksteal -p tests.stalls

e2e: $(STAMP) ## Run the end-to-end tests: the real thing on free ports
	@$(BIN)/python -m pytest tests/e2e

chaos: $(STAMP) ## Change, kill and stall a running gateway for ten minutes under load, and check every answer (SEED=)
	@$(BIN)/python -m tests.chaos --seed $(SEED)

gpu-check: $(STAMP) ## Compare this machine's GPU with its CPU; without one it says that nothing was shown
	@$(BIN)/python -m tests.gpu.check

check: $(STAMP) ## Format, lint, types, spelling, generated files fresh
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@cd serve/handler_child && MYPYPATH=. ../../$(BIN)/mypy --config-file ../../pyproject.toml \
	  -p onegate_handler -p mms -p ts -p model_service
	@$(BIN)/codespell || { echo "correct it, or add the word to docs/site/words.txt" >&2; exit 1; }
	@$(BIN)/onegate schema --markdown | diff -u docs/config.md - || { echo "docs/config.md is stale; run: make docs" >&2; exit 1; }
	@$(BIN)/python -m tests.sources.coverage | diff -u docs/frameworks.md - || { echo "docs/frameworks.md is stale; run: make docs" >&2; exit 1; }
	@for file in $(PROTOS); do $(PROTOC) --descriptor_set_out=/dev/stdout $$file.proto \
	  | cmp --quiet - serve/protocols/$$file.binpb || { echo "serve/protocols is stale; run: make proto" >&2; exit 1; }; done

fuzz: $(STAMP) ## Send each protocol and decoder 100,000 inputs that nobody meant (COUNT=): hours
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	@$(BIN)/python -m tests.serve.fuzzing --count $(COUNT)

bench: $(STAMP) ## Measure against bare ONNX Runtime and Ray Serve's tutorial (needs wrk)
	@$(BIN)/python -m benchmarks.serving

bench-counting: $(STAMP) ## Measure what the counting of metrics costs (needs wrk)
	@$(BIN)/python -m benchmarks.counting

bench-observing: $(STAMP) ## Measure what traces and the access log cost (needs wrk)
	@$(BIN)/python -m benchmarks.observing

bench-peers: $(STAMP) ## Measure beside Triton, TorchServe, MLServer and others, in environments of their own (needs wrk)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@$(BIN)/python -m benchmarks.peers --plots docs/plots

models: $(STAMP) ## Train and export the quickstart's models again
	@$(BIN)/python examples/quickstart.py

docs: $(STAMP) ## Write the generated pages
	@$(BIN)/onegate schema --markdown > docs/config.md
	@$(BIN)/python -m tests.sources.coverage > docs/frameworks.md
	@$(BIN)/python -m serve.metrics.reference docs/metrics.md
	@$(BIN)/python -m tests.release.licences > docs/licences.md

site: $(STAMP) ## Build the documentation as a site in build/site
	@$(BIN)/sphinx-build -q -n -W --keep-going -c docs/site -d build/site-parsed . build/site

newcomer: ## Time the way from a clone, and from other servers, to the first answer (installs everything anew)
	@$(PYTHON) -m tests.newcomer

console: ## Build the console's page (needs Node 20 and npm)
	@cd serve/console/source && npm ci --no-audit --no-fund --silent && npm run --silent test && npm run --silent build

dist: $(STAMP) ## Build sdist, wheel and their sums into dist/, the same bytes for the same commit
	@rm -rf dist
	@$(BIN)/python -m tests.release.distributions

sbom: dist ## Write the bill of materials (CycloneDX) of the wheel's base install
	@$(BIN)/python -m tests.release.bill_of_materials dist/onegate-*.whl

image-check: $(STAMP) ## Build the image with Docker or podman, run it locked down, and drain it (BASE=--debian-base without a registry)
	@$(BIN)/python -m tests.image.check $(BASE)

proto: $(STAMP) ## Compile the protocol files
	@for file in $(PROTOS); do $(PROTOC) --descriptor_set_out=serve/protocols/$$file.binpb $$file.proto; done

format: $(STAMP) ## Format the code
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

clean: ## Remove the virtual environment and caches
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist *.egg-info
