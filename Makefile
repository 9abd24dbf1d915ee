# Everything a contributor or CI runs. `make` alone lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# What `make test` cannot do without; scripts/need.sh knows how to find and install each.
NEEDS := go cc node npm chromium

# Tests that talk to the running server from outside, each with its package-lock.json.
NODE_TESTS := tests/protocol tests/browser

# Modules of their own below this one: measured peers, larger examples. The tools are not ours to test.
NESTED := $(patsubst ./%/go.mod,%,$(shell find . -mindepth 2 -name go.mod \
	-not -path '*/node_modules/*' -not -path './tools/*' | sort))
TOOL_MODULES := tools tools/golangci

# Linters come with module files of their own, so that nobody who imports gohub meets their dependencies.
STATICCHECK := go tool -modfile=$(CURDIR)/tools/go.mod staticcheck
GOLANGCI := go tool -modfile=$(CURDIR)/tools/golangci/go.mod golangci-lint

# Each module is checked as its users get it, without the workspace that joins them here.
export GOWORK := off

GOTESTFLAGS ?= -timeout=8m
BENCH ?= .
BENCHTIME ?= 1s
FUZZTIME ?= 30s

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "%-14s %s\n", $$1, $$2 }'

##
## Tests

.PHONY: test
test: needs ## everything, with whatever it needs installed first and nothing left behind
	@GOHUB_REQUIRE_SERVICES=1 scripts/leave-nothing.sh $(MAKE) all-tests

# Lines of one recipe run in order even under make -j.
.PHONY: all-tests
all-tests:
	@$(MAKE) quick-checks
	@$(MAKE) test-go
	@$(MAKE) test-nested
	@$(MAKE) test-workspace
	@$(MAKE) test-node

.PHONY: needs
needs: ## what the tests need, installed where that is allowed
	@scripts/need.sh $(NEEDS)

.PHONY: quick-checks
quick-checks: ## gofmt and go vet, no tool to build first
	@unformatted=$$(find . -name '*.go' -not -path '*/node_modules/*' -exec gofmt -l {} +); \
	if [ -n "$$unformatted" ]; then printf 'gofmt would change:\n%s\n' "$$unformatted"; exit 1; fi
	@for dir in . $(NESTED); do (cd "$$dir" && go vet ./...); done

.PHONY: test-go
test-go: ## Go tests of this module, under the race detector
	go test -race -shuffle=on $(GOTESTFLAGS) ./...

.PHONY: test-nested
test-nested: ## Go tests of the nested modules
	@for dir in $(NESTED); do \
		echo "== go test in $$dir"; \
		(cd "$$dir" && go build -o /dev/null ./... && go test $(GOTESTFLAGS) ./...); \
	done

# The README promises `go run ./examples/chat`, which only the workspace makes work.
.PHONY: test-workspace
test-workspace:
	@if [ -f go.work ]; then GOWORK=$(CURDIR)/go.work go build -o /dev/null ./examples/chat; fi

.PHONY: test-node
test-node: ## protocol and browser tests, against a server that they start as the README says
	@for dir in $(NODE_TESTS); do env -u GOWORK scripts/node-test.sh "$$dir"; done

##
## Linters

.PHONY: lint
lint: ## every linter over every module
	@$(MAKE) quick-checks
	@$(MAKE) fix-check
	@$(MAKE) tidy-check
	@for dir in . $(NESTED); do \
		echo "== staticcheck in $$dir"; (cd "$$dir" && $(STATICCHECK) ./...); \
		echo "== golangci-lint in $$dir"; (cd "$$dir" && $(GOLANGCI) run ./...); \
	done

.PHONY: fix-check
fix-check: ## go fix has nothing left to modernise
	@for dir in . $(NESTED); do (cd "$$dir" && go fix -diff ./...); done

.PHONY: tidy-check
tidy-check: ## every go.mod and go.sum says what go mod tidy would say
	@for dir in . $(NESTED) $(TOOL_MODULES); do (cd "$$dir" && go mod tidy -diff); done

.PHONY: fmt
fmt: ## format the Go code (gofumpt, goimports)
	@for dir in . $(NESTED); do (cd "$$dir" && $(GOLANGCI) fmt); done

##
## Measuring

.PHONY: bench
bench: ## Go benchmarks; BENCH=regexp BENCHTIME=1s
	@for dir in . $(filter bench,$(NESTED)); do \
		(cd "$$dir" && go test -run='^$$' -bench='$(BENCH)' -benchtime=$(BENCHTIME) -benchmem -timeout=0 ./...); \
	done

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME=30s
	@scripts/fuzz.sh $(FUZZTIME)
