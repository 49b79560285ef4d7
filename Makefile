# libaperture. The two commands that matter: `make demo` and `make test`. `make help` lists the rest.

GO      ?= go
PYTHON  ?= python3
NODE    ?= node
NPM     ?= npm
ifeq ($(origin CC),default)
CC      := gcc
endif

BUILD   := build
LIBRARY := $(BUILD)/libaperture.so
VENV    := $(BUILD)/venv
MODULES := bindings/node/node_modules/.package-lock.json

# Only the library's own symbols, a SONAME, read-only relocations, nothing bound lazily, a Go runtime that starts late, and
# Go's own look-ups of hosts and users, which need no thread per call. -trimpath and an empty build id make the build the
# same in every folder.
SONAME    := libaperture.so.0
LINKER    := -Wl,-soname,$(SONAME) -Wl,--version-script=$(CURDIR)/capi/aperture.map -Wl,-z,relro -Wl,-z,now \
	-Wl,-T,$(CURDIR)/capi/internal/guest/start.ld
GO_BUILD  := $(GO) build -trimpath -buildvcs=false
GO_SOURCES := $(shell find capi core cmd internal tests \( -name '*.go' -o -name '*.c' \) -not -name '*_test.*') go.mod go.sum

# Go knows of no header outside of a package's own folder: the hash lets it compile again when one has changed.
C_HEADERS := include/aperture.h capi/internal/guest/guest.h capi/internal/guest/functions.h
BUILD_LIBRARY = CGO_CFLAGS="-O2 -g -DAPERTURE_HEADERS=0x$$(cat $(C_HEADERS) | sha256sum | cut -c1-16)" $(GO_BUILD) \
	-ldflags "-s -w -buildid= -extldflags '$(LINKER)'" -buildmode=c-shared -tags netgo,osusergo$(TAGS)

C_FLAGS := -Wall -Wextra -pedantic -Werror -Iinclude
C_LINK  := -L$(BUILD) -laperture

.PHONY: help
help: ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

# ---- What the tests stand on ----

.PHONY: build
build: $(LIBRARY) $(BUILD)/aperture-local ## Build the library and aperture-local into build/.

$(LIBRARY): $(GO_SOURCES) $(C_HEADERS) capi/aperture.map capi/internal/guest/start.ld capi/libaperture.supp
	$(BUILD_LIBRARY) -o $@ ./capi
	@rm -f $(BUILD)/libaperture.h
	@ln -sf libaperture.so $(BUILD)/$(SONAME)
	@cp capi/libaperture.supp $(BUILD)/

# The library with points at which a test can make it panic.
$(BUILD)/faults/libaperture.so: TAGS := ,aperture_faults
$(BUILD)/faults/libaperture.so: $(GO_SOURCES) $(C_HEADERS) capi/aperture.map capi/internal/guest/start.ld
	$(BUILD_LIBRARY) -o $@ ./capi
	@rm -f $(@D)/libaperture.h

$(BUILD)/aperture-local: $(GO_SOURCES)
	$(GO_BUILD) -o $@ ./cmd/aperture-local

$(BUILD)/fakeagent: $(GO_SOURCES)
	$(GO_BUILD) -o $@ ./tests/fakeagent/cmd/fakeagent

$(BUILD)/testcert: $(GO_SOURCES)
	$(GO_BUILD) -o $@ ./tests/testcert/cmd/testcert

$(BUILD)/staticcheck: tools/go.mod tools/go.sum
	cd tools && $(GO) build -o $(CURDIR)/$@ honnef.co/go/tools/cmd/staticcheck

# The demo needs an interpreter and nothing else; the checks need the packages of requirements-dev.txt.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: bindings/python/requirements-dev.txt bindings/python/requirements-uwsgi.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r bindings/python/requirements-uwsgi.txt || \
		echo "uWSGI cannot be built here; its tests will be skipped"
	@touch $@

$(MODULES): bindings/node/package-lock.json bindings/node/package.json
	cd bindings/node && $(NPM) ci --silent
	@touch $@

$(BUILD)/examples/checkout: examples/c/checkout.c include/aperture.h $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) -std=c99 $(C_FLAGS) $< -o $@ $(C_LINK) -Wl,-rpath,'$$ORIGIN/..'

$(BUILD)/conformance/driver-go: $(GO_SOURCES)
	$(GO_BUILD) -o $@ ./tests/conformance/drivers/go

$(BUILD)/conformance/driver-c: $(wildcard tests/conformance/drivers/c/*.[ch]) include/aperture.h $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) -std=c11 $(C_FLAGS) -O1 -g $(filter %.c,$^) -o $@ $(C_LINK) -Wl,-rpath,'$$ORIGIN/..'

BINARIES := $(LIBRARY) $(BUILD)/aperture-local $(BUILD)/fakeagent $(BUILD)/testcert

# ---- Demo ----

.PHONY: demo
demo: $(LIBRARY) $(BUILD)/aperture-local $(BUILD)/examples/checkout $(VENV)/bin/python $(MODULES) ## Run one trace from C, Python and Node, in process and over gRPC.
	@NODE=$(NODE) $(PYTHON) examples/demo.py

# ---- Tests ----

.PHONY: test
test: check-generated check-go check-python test-go test-abi test-faults test-soak test-c test-conformance test-tools test-demo test-readme test-python test-node ## Run every check and every suite.
	@echo "make test: every suite has passed"

.PHONY: check-go
check-go: $(BUILD)/staticcheck $(LIBRARY) ## gofmt, go vet, staticcheck, and core without cgo.
	@test -z "$$(gofmt -l abi bench capi core cmd internal tests tools)" || { gofmt -d abi bench capi core cmd internal tests tools; exit 1; }
	$(GO) vet ./...
	cd tools && $(GO) vet ./...
	$(BUILD)/staticcheck ./...
	CGO_ENABLED=0 $(GO) build ./core/... ./cmd/...

.PHONY: check-python
check-python: $(VENV)/installed ## ruff over the benchmarks and tests that are written in Python.
	$(VENV)/bin/ruff check --config bindings/python/pyproject.toml bench tests
	$(VENV)/bin/ruff format --check --config bindings/python/pyproject.toml bench tests

.PHONY: test-go
test-go: ## The Go packages, under the race detector.
	$(GO) test -race ./abi/... ./capi/... ./core/... ./cmd/... ./internal/... ./tests/fakeagent/... ./tests/testcert/...

.PHONY: test-abi
test-abi: $(LIBRARY) ## The built library, loaded as a foreign caller would.
	$(GO) test -count=1 ./tests/abi/...

.PHONY: test-faults
test-faults: $(BUILD)/faults/libaperture.so ## A panic at every point of the library.
	$(GO) test -count=1 ./tests/faults/...

.PHONY: test-c
test-c: $(BINARIES) ## The header and the library from C and C++.
	CC=$(CC) CXX=$(CXX) PYTHON=$(PYTHON) BUILD=$(BUILD) sh tests/c/run.sh

.PHONY: test-conformance
test-conformance: $(BUILD)/conformance/driver-go $(BUILD)/conformance/driver-c $(BUILD)/aperture-local $(VENV)/installed $(MODULES) ## The same cases from Go, C, Python and Node.
	NODE=$(NODE) $(GO) test -count=1 ./tests/conformance

.PHONY: test-tools
test-tools: $(BINARIES) ## The tests in C under sanitizers, the race detector, and valgrind where it is installed.
	CC=$(CC) CXX=$(CXX) GO=$(GO) PYTHON=$(PYTHON) BUILD=$(BUILD) sh tests/c/tools.sh

.PHONY: test-python
test-python: $(BINARIES) $(VENV)/installed ## The Python package: ruff, mypy, pytest.
	cd bindings/python && $(CURDIR)/$(VENV)/bin/ruff check && $(CURDIR)/$(VENV)/bin/mypy && $(CURDIR)/$(VENV)/bin/pytest -q

.PHONY: test-node
test-node: $(BINARIES) $(MODULES) ## The Node package: tsc, node:test.
	cd bindings/node && ./node_modules/.bin/tsc -p test/types && $(NODE) --test test/*.test.mjs test/*.test.cjs

.PHONY: test-soak
test-soak: $(BUILD)/fakeagent $(BUILD)/soak/host $(VENV)/installed ## The arithmetic of the soak, and a short one.
	cd tests/soak && $(CURDIR)/$(VENV)/bin/mypy --strict *.py && $(PYTHON) -m unittest --quiet
	$(PYTHON) tests/soak/run.py --minutes 0.2

.PHONY: test-readme
test-readme: $(LIBRARY) $(VENV)/bin/python $(MODULES) ## The snippets of README.md.
	CC=$(CC) GO=$(GO) NODE=$(NODE) $(VENV)/bin/python tests/readme/run.py

.PHONY: test-demo
test-demo: ## The demo, whose runtimes must agree.
	env -u APERTURE_AGENT_ADDRESS $(MAKE) --no-print-directory demo

# ---- Generated files ----

PROTO := aperture/flowcontrol/check/v1/check.proto

.PHONY: generate
generate: ## Make everything that is generated: protocol code, header, entry points, tables of the bindings.
	$(GO) run ./abi/generate
	cd tools && $(GO) run ./protogen ../proto .. $(PROTO)

# Generates into the tree and compares with what was there before, committed or not.
.PHONY: check-generated
check-generated: ## Fail unless `make generate` leaves the tree as it is.
	@sh tests/generated.sh

# ---- Beside the tests ----

FUZZ_TIME ?= 2m

.PHONY: fuzz
fuzz: $(LIBRARY) ## Call the library with wrong arguments in any order, and read damaged policies and headers, for FUZZ_TIME each.
	APERTURE_FUZZ_TIME=$(FUZZ_TIME) $(GO) test -count=1 -timeout 0 -run TestCallsInRandomOrder -v ./tests/abi
	$(GO) test -run '^$$' -fuzz FuzzLoad -fuzztime $(FUZZ_TIME) ./core/local/policy
	$(GO) test -run '^$$' -fuzz FuzzParse -fuzztime $(FUZZ_TIME) ./core/baggage

.PHONY: bench
bench: $(BINARIES) $(VENV)/bin/python $(MODULES) $(BUILD)/bench/flow $(BUILD)/bench/bare $(BUILD)/bench/inprocess ## Measure what a flow costs, in ratios.
	NODE=$(NODE) $(PYTHON) bench/run.py
	@echo
	$(PYTHON) bench/ratios.py

.PHONY: bench-local
bench-local: $(BUILD)/bench/flow $(BUILD)/bench/inprocess ## Measure flows in the process against bounds, in ratios.
	$(PYTHON) bench/ratios.py

$(BUILD)/bench/flow: bench/flow.c include/aperture.h $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) -O2 -std=c11 -Wall -Wextra -Werror -pthread -Iinclude $< -o $@ $(C_LINK) -Wl,-rpath,'$$ORIGIN/..'

$(BUILD)/bench/bare: bench/bare/main.go $(GO_SOURCES)
	$(GO_BUILD) -o $@ ./bench/bare

$(BUILD)/bench/inprocess: bench/inprocess/main.go $(GO_SOURCES)
	$(GO_BUILD) -o $@ ./bench/inprocess

.PHONY: soak
soak: $(BUILD)/fakeagent $(BUILD)/soak/host ## Run flows against an agent that suffers (MINUTES=5, SEED=).
	$(PYTHON) tests/soak/run.py $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

$(BUILD)/soak/host: $(wildcard tests/soak/*.[ch]) include/aperture.h $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) -O2 -std=c11 $(C_FLAGS) -pthread $(filter %.c,$^) -o $@ $(C_LINK) -Wl,-rpath,'$$ORIGIN/..'

.PHONY: clean
clean: ## Remove what was built.
	rm -rf $(BUILD) bindings/node/node_modules
