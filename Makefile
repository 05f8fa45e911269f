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
HELM_VERSION     := v3.22.0
GOLANGCI := .tools/golangci-lint-$(GOLANGCI_VERSION)

# Parameters of single targets.
S     ?=
COUNT ?= 1
SEED  ?=
SWEEP ?=
DURATION ?= 2m
TIMEOUT  ?= 120m
export SEED SWEEP DURATION
export E2E_COMMIT = $(COMMIT)
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
peers: bin/kubectl ## build the public tools that tests use: kubectl, helm, nats, nats-server
	@scripts/build-peers bin $(NATSCLI_VERSION) $(HELM_VERSION)

.PHONY: manifests
manifests: peers ## render deploy/manifests from the chart, and bring its custom resource definitions in step
	@scripts/manifests deploy

.PHONY: images
images: bin/kubeapi peers ## build the images of the product, and stand-ins for those of NATS and k3s where there are none
	@scripts/images --stand-ins

.PHONY: dev
dev: build ## build, then run the whole stack with 24 simulated devices
	@exec bin/fleet dev $(ARGS)

##
## Test
##

COMMIT   := $(shell git describe --always --dirty 2>/dev/null)

.PHONY: test
test: build peers race ## run all tests: unit, integration on real servers, scenarios, a short sweep and soak
	go test -race -count=1 $(filter-out ./e2e/...,$(PACKAGES)) ./e2e/fault ./e2e/invariant ./e2e/lab ./e2e/record ./e2e/report
	go test -count=1 -p 1 ./e2e/accounts ./e2e/backup ./e2e/chart ./e2e/cli ./e2e/explain ./e2e/introspection ./e2e/observe
	@$(MAKE) --no-print-directory dashboard
	GOWORK=off $(SHIPPED) go -C $(HEAVY) test -count=1 ./...
	@$(MAKE) --no-print-directory e2e
	@$(MAKE) --no-print-directory sweep SWEEP=6
	@$(MAKE) --no-print-directory soak DURATION=2m

.PHONY: race
race: build peers
	@scripts/build-race bin/race

# The scenario that S names, for go test -run.
SCENARIO = Test$(shell echo '$(S)' | tr a-z A-Z)_

.PHONY: scenario
scenario:
	@$(if $(S),grep -q '^func $(SCENARIO)' e2e/scenarios/*_test.go || { echo "there is no scenario $(S): they are R01 to R24"; exit 2; })

# What the scenarios showed.
RESULTS = $(or $(E2E_RESULTS),$(CURDIR)/bin/results.jsonl)

.PHONY: e2e
ifeq ($(E2E_STACK),compose)
# Tests take turns: docker-compose.yml has fixed ports.
e2e: scenario build images
	@rm -f bin/results.jsonl
	skip=$$(go run ./e2e/cmd/recovery skip); \
	E2E_RESULTS=$(RESULTS) go test -race -count=$(COUNT) -v -timeout $(TIMEOUT) -parallel 1 -p 1 ./e2e/compose ./e2e/scenarios $(if $(S),-run '^$(SCENARIO)') -skip "$$skip"
	$(if $(S),,@go run ./e2e/cmd/recovery containers $(RESULTS) 'E2E_STACK=compose make e2e')
else
e2e: scenario race ## run the scenarios on real processes (S=R06: one; COUNT=n: n times; SEED=n: again; E2E_STACK=compose: on containers)
	@rm -f bin/results.jsonl
	E2E_RESULTS=$(RESULTS) go test -race -count=$(COUNT) -v -timeout $(TIMEOUT) ./e2e/scenarios $(if $(S),-run '^$(SCENARIO)')
	$(if $(S),,@go run ./e2e/cmd/recovery reached $(RESULTS))
endif

# A test of most scenarios, of those that take the least time on containers.
FEW := R01_Cold|R02_|R03_|R04_Deployment|R05_|R07_Rolling|R09_StoreRolledBack|R10_RevisionsRestart|R11_Aimed|R12_|R13_|R14_|R15_Missing|R17_|R18_|R19_ApiserverKilled|R21_All|R22_Frozen|R23_

.PHONY: compose
compose: build images ## docker-compose.yml as it is shipped, from nothing to Ready and back, and a test of most scenarios on its containers
	@rm -f bin/results.jsonl
	E2E_STACK=compose E2E_RESULTS=$(RESULTS) go test -race -count=1 -v -timeout $(TIMEOUT) -parallel 1 -p 1 ./e2e/compose ./e2e/scenarios -run '^Test(Compose_|Images_|$(FEW))'
	@go run ./e2e/cmd/recovery containers $(RESULTS) 'make compose'

.PHONY: dashboard
dashboard: build peers race ## the dashboard in a real browser (scripts/browser brings it), while real faults are injected
	@scripts/browser
	go test -count=1 ./e2e/browser
	go test -count=1 -v ./e2e/dashboard

.PHONY: screenshots
screenshots: build peers race ## take the screenshots of docs/dashboard.md anew
	@scripts/browser
	UPDATE_SCREENSHOTS=1 go test -count=1 ./e2e/dashboard

.PHONY: sweep
sweep: race ## kill the operator after each of its effects (SWEEP=n: after n of them; SEED=n)
	go test -race -count=1 -v -timeout $(TIMEOUT) ./e2e/sweep

.PHONY: soak
soak: race ## random edits, restarts and faults (DURATION=10m SEED=n)
	go test -race -count=1 -v -timeout $(TIMEOUT) ./e2e/soak

.PHONY: mutants
mutants: build peers ## take one guard at a time out of the product and see its scenario fail (S=R06, COUNT=n SEED=n: some; JOBS=2: side by side)
	@S='$(S)' JOBS='$(JOBS)' scripts/mutants $(if $(filter command line,$(origin COUNT)),$(COUNT) $(SEED))

.PHONY: recovery
recovery: ## run the scenarios five times and write docs/recovery.md (RUNS=file: from results that are there)
	@scripts/recovery $(RUNS)

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
