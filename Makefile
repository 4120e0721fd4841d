# Every environment is made from its own hashed lock file; `make help` lists what can be asked for.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
ENGINE ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && echo engine-gpu || echo engine-cpu)
FILE ?= slipway.yaml
ARGS ?=
DURATION ?= 60
USERS ?= 8

ENVS := .venvs
UV := $(shell command -v uv 2>/dev/null || echo $(ENVS)/uv/bin/uv)
UV_VERSION := 0.13.9
SYNC = $(PYTHON) scripts/sync-environment $(UV) $(@D)
SELF = $(UV) pip install -q --compile-bytecode --no-deps --python $(@D)/bin/python --editable .
ENGINE_PYTHON := $(ENVS)/$(ENGINE)/bin/python
DEV := $(ENVS)/dev/bin
TRAINING := $(ENVS)/training-tests/bin
SOURCES := pyproject.toml service/slipway/__init__.py

.PHONY: help
help: ## List the targets.
	@awk -F':.*## ' '/^[a-z][a-z0-9-]*:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- environments ----------------------------------------------------------------------------

$(ENVS)/uv/bin/uv:
	@echo "Installing uv $(UV_VERSION)"
	@$(PYTHON) -m venv $(ENVS)/uv && $(ENVS)/uv/bin/pip install -q --disable-pip-version-check uv==$(UV_VERSION)

$(ENVS)/engine-%/.ready: DOWNLOAD = , several GB to download the first time
# $(ENVS)/NAME/.ready is newer than everything that the environment NAME is made from.
$(ENVS)/%/.ready: locks/%.txt $(SOURCES) | $(UV)
	@echo "Making the environment $* (its lock names $$(grep -c '^[a-z0-9A-Z]' $<) packages$(DOWNLOAD))"
	@test -x $(@D)/bin/python || $(UV) venv -q --python $(PYTHON) $(@D)
	@start=$$(date +%s); $(SYNC) $< && $(SELF) && echo "  ready after $$(( $$(date +%s) - start )) s"
	@touch $@

# Programs of others that are measured beside the gateway, and Locust: without Slipway in them.
OTHERS := peer-asgi peer-datatrove peer-kopf peer-litellm peer-vllm-router loadtest
$(OTHERS:%=$(ENVS)/%/.ready): $(ENVS)/%/.ready: locks/%.txt | $(UV)
	@echo "Making the environment $* (its lock names $$(grep -c '^[a-z0-9A-Z]' $<) packages)"
	@test -x $(@D)/bin/python || $(UV) venv -q --python $(PYTHON) $(@D)
	@start=$$(date +%s); $(SYNC) $< && echo "  ready after $$(( $$(date +%s) - start )) s"
	@touch $@

.PHONY: envs
envs: $(ENVS)/gateway/.ready $(ENVS)/$(ENGINE)/.ready ## Make the gateway's and the engine's environments.

.PHONY: training
training: $(ENVS)/training/.ready ## Make the environment of training, for `slipway finetune`, `data`, `eval`.

.PHONY: dev
dev: $(ENVS)/dev/.ready ## Make the environment with every development tool.

.PHONY: system
system: ## Install the shared libraries that vLLM needs (apt, asks for root only where one is missing).
	@scripts/system-packages libnuma1

.PHONY: lock
lock: | $(UV) ## Resolve all lock files anew, keeping what still fits (UPGRADE=1 takes the newest).
	@scripts/lock $(UV) $(if $(UPGRADE),--upgrade)

# --- the main job ----------------------------------------------------------------------------

.PHONY: run
run: system envs ## Serve the models of slipway.yaml: engine, gateway, console. Ctrl-C stops it.
	@SLIPWAY_ENGINE_PYTHON=$(ENGINE_PYTHON) exec $(ENVS)/gateway/bin/slipway up -f $(FILE) $(ARGS)

.PHONY: down
down: $(ENVS)/gateway/.ready ## Stop what `make run` started, from another terminal.
	@$(ENVS)/gateway/bin/slipway down

.PHONY: status
status: $(ENVS)/gateway/.ready ## Show what runs: services, replicas, addresses.
	@$(ENVS)/gateway/bin/slipway status || true

# --- documentation ---------------------------------------------------------------------------

.PHONY: docs
docs: dev ## Write anew what is made from the code: parts of docs/api.md and docs/objects.md, the CRDs, the chart's schema.
	@$(DEV)/python scripts/api-reference
	@$(DEV)/python scripts/crds
	@$(DEV)/python scripts/chart-schema

.PHONY: kustomize
kustomize: dev ## Render k8s/base anew from the chart; the first time builds Helm.
	@$(DEV)/python scripts/kustomize-base "$$($(CLUSTER) programs)/helm"

.PHONY: dashboards
dashboards: ## Write the Grafana dashboards of the chart anew.
	@$(PYTHON) scripts/dashboards

# --- checks ----------------------------------------------------------------------------------

.PHONY: format
format: dev ## Format the code and mend what the linter can mend.
	@$(DEV)/ruff format -q . && $(DEV)/ruff check -q --fix .

.PHONY: lint
lint: dev ## Formatter, linter, types, import layers.
	@$(DEV)/ruff format -q --check . && $(DEV)/ruff check -q .
	@$(DEV)/mypy && $(DEV)/mypy tests loadtests
	@$(DEV)/lint-imports

.PHONY: unit
unit: dev ## The unit tests.
	@$(DEV)/pytest -q tests/unit $(ARGS)

.PHONY: check
check: lint unit ## The quick part: lint and unit tests, under a minute.

.PHONY: test-packages
test-packages: ## Install what the tests need from the system (apt): browser, Node, Redis, PostgreSQL, Prometheus, a C compiler.
	@scripts/system-packages libnuma1 chromium nodejs npm redis-server postgresql prometheus gcc libc6-dev

.PHONY: test
test: test-packages cluster-packages envs dev $(ENVS)/training-tests/.ready $(ENVS)/loadtest/.ready ## Everything: lint, unit, training, integration (real engine), browser, cluster.
	@$(MAKE) --no-print-directory lint
	@$(CLUSTER_PROGRAMS)
	@$(MAKE) --no-print-directory test-training
	@SLIPWAY_ENGINE_PYTHON=$(CURDIR)/$(ENGINE_PYTHON) SLIPWAY_TRAINING_PYTHON=$(CURDIR)/$(TRAINING)/python $(DEV)/pytest -v $(ARGS)

.PHONY: test-training
test-training: dev $(ENVS)/training-tests/.ready ## The tests that need the training environment: data, tuning, search, evaluation, registry.
	@SLIPWAY_ENGINE_PYTHON=$(CURDIR)/$(ENGINE_PYTHON) SLIPWAY_TRAINING_PYTHON=$(CURDIR)/$(TRAINING)/python $(TRAINING)/pytest -v tests/training $(ARGS)

# --- a cluster -----------------------------------------------------------------------------------

NODES ?= 1
CLUSTER := cd tests && ../$(DEV)/python -m cluster
# Compiles Kubernetes the first time, and says how far it is, which pytest would not.
CLUSTER_PROGRAMS := [ -n "$$KUBECONFIG" ] || ($(CLUSTER) programs >/dev/null)

.PHONY: cluster-packages
cluster-packages: ## Install what a cluster needs from the system (apt): containerd, runc, buildah, ...
	@scripts/system-packages containerd runc containernetworking-plugins buildah skopeo debootstrap iproute2 iptables conntrack procps

.PHONY: cluster
cluster: cluster-packages dev ## Start a real Kubernetes here, without Docker (root; NODES=1); the first time builds it.
	@$(CLUSTER) up --nodes $(NODES)

.PHONY: cluster-images
cluster-images: cluster ## Build the project's images and give them to the cluster.
	@$(CLUSTER) images $(ARGS)

.PHONY: cluster-down
cluster-down: dev ## Stop the cluster; what was built stays in the cache.
	@$(CLUSTER) down

.PHONY: test-cluster
test-cluster: cluster-packages envs dev ## The tests on a cluster: the one KUBECONFIG names, the running one, or their own.
	@$(CLUSTER_PROGRAMS)
	@SLIPWAY_ENGINE_PYTHON=$(CURDIR)/$(ENGINE_PYTHON) $(DEV)/pytest -v tests/cluster $(ARGS)

# --- load and speed ----------------------------------------------------------------------------

.PHONY: bench-packages
bench-packages: ## Install what the benchmark needs from the system (apt): a C compiler, Redis.
	@scripts/system-packages gcc libc6-dev redis-server

.PHONY: bench
bench: bench-packages $(ENVS)/gateway/.ready $(ENVS)/peer-asgi/.ready $(ENVS)/peer-litellm/.ready $(ENVS)/peer-vllm-router/.ready ## The gateway's speed beside its peers': ARGS="--json FILE"; some 15 minutes on a quiet machine.
	@$(ENVS)/gateway/bin/python -m loadtests.gateway_overhead $(ARGS)

.PHONY: bench-operator
bench-operator: cluster-packages dev $(ENVS)/peer-kopf/.ready ## The operator's speed with 500 objects beside kopf's, on the cluster that runs; some 12 minutes.
	@PYTHONPATH=tests $(DEV)/python -m loadtests.operator_scale $(ARGS)

.PHONY: bench-data
bench-data: $(ENVS)/training-tests/.ready $(ENVS)/peer-datatrove/.ready ## The preparation of data beside datasets and datatrove, and on Ray Data: ARGS="--json FILE"; some minutes.
	@$(TRAINING)/python -m loadtests.data_preparation $(ARGS)

.PHONY: loadtest
loadtest: $(ENVS)/loadtest/.ready $(if $(URL),$(ENVS)/gateway/.ready,system envs) ## Locust's users on a Slipway of its own, or on URL=… KEY=…; DURATION=60 (s), USERS=8.
	@SLIPWAY_ENGINE_PYTHON=$(ENGINE_PYTHON) SLIPWAY_KEY="$(KEY)" $(ENVS)/gateway/bin/python -m loadtests.loadtest --locust $(ENVS)/loadtest/bin/locust --url "$(URL)" --seconds $(DURATION) --users $(USERS) $(ARGS)

.PHONY: profile
profile: bench-packages dev ## What each part of the gateway costs, by py-spy.
	@$(DEV)/python -m loadtests.gateway_profile $(ARGS)

MINUTES ?= 10

.PHONY: soak
soak: test-packages dev ## Ten minutes (MINUTES=N) of traffic while engines, gateways, Redis and database fail.
	@cd tests && ../$(DEV)/python -m soak.run --minutes $(MINUTES) $(ARGS)

.PHONY: clean
clean: ## Remove the environments and caches of this checkout (models stay in their cache).
	@rm -rf $(ENVS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache tests/integration/node/node_modules

# --- images ----------------------------------------------------------------------------------

TARGET ?= gateway
VERSION := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml)
IMAGE ?= slipway-$(TARGET):$(VERSION)

.PHONY: image
image: ## Build an image with docker, podman or buildah: TARGET=gateway, engine-cpu, engine-gpu, training; BASE=IMAGE.
	@BASE=$(BASE) VLLM_IMAGE=$(VLLM_IMAGE) BUILDER=$(BUILDER) scripts/image $(TARGET) $(IMAGE) $(ARGS)

SBOM ?= slipway-$(TARGET).cdx.json

.PHONY: sbom
sbom: ## Write the CycloneDX list of an image's Python packages, with their locked hashes: TARGET=gateway, …; SBOM=FILE.
	@BASE=$(BASE) VLLM_IMAGE=$(VLLM_IMAGE) BUILDER=$(BUILDER) scripts/sbom $(TARGET) $(SBOM) $(ARGS)
