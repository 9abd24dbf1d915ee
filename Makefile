# Everything a contributor or CI runs. `make` alone lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# What `make test` cannot do without; scripts/need.sh knows how to find and install each.
NEEDS := go cc node npm chromium certutil postgres redis valgrind

# The JavaScript client, and tests that talk to the running server from outside; each with its package-lock.json.
NODE_TESTS := clients/js tests/protocol tests/browser

# Modules of their own below this one: measured peers, larger examples. The tools are not ours to test.
NESTED := $(patsubst ./%/go.mod,%,$(shell find . -mindepth 2 -name go.mod \
	-not -path '*/node_modules/*' -not -path './tools/*' | sort))
TOOL_MODULES := tools tools/golangci tools/templ

# Linters come with module files of their own, so that nobody who imports gohub meets their dependencies.
STATICCHECK := go tool -modfile=$(CURDIR)/tools/go.mod staticcheck
GOLANGCI := go tool -modfile=$(CURDIR)/tools/golangci/go.mod golangci-lint

# templ makes Go of the chat's *.templ; what it makes is committed, so that go run needs no tool.
TEMPL := go tool -modfile=$(CURDIR)/tools/templ/go.mod templ
TEMPL_DIRS := examples bench/frontend

# Each module is checked as its users get it, without the workspace that joins them here.
export GOWORK := off

# $(call in-each,directories,command) runs it in all of them before it fails for one.
in-each = failed=0; for dir in $(1); do (cd "$$dir" && $(2)) || failed=1; done; exit $$failed

GOTESTFLAGS ?= -timeout=8m
BENCH ?= .
BENCHTIME ?= 1s
ROUNDS ?= 5
PEERS ?= bench/peers/out
FUZZTIME ?= 30s
DURATION ?= 10m
SEED ?=
CLIENTS ?=

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
	@$(MAKE) guard
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
	@$(call in-each,. $(NESTED),go vet ./...)

.PHONY: test-go
test-go: ## Go tests of this module, under the race detector
	go test -race -shuffle=on $(GOTESTFLAGS) ./...

# So many operations whatever the machine, and one processor: then the same code allocates the same.
GUARDED := -run='^$$' -benchmem -benchtime=1000x -count=3 -cpu=1 -skip='/members=100|/100000' \
	-bench='^Benchmark(Publish|Submit|MemoryStoreAppend|MemoryBrokerPublish|PresencePage|Receipts|RingLookup|Route|LimiterSpend|Admit|DecodePublish|AppendMessage|TextSlash|Send|Cork|Echo)$$' \
	. ./internal/wire ./internal/wsconn

# Those whose instructions are the same from run to run, to less than 5 %; valgrind counts them. Only a
# test program that is kept, if in /dev/null, has the names of functions, which it needs.
COUNTED := -run='^$$' -benchtime=500x -cpu=1 -vet=off -exec='go -C $(CURDIR)/bench run ./cmd/instrs' -skip=//parallel -o=/dev/null \
	-bench='^BenchmarkPublish$$/=4$$|Submit/=1$$|StoreAppend/=1$$|BrokerPublish/one/=1$$|Receipts/^1|RingLookup/=24|Route/=true|Spend/both|Admit/all_limits$$|DecodePublish|AppendMessage|TextSlash/object' \
	. ./internal/wire

COSTS = { echo "go: $$(go env GOVERSION)"; go test $(GUARDED); go test $(COUNTED); }

.PHONY: guard
guard: ## what an operation allocates and how many instructions it takes, beside bench/baseline.txt; no time
	@scripts/need.sh go valgrind
	@$(COSTS) | (cd bench && go run ./cmd/guard -baseline baseline.txt)

.PHONY: test-nested
test-nested: ## Go tests of the nested modules
	@$(call in-each,$(NESTED),echo "== go test in $$dir" && go build -o /dev/null ./... && go test $(GOTESTFLAGS) ./...)

# The README promises `go run ./examples/chat`, which only the workspace makes work.
.PHONY: test-workspace
test-workspace:
	@if [ -f go.work ]; then GOWORK=$(CURDIR)/go.work go build -o /dev/null ./examples/chat; fi

.PHONY: test-node
test-node: ## protocol and browser tests, against a server that they start as the README says
	@for dir in $(NODE_TESTS); do env -u GOWORK scripts/node-test.sh "$$dir"; done

# Where a run is left with a failure, its seed draws the same faults again.
.PHONY: chaos
chaos: ## a cluster of three under random faults for DURATION=10m (SEED=number, CLIENTS=300)
	@scripts/need.sh go postgres redis
	GOHUB_REQUIRE_SERVICES=1 GOHUB_CHAOS_DURATION=$(DURATION) GOHUB_CHAOS_SEED=$(SEED) GOHUB_CHAOS_CLIENTS=$(CLIENTS) \
		scripts/leave-nothing.sh go test -v -count=1 -timeout=0 ./internal/chaos

# Not in `make test`: 370 MB of packages, and a build, for one example.
.PHONY: nextjs
nextjs: ## builds examples/nextjs and has two people talk there
	@scripts/need.sh go node npm chromium
	@scripts/leave-nothing.sh scripts/node-test.sh examples/nextjs

##
## Trying things

.PHONY: cluster
cluster: ## three chat servers that are one, with a Redis and a Postgres of their own, until Ctrl-C
	@scripts/need.sh go cc postgres redis
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; go build -o "$$dir/localcluster" ./internal/localcluster && "$$dir/localcluster"

##
## Generating

.PHONY: generate
generate: ## the Go files of the *.templ files
	@for dir in $(TEMPL_DIRS); do $(TEMPL) generate -log-level warn -path $$dir; done

##
## Linters

.PHONY: lint
lint: ## every linter over every module; shows all findings before it fails
	@$(MAKE) --keep-going quick-checks fix-check tidy-check generate-check staticcheck golangci

.PHONY: fix-check
fix-check: ## go fix has nothing left to modernise
	@$(call in-each,. $(NESTED),go fix -diff ./...)

.PHONY: tidy-check
tidy-check: ## every go.mod and go.sum says what go mod tidy would say
	@$(call in-each,. $(NESTED) $(TOOL_MODULES),go mod tidy -diff)

.PHONY: generate-check
generate-check: ## the generated files are those of their sources
	@for dir in $(TEMPL_DIRS); do echo "== templ generate -check in $$dir" && $(TEMPL) generate -check -log-level error -path $$dir; done

.PHONY: staticcheck
staticcheck:
	@$(call in-each,. $(NESTED),echo "== staticcheck in $$dir" && $(STATICCHECK) ./...)

.PHONY: golangci
golangci:
	@$(call in-each,. $(NESTED),echo "== golangci-lint in $$dir" && $(GOLANGCI) run ./...)

.PHONY: fmt
fmt: ## format the Go code (gofumpt, goimports)
	@$(call in-each,. $(NESTED),$(GOLANGCI) fmt)

##
## Measuring

.PHONY: bench
bench: ## Go benchmarks (BENCH=regexp BENCHTIME=1s), then the hub beside its floors (BENCHFLAGS, ROUNDS=5)
	go test -run='^$$' -bench='$(BENCH)' -benchtime=$(BENCHTIME) -benchmem -timeout=0 ./...
	cd bench && go run ./cmd/bench -rounds $(ROUNDS) $(BENCHFLAGS)

.PHONY: bench-peers
bench-peers: ## gohub beside its peers (ROUNDS, BENCHFLAGS): tables, JSON and charts in PEERS=bench/peers/out
	@scripts/need.sh go node npm redis postgres
	cd bench && go run ./cmd/bench -scenario peers -rounds $(ROUNDS) -o $(abspath $(PEERS))/peers.json -report $(abspath $(PEERS)) $(BENCHFLAGS)

.PHONY: bench-account
bench-account: ## how far from the floor gohub is, and why: a table, and flame graphs (ROUNDS) in PEERS=bench/peers/out
	@scripts/need.sh go
	cd bench && go run ./cmd/bench -account $(abspath $(PEERS)) -rounds $(ROUNDS) -retries 1 $(BENCHFLAGS)

.PHONY: bench-baseline
bench-baseline: ## write bench/baseline.txt, what guard compares with; say in the commit why
	@scripts/need.sh go valgrind
	@$(COSTS) >bench/baseline.txt

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME=30s
	@scripts/fuzz.sh $(FUZZTIME)
