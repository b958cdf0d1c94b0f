# `make help` lists the targets. Variables can be set on the command line:
# make run PORT=7000 SERVER=valkey-server

PORT     ?= 6379
SERVER   ?= redis-server
PREFIX   ?= /usr/local
# Part of the names of the tests or benches to run; all if empty.
TEST     ?=
# How long `make fuzz` runs, and whether the servers run under valgrind (VALGRIND=1).
MINUTES  ?= 10
VALGRIND ?=
STALLS   ?=
BENCH    ?=
# The servers that `make test-server` takes if they are installed.
SERVERS  ?= $(or $(LTMC_SERVER),redis-server valkey-server)

# A path may have spaces: recipes quote these, and no rule names a file.
target_dir := $(or $(CARGO_TARGET_DIR),target)
target_dir := $(if $(filter /%,$(firstword $(target_dir))),$(target_dir),$(CURDIR)/$(target_dir))
lib_name   := libltmc.$(if $(filter Darwin,$(shell uname -s)),dylib,so)
release_so := $(target_dir)/release/$(lib_name)
run_dir    := $(target_dir)/run
# Tests and benches build with other dependencies than `make build`. In one folder each of them would make Cargo build the
# module again for the others.
core_dir   := $(target_dir)/core
server_dir := $(target_dir)/server
bench_dir  := $(target_dir)/bench

.DEFAULT_GOAL := help
.NOTPARALLEL:
export CARGO_TARGET_DIR := $(target_dir)
.PHONY: help bootstrap build port-is-free run demo test test-core test-server test-clients fuzz stalls bench bench-trees lint fmt docs install clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

bootstrap: ## install what building and testing need (Debian, Ubuntu)
	@scripts/bootstrap --if-needed

build: bootstrap ## the module, optimised: target/release/libltmc.so
	cargo build --release

port-is-free:
	@scripts/port-is-free $(PORT)

run: port-is-free build ## a server with the module on PORT (6379), in the foreground; data in target/run
	@mkdir -p "$(run_dir)"
	@echo "Ctrl-C stops the server. In another terminal: redis-cli -p $(PORT) LTMC.STATUS"
	@exec $(SERVER) --port $(PORT) --bind 127.0.0.1 --dir "$(run_dir)" --appendonly yes --save '' \
		--maxmemory-policy noeviction --loadmodule "$(release_so)"

demo: build ## five agents, one of them killed, share one repository by path locks
	LTMC_MODULE="$(release_so)" scripts/demo

test: bootstrap test-core test-server ## all tests

test-core: ## what needs no server and no libclang: unit, model, golden and layering tests (TEST=part of a name)
	cargo test --no-default-features --target-dir "$(core_dir)" -- $(TEST)

test-server: bootstrap ## the module in real servers: redis-server, and valkey-server if installed (TEST=part of a name)
	@ran=no; for server in $(SERVERS); do \
		command -v $$server >/dev/null || { echo "not installed, skipped: $$server"; continue; }; \
		ran=yes; echo "== server tests on $$server"; \
		LTMC_SERVER=$$server cargo test --target-dir "$(server_dir)" --features test-hooks --test server -- $(TEST) || exit 1; \
	done; [ $$ran = yes ]

test-clients: bootstrap ## redis-py and ioredis under each role; installs them in target/clients
	scripts/test-clients
	LTMC_SERVER=$(SERVER) cargo test --target-dir "$(server_dir)" --features test-hooks --test server -- --ignored under_each_role

fuzz: build ## hostile clients on the optimised module for MINUTES (10), with a new seed each time (VALGRIND=1: under valgrind)
	LTMC_SERVER=$(SERVER) LTMC_MODULE="$(release_so)" LTMC_FUZZ_MINUTES=$(MINUTES) LTMC_FUZZ_VALGRIND=$(VALGRIND) \
		cargo test --target-dir "$(server_dir)" --features test-hooks --test server -- --nocapture no_input_crashes

stalls: bootstrap ## how long the dearest commands keep the server from everything else (STALLS=part of a name)
	cargo build --release --features test-hooks --target-dir "$(server_dir)"
	LTMC_SERVER=$(SERVER) LTMC_MODULE="$(server_dir)/release/$(lib_name)" LTMC_STALLS="$(STALLS)" \
		cargo test --target-dir "$(server_dir)" --features test-hooks --test server -- --ignored --nocapture what_stalls_the_server

bench: build ## throughput and latency against native commands (BENCH=part of a name)
	LTMC_SERVER=$(SERVER) LTMC_MODULE="$(release_so)" cargo bench --target-dir "$(bench_dir)" --bench bench -- $(BENCH)

bench-trees: ## speed and memory of the maps that share structure, without a server
	cargo bench --no-default-features --target-dir "$(core_dir)" --bench trees

lint: bootstrap ## rustfmt and clippy, warnings are errors
	cargo fmt --check
	cargo clippy --all-targets --no-default-features -- -D warnings
	cargo clippy --all-targets --features test-hooks -- -D warnings
	cargo clippy -- -D warnings

fmt: ## format the sources
	cargo fmt

docs: ## the pages and tables that are made from the sources
	LTMC_DOCS_WRITE=1 cargo test --no-default-features --target-dir "$(core_dir)" --test docs

install: ## copy the module to $(DESTDIR)$(PREFIX)/lib/redis/modules; builds it if it is not built
	@[ -f "$(release_so)" ] || $(MAKE) build
	install -d "$(DESTDIR)$(PREFIX)/lib/redis/modules"
	install -m 755 "$(release_so)" "$(DESTDIR)$(PREFIX)/lib/redis/modules/"

clean: ## remove everything that was built, and the data of `make run`
	cargo clean
