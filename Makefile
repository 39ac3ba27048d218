# GNU make. Every target fails when something is wrong; nothing is fixed behind your back but by `make format`.

GO        ?= go
TIMEOUT   ?= 20m
FUZZTIME  ?= 30s
IMAGES    ?= 20000
KILLS     ?= 200
BENCH     ?= .
COUNT     ?= 10

# The sizes of the long proofs, see go doc ./internal/long: empty for the quick ones. What check and CI run is LONG of them.
export SAVEPOINT_LONG
LONG ?= 0.1

# The systems on which everything compiles, tests included.
CROSS ?= linux/amd64 linux/arm64 linux/386 darwin/amd64 freebsd/amd64 windows/amd64

# A checkout of the crash-image harness, and how our command takes its orders.
CRASHIMG    ?= ../shared/crashimg
CRASHDB     ?= game.db
CRASHRUN    ?= -mode run -appends 400
CRASHKILL   ?= -mode run -appends 0
CRASHVERIFY ?= -mode verify

# cover is the step that runs the tests.
STEPS   := fmt vet staticcheck cross cover race modules docs examples bench-short fuzz-short crash-short
BIN     := $(CURDIR)/bin
TOOLS   := $(BIN)/.tools
TESTLOG := $(BIN)/testlog
TEST    := $(GO) test -timeout $(TIMEOUT)
MODULES := find . -mindepth 2 -name go.mod -not -path '*/testdata/*' -not -path './bin/*'

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help steps check $(STEPS) format test long fuzz crash bench tools clean

help: ## print this help
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile
	@echo "  variables:   TIMEOUT=$(TIMEOUT) SAVEPOINT_LONG=$(SAVEPOINT_LONG) LONG=$(LONG) FUZZTIME=$(FUZZTIME) IMAGES=$(IMAGES) KILLS=$(KILLS)"
	@echo "               BENCH=$(BENCH) COUNT=$(COUNT) CROSS='$(CROSS)'"
	@echo "               CRASHIMG=$(CRASHIMG) CRASHRUN='$(CRASHRUN)' CRASHVERIFY='$(CRASHVERIFY)'"

check: $(STEPS) ## everything a change must pass: the steps below, one after the other

steps: # the names of the steps of check, for .ci/run
	@echo $(STEPS)

fmt: ## fail on files that gofmt would change
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "not formatted (make format does it):"; echo "$$out"; exit 1; fi

format: ## format every file
	gofmt -w .

vet: ## go vet
	$(GO) vet ./...

staticcheck: $(TOOLS) ## staticcheck, the version pinned in tools/go.mod
	$(BIN)/staticcheck ./...

cross: ## go vet for each system of CROSS, tests included
	@for t in $(CROSS); do for mod in . bench; do echo "vet $$t $$mod"; \
		(cd "$$mod" && CGO_ENABLED=0 GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) vet ./...) || exit 1; done; done
	@echo "not done: tests on $(filter-out $(shell $(GO) env GOOS)/$(shell $(GO) env GOARCH),$(CROSS)): compiled and vetted only"

test: ## the tests, in their quick sizes
	$(TEST) ./...

race: $(TESTLOG) ## the tests under the race detector, in their quick sizes
	$(TEST) -race -json ./... | $(TESTLOG)

cover: $(TESTLOG) ## the tests with LONG of the long proofs, and how much of the code they reach
	SAVEPOINT_LONG=$(LONG) $(TEST) -json -coverprofile $(BIN)/cover.out ./... | $(TESTLOG)
	@$(GO) tool cover -func $(BIN)/cover.out | tail -1
	@echo "not done: the full sizes of the long proofs: SAVEPOINT_LONG=$(LONG) (make long runs them)"

long: ## all of the long proofs: the tests in full, fuzzing, crash images; and how long each took
	@report=""; for step in "test SAVEPOINT_LONG=1 TIMEOUT=6h" "race SAVEPOINT_LONG=$(LONG) TIMEOUT=2h" "fuzz FUZZTIME=10m" "crash"; do \
		start=$$SECONDS; echo "=== make $$step"; $(MAKE) -s $$step || { printf '%s' "$$report"; echo "FAIL make $$step after $$((SECONDS - start)) s"; exit 1; }; \
		report+="$$(printf '%6d s  make %s' $$((SECONDS - start)) "$$step")"$$'\n'; done; printf '%s' "$$report"

modules: $(TOOLS) $(TESTLOG) ## build, vet, check and test every other module of the tree
	@$(MODULES) | sort | while read -r mod; do dir=$$(dirname "$$mod"); echo "module $$dir"; ( \
		cd "$$dir"; $(GO) mod verify >/dev/null; \
		$(GO) build -o /dev/null ./...; $(GO) vet ./...; $(BIN)/staticcheck ./...; $(TEST) -json ./... | $(TESTLOG) ); done

docs: $(TESTLOG) ## docs in step with the code, imports as in the table, the limits of the house
	@$(TEST) -count=1 -json -run '^Test(Docs|Imports|House)_' . >$(BIN)/docs.json || { $(TESTLOG) <$(BIN)/docs.json; exit 1; }; \
	$(TESTLOG) <$(BIN)/docs.json; n=$$(grep -c '"Action":"pass".*"Test":"Test[^/"]*"' $(BIN)/docs.json || true); echo "$$n checks passed"; \
	[ "$$n" -ge 17 ] || { echo "too few: docs_test.go, imports_test.go or house_test.go is not there"; exit 1; }

# Counted, not timed, in CI: at the end of a duration Go's fuzzing itself can fail without a finding
# ("context deadline exceeded", golang/go#75804).
fuzz: ## run every fuzz target of the module for FUZZTIME (10m, or 100000x for executions)
	@list=$$($(TEST) -list '^Fuzz' ./...) || { echo "$$list"; exit 1; }; \
	awk '/^Fuzz/ { names = names " " $$1; next } /^ok/ { n = split(names, f, " "); for (i = 1; i <= n; i++) print $$2, f[i] } { names = "" }' <<<"$$list" | \
	while read -r pkg name; do echo "fuzz $$pkg $$name for $(FUZZTIME)"; \
		$(TEST) -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$pkg" </dev/null || exit 1; done

fuzz-short: ## the same, a few seconds each
	@$(MAKE) -s fuzz FUZZTIME=100000x
	@echo "not done: fuzzing for longer than 100000 inputs a target (make long does it)"

# Builds the harness and our command into a directory that goes afterwards. The recorder does not judge
# its workload, so its report is read: the run must have ended well and acknowledged something. After 40
# kills the file is new, for the verifier reads all of it after each.
crash: ## crash images and kill -9 rounds, where the harness is found (CRASHIMG, IMAGES, KILLS)
	@if [ ! -f '$(CRASHIMG)/go.mod' ]; then echo "not done: crash images and kill -9 rounds: no harness (CRASHIMG=$(CRASHIMG))"; exit 0; fi; \
	t=$$(mktemp -d); trap 'rm -rf "$$t"' EXIT; \
	$(GO) build -C '$(CRASHIMG)' -o "$$t/" ./cmd/crashimg; $(GO) build -o "$$t/" ./internal/crashload; \
	scratch=/dev/shm; [ -w $$scratch ] || scratch=$$t; \
	if ! strace -f -o /dev/null true 2>/dev/null; then echo "not done: crash images: strace is missing or may not trace here"; else \
		"$$t/crashimg" record -how strace -dir "$$t/run" -trace "$$t/run.trace" -- "$$t/crashload" $(CRASHRUN) | tee "$$t/record"; \
		grep -q 'workload: <nil>' "$$t/record" || { echo "crash: the workload failed"; exit 1; }; \
		grep -q '[1-9][0-9]* acks' "$$t/record" || { echo "crash: the workload acknowledged nothing"; exit 1; }; \
		"$$t/crashimg" check -trace "$$t/run.trace" -db $(CRASHDB) -verify "$$t/crashload $(CRASHVERIFY)" \
			-per-point 60 -max $(IMAGES) -j 2 -timeout 60s -dirsync posix -scratch $$scratch; fi; \
	left=$(KILLS); for ((file = 1; left > 0; file++, left -= 40)); do \
		"$$t/crashimg" kill -dir "$$t/kill" -db $(CRASHDB) -verify "$$t/crashload $(CRASHVERIFY)" -seed $$file \
			-timeout 60s -rounds $$((left < 40 ? left : 40)) -- "$$t/crashload" $(CRASHKILL); done

crash-short: ## the same, a minute at most
	@$(MAKE) -s crash IMAGES=2000 KILLS=20
	@[ ! -f '$(CRASHIMG)/go.mod' ] || echo "not done: more than 2000 crash images and 20 kills (make long does them)"

bench: $(TOOLS) ## the benchmarks matching BENCH, COUNT times, with benchstat; OLD=file compares
	$(TEST) -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./... | tee $(BIN)/bench.txt
	$(BIN)/benchstat $(OLD) $(BIN)/bench.txt

bench-short: $(TESTLOG) ## every benchmark once, to see that it runs
	@for mod in . bench; do echo "benchmarks of $$mod"; (cd "$$mod" && $(TEST) -json -run '^$$' -bench . -benchtime 1x ./... | $(TESTLOG)) || exit 1; done
	@echo "not done: benchmarks that measure (make bench does it)"

# changing goes on with the file that quickstart leaves.
examples: ## run every example program in one new directory, quickstart first
	@list=$$($(GO) list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./examples/...); \
	first=$$(grep '/quickstart$$' <<<"$$list"); others=$$(grep -v '/quickstart$$' <<<"$$list"); \
	t=$$(mktemp -d); trap 'rm -rf "$$t"' EXIT; mkdir "$$t/empty"; \
	for p in $$first $$others; do echo "example $$p"; $(GO) build -o "$$t/example" "$$p"; (cd "$$t/empty" && "$$t/example" </dev/null); done

tools: $(TOOLS) ## build the pinned tools into bin/

$(TOOLS): tools/go.mod tools/go.sum
	@mkdir -p $(BIN)
	@$(GO) build -C tools -o $(BIN)/ tool
	@touch $@

$(TESTLOG): $(wildcard tools/testlog/*.go)
	@mkdir -p $(BIN)
	@$(GO) build -C tools -o $@ ./testlog

clean: ## remove bin/
	rm -rf $(BIN)
