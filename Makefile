# Every target works on a fresh clone: it needs python3 (3.11 or later) and make, and installs
# everything else from PyPI into .venv, once per change of pyproject.toml.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed-for-pyproject
PROTO_VENV := .venv-proto
PROTO_READY := $(PROTO_VENV)/.installed-for-generator

# The generator is the oldest that its output must load on: code from a newer one refuses older
# runtimes, while code from this one loads on protobuf 5.27 and everything after it.
PROTO_TOOLS := grpcio-tools==1.66.2 mypy-protobuf==3.6.0 'setuptools<81'

COUNT ?= 50000
FUZZ := tests/gateway/test_malformed_calls.py tests/lambda_api/test_malformed.py

PIP_INSTALL := -m pip install --quiet --quiet --disable-pip-version-check

.PHONY: demo test fuzz check fix bench proto client clean
.PHONY: check-format check-lint check-contracts check-proto check-client check-mypy check-pyright
.DELETE_ON_ERROR:

demo: $(READY) ## the order program, its worker and its server killed, every order processed
	@$(BIN)/python examples/demo.py

test: $(READY) ## the whole suite, with a PostgreSQL of its own; ARGS="-k name" narrows it
	$(BIN)/python -m pytest -n 2 $(ARGS)

fuzz: $(READY) ## 50,000 hostile requests each over gRPC, HTTP and the Lambda API; COUNT=… for others
	PERDURE_BENT_REQUESTS=$(COUNT) $(BIN)/python -m pytest -n 0 --timeout 3600 $(FUZZ) $(ARGS)

check: check-format check-lint check-contracts check-proto check-client check-mypy check-pyright ## all of it; -k shows every failure
	@echo "check: all passed"

check-format: $(READY)
	$(BIN)/ruff format --check --quiet .

check-lint: $(READY)
	$(BIN)/ruff check --quiet .

check-contracts: $(READY)
	$(BIN)/lint-imports --no-cache --no-logo

check-proto: $(READY)
	$(BIN)/python proto/generate.py --check

check-client: $(READY)
	$(BIN)/python sdk/generate_client.py --check

check-mypy: $(READY)
	$(BIN)/mypy

check-pyright: $(READY)
	$(BIN)/pyright

fix: $(READY) ## formats, and mends what lint can mend
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

bench: $(READY) ## figures of this machine
	@$(BIN)/python -m benchmarks $(ARGS)

proto: $(PROTO_READY) ## regenerates proto/perdure_proto/v1/*_pb2* after a change of the contract
	$(PROTO_VENV)/bin/python proto/generate.py

client: $(READY) ## regenerates sdk/perdure/client/blocking.py after a change of asynchronous.py
	$(BIN)/python sdk/generate_client.py

clean: ## back to a fresh clone, but for what git ignores elsewhere
	rm -rf $(VENV) $(PROTO_VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml
	@echo "installing into $(VENV) (once per change of pyproject.toml)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(PIP_INSTALL) --editable '.[server,lambda,dev]'
	@touch $@

$(PROTO_READY): Makefile
	@echo "installing the protocol compiler into $(PROTO_VENV)"
	@test -x $(PROTO_VENV)/bin/python || $(PYTHON) -m venv $(PROTO_VENV)
	@$(PROTO_VENV)/bin/python $(PIP_INSTALL) $(PROTO_TOOLS)
	@touch $@
