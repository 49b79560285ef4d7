# libaperture. The two commands that matter: `make demo` and `make test`. `make help` lists the rest.

GO      ?= go
PYTHON  ?= python3
NODE    ?= node
NPM     ?= npm
CC      ?= gcc
CXX     ?= g++

BUILD   := build
VENV    := $(BUILD)/venv
ABI     := abi/aperture.yaml $(wildcard abi/generate/*.go abi/generate/templates/*)

# The library: only its own symbols, a SONAME, read-only relocations, nothing bound lazily, and Go's own DNS and user
# look-ups, which need no thread per call. -buildid= and -trimpath make the build the same in every folder.
SONAME  := libaperture.so.0
LINKER  := -Wl,-soname,$(SONAME) -Wl,--version-script=$(CURDIR)/capi/aperture.map -Wl,-z,relro -Wl,-z,now
GOFLAGS_LIBRARY := -buildmode=c-shared -trimpath -buildvcs=false -tags netgo,osusergo \
                   -ldflags "-s -w -buildid= -extldflags '$(LINKER)'"

LIBRARY := $(BUILD)/libaperture.so
GO_FILES = $(shell find abi capi core cmd tests -name '*.go' -o -name '*.c' -not -path '*/examples/*') go.mod include/aperture.h

.PHONY: help
help: ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: build
build: $(LIBRARY) $(BUILD)/aperture-local ## Build the library and aperture-local into build/.

$(LIBRARY): $(GO_FILES) capi/aperture.map
	@mkdir -p $(BUILD)
	$(GO) build $(GOFLAGS_LIBRARY) -o $@ ./capi
	@rm -f $(BUILD)/libaperture.h
	@ln -sf libaperture.so $(BUILD)/$(SONAME)
	@touch $@
