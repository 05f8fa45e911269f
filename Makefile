# Harmony Fleet. `make` shows the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  := -s -w -X harmony.dev/fleet/service.Version=$(VERSION)
# How the scripts compile shipped binaries: static, without paths, and without debug information, which the
# linker drops anyway. Whatever else need not be compiled otherwise is compiled the same: it shares their cache.
SHIPPED  := CGO_ENABLED=0 GOFLAGS='-trimpath -gcflags=all=-dwarf=false'
# Modules with ordinary dependencies. devstack/kubeapi carries a whole Kubernetes API server and is
# built and tested apart from them.
MODULES  := agent cli devstack e2e fleet services/aggregator services/patcher services/reconciler
HEAVY    := devstack/kubeapi
PACKAGES := $(MODULES:%=./%/...)

GOLANGCI_VERSION := v2.15.0
NATSCLI_VERSION  := v0.5.1
GOLANGCI := .tools/golangci-lint-$(GOLANGCI_VERSION)

# Parameters of single targets.
S     ?=
COUNT ?= 1
FUZZTIME ?= 30s

.PHONY: help
help: ## show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9_-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make e2e S=R06 COUNT=5   one scenario, five times"
	@echo "  make dev ARGS='--devices 100'"

##
## Build and run
##

.PHONY: build
build: bin/kubeapi ## build all binaries into bin/
	@mkdir -p bin
	@scripts/build-services bin "$(LDFLAGS)"

.PHONY: bin/kubeapi bin/kubectl
bin/kubeapi bin/kubectl:
	@mkdir -p bin
	@$(HEAVY)/build.sh bin $(@F)

# What only tests need: public peers, built from their modules.
.PHONY: peers
peers: bin/kubectl ## build the public tools that tests use: kubectl, nats, nats-server
	@scripts/build-peers bin $(NATSCLI_VERSION)

.PHONY: dev
dev: build ## build, then run the whole stack with 24 simulated devices
	@exec bin/fleet dev $(ARGS)

##
## Test
##

.PHONY: test
test: build peers ## run all tests: unit, integration on real servers, scenarios
	go test -race -count=1 $(filter-out ./e2e/...,$(PACKAGES))
	GOWORK=off $(SHIPPED) go -C $(HEAVY) test -count=1 ./...
	@$(MAKE) --no-print-directory e2e

.PHONY: e2e
e2e: build peers ## run the scenarios on real processes (S=R06: one; COUNT=n: n times)
	@for s in patcher reconciler aggregator; do go build -race -o bin/race/fleet-$$s ./services/$$s; done
	@go build -race -o bin/race/fleet-sim ./agent/cmd/fleet-sim
	go test -race -count=$(COUNT) -v -timeout 40m ./e2e/... $(if $(S),-run 'Test$(S)_')

.PHONY: bench
bench: ## run the benchmarks of the hot paths, and of the raw NATS limits beside them
	go test -run '^$$' -bench . -benchmem $(filter-out ./e2e/...,$(PACKAGES))

.PHONY: fuzz
fuzz: ## fuzz every decoder and parser for FUZZTIME each
	@scripts/fuzz $(FUZZTIME) $(MODULES)

##
## Check
##

.PHONY: check
check: lint tidy-check modules-check doccheck ## what CI runs before the tests: format, lint, tidy, single modules, docs

.PHONY: fmt
fmt: $(GOLANGCI) ## format all Go files
	$(GOLANGCI) fmt $(PACKAGES)

.PHONY: lint
lint: $(GOLANGCI) ## format check and lint
	$(GOLANGCI) fmt --diff $(PACKAGES)
	$(SHIPPED) $(GOLANGCI) run $(PACKAGES)

$(GOLANGCI):
	@echo "building golangci-lint $(GOLANGCI_VERSION) (some minutes the first time)"
	@GOWORK=off $(SHIPPED) GOBIN=$(CURDIR)/$(@D) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv $(@D)/golangci-lint $@

.PHONY: tidy
tidy: ## tidy every module and bring the versions of the workspace in step
	@for m in $(MODULES) $(HEAVY); do echo "tidy $$m"; GOWORK=off go -C $$m mod tidy; done

.PHONY: tidy-check
tidy-check:
	@for m in $(MODULES) $(HEAVY); do GOWORK=off go -C $$m mod tidy -diff || { echo "go.mod of $$m is not tidy: run 'make tidy'"; exit 1; }; done

.PHONY: modules-check
modules-check:
	@for m in $(MODULES); do echo "vet $$m by itself"; GOWORK=off $(SHIPPED) go -C $$m vet ./...; done

.PHONY: doccheck
doccheck: ## docs and code must agree
	@scripts/doccheck

.PHONY: clean
clean: ## remove what was built, and the data of the development stack
	rm -rf bin .dev .tools
