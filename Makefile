# GNU make. Every target fails when something is wrong; nothing is fixed behind your back but by `make format`.

GO        ?= go
FUZZTIME  ?= 30s
IMAGES    ?= 20000
KILLS     ?= 200
BENCH     ?= .
COUNT     ?= 10
RACEFLAGS ?= -short

# A checkout of the crash-image harness, and how our command takes its orders.
CRASHIMG    ?= ../shared/crashimg
CRASHDB     ?= game.db
CRASHRUN    ?= -mode run -appends 400
CRASHKILL   ?= -mode run -appends 0
CRASHVERIFY ?= -mode verify

STEPS   := fmt vet staticcheck test race modules docs fuzz-short crash-short
BIN     := $(CURDIR)/bin
TOOLS   := $(BIN)/.tools
MODULES := find . -mindepth 2 -name go.mod -not -path '*/testdata/*' -not -path './bin/*'

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help steps check $(STEPS) format cover fuzz crash bench examples tools clean

help: ## print this help
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile
	@echo "  variables:   FUZZTIME=$(FUZZTIME) IMAGES=$(IMAGES) KILLS=$(KILLS) BENCH=$(BENCH) COUNT=$(COUNT) RACEFLAGS=$(RACEFLAGS)"
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

test: ## the tests
	$(GO) test ./...

race: ## the tests under the race detector (RACEFLAGS= for the long runs)
	$(GO) test -race $(RACEFLAGS) ./...

cover: ## how much of each package the short tests cover, and of all
	@mkdir -p $(BIN)
	$(GO) test -short -coverprofile $(BIN)/cover.out ./...
	@$(GO) tool cover -func $(BIN)/cover.out | tail -1

modules: $(TOOLS) ## build, vet, check and test every other module of the tree
	@$(MODULES) | sort | while read -r mod; do dir=$$(dirname "$$mod"); echo "module $$dir"; ( \
		cd "$$dir"; $(GO) mod verify >/dev/null; pkgs=$$($(GO) list ./...); \
		if [ -z "$$pkgs" ]; then $(GO) build -o /dev/null tool; exit; fi; \
		$(GO) build -o /dev/null ./...; $(GO) vet ./...; $(BIN)/staticcheck ./...; $(GO) test ./... ); done

docs: ## docs in step with the code, imports as in the table
	@out=$$($(GO) test -count=1 -v -run '^Test(Docs|Imports)_' . 2>&1) || { echo "$$out"; exit 1; }; \
	n=$$(grep -c '^--- PASS' <<<"$$out" || true); echo "$$n checks passed"; \
	grep '^ *--- SKIP' <<<"$$out" || true; [ "$$n" -ge 5 ] || { echo "too few: docs_test.go or imports_test.go is not there"; exit 1; }

# Counted, not timed, in CI: at the end of a duration Go's fuzzing itself can fail without a finding
# ("context deadline exceeded", golang/go#75804).
fuzz: ## run every fuzz target of the module for FUZZTIME (10m, or 100000x for executions)
	@list=$$($(GO) test -list '^Fuzz' ./...) || { echo "$$list"; exit 1; }; \
	awk '/^Fuzz/ { names = names " " $$1; next } /^ok/ { n = split(names, f, " "); for (i = 1; i <= n; i++) print $$2, f[i] } { names = "" }' <<<"$$list" | \
	while read -r pkg name; do echo "fuzz $$pkg $$name for $(FUZZTIME)"; \
		$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$pkg" </dev/null || exit 1; done

fuzz-short: ## the same, a few seconds each
	@$(MAKE) -s fuzz FUZZTIME=100000x

# Builds the harness and our command into a directory that goes afterwards. The recorder does not judge
# its workload, so its report is read: the run must have ended well and acknowledged something. After 40
# kills the file is new, for the verifier reads all of it after each.
crash: ## crash images and kill -9 rounds, where the harness is found (CRASHIMG, IMAGES, KILLS)
	@if [ ! -f '$(CRASHIMG)/go.mod' ]; then echo "crash: harness not found: skipped (CRASHIMG=$(CRASHIMG))"; exit 0; fi; \
	t=$$(mktemp -d); trap 'rm -rf "$$t"' EXIT; \
	$(GO) build -C '$(CRASHIMG)' -o "$$t/" ./cmd/crashimg; $(GO) build -o "$$t/" ./internal/crashload; \
	scratch=/dev/shm; [ -w $$scratch ] || scratch=$$t; \
	if ! strace -f -o /dev/null true 2>/dev/null; then echo "crash: strace is missing or may not trace here: images skipped"; else \
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

bench: $(TOOLS) ## the benchmarks matching BENCH, COUNT times, with benchstat; OLD=file compares
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./... | tee $(BIN)/bench.txt
	$(BIN)/benchstat $(OLD) $(BIN)/bench.txt

examples: ## run every example, each in an empty directory
	@$(GO) test ./examples/...; list=$$($(GO) list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./examples/...); \
	for p in $$list; do echo "example $$p"; t=$$(mktemp -d); \
		$(GO) build -o "$$t/example" "$$p" && (cd "$$t" && ./example </dev/null) || { rm -rf "$$t"; exit 1; }; rm -rf "$$t"; done

tools: $(TOOLS) ## build the pinned tools into bin/

$(TOOLS): tools/go.mod tools/go.sum
	@mkdir -p $(BIN)
	$(GO) build -C tools -o $(BIN)/ tool
	@touch $@

clean: ## remove bin/
	rm -rf $(BIN)
