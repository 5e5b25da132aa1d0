# Everyday commands of Sidehook. `make help` lists them.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
# Passed on to the program that a target runs, for example: make demo ARGS=--once
ARGS ?=
# Rows that make bench measures, separated by commas; all when empty.
ROW ?=
# What to test, and flags of go test: make test PKGS=./storage/... TESTFLAGS=-v
PKGS ?= ./...
TESTFLAGS ?=
# How long each fuzz target runs.
FUZZTIME ?= 1m
# How often make torture kills the sidecar, and how long make soak loads it.
KILLS ?= 100
SOAKTIME ?= 10m

BIN := bin
TOOLS := $(BIN)/tools
BUILD := CGO_ENABLED=0 go build -trimpath

.PHONY: help
help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/sidehook and the example transformer bin/transformers/redact
	$(BUILD) -ldflags '-s -w -X github.com/sidehook/sidehook/internal/app.version=$(VERSION)' -o $(BIN)/sidehook ./cmd/sidehook
	$(BUILD) -ldflags '-s -w' -o $(BIN)/transformers/redact ./examples/transformers/redact

.PHONY: demo
demo: build ## Watch real events travel from a service to verified webhooks; Ctrl-C stops it
	@exec go run ./examples/demo $(ARGS)

.PHONY: test
test: ## Install what the tests need, then run all of them under the race detector
	@setup=$$(scripts/setup-test); eval "$$setup"; set -x; go test $$SIDEHOOK_TEST_FLAGS $(TESTFLAGS) $(PKGS)

.PHONY: bench
bench: build ## Measure against the bare net/http loop on this machine; ROW=one,fanout10 for some rows, ARGS=-list for a list
	go run ./internal/bench $(if $(ROW),-row $(ROW)) $(ARGS)

.PHONY: torture
torture: ## Kill a sidecar KILLS (100) times under load and account for every acknowledged event
	SIDEHOOK_E2E_KILLS=$(KILLS) go test -count=1 -v -timeout 60m -run '^TestTorture$$' $(TESTFLAGS) ./internal/e2e

.PHONY: soak
soak: build ## Load a sidecar for SOAKTIME (10m); fail when memory, goroutines, descriptors or disk grow
	go run ./internal/bench -soak $(SOAKTIME) $(ARGS)

.PHONY: lint
lint: $(TOOLS)/stamp ## Check format, vet, staticcheck, protobuf, generated code, known vulnerabilities
	@scripts/lint $(TOOLS)

.PHONY: generate
generate: $(TOOLS)/stamp ## Write the Go code of api/**/*.proto
	$(TOOLS)/buf generate

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (1m) each; PKGS narrows
	@scripts/fuzz $(FUZZTIME) $(PKGS)

.PHONY: format
format: $(TOOLS)/stamp ## Format the Go code that is not generated
	@git ls-files -co --exclude-standard '*.go' ':!*.pb.go' | xargs $(TOOLS)/gofumpt -w

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(BIN)

# Linking the tools takes longer than running them, so they are built once per version.
$(TOOLS)/stamp: internal/tools/go.mod internal/tools/go.sum
	@mkdir -p $(TOOLS)
	@echo "building tools (once)"
	@go build -C internal/tools -o $(CURDIR)/$(TOOLS)/ tool
	@touch $@
