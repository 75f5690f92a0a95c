# SPDX-License-Identifier: MIT
#
# The front door. Sources are found by wildcard: a new file needs no line here.
#
#   src/cli/main.c         -> build/ronzal         src/gate/gate.c        -> build/ronzal-gate
#   src/host/shim_main.c   -> build/ronzal-shim    src/fetch/fetch_main.c -> build/ronzal-fetch
#   every other src/*/*.c  -> build/libronzal.a, of which the linker takes what a program needs
#   tests/unit/test_X.c    -> build/tests/test_X   (other .c files there are linked into each)
#   tests/fuzz/fuzz_X.c    -> build/fuzz/replay_X  and, by "make fuzz", build-fuzz/fuzz_X
#   tests/tools/X.c        -> build/tests/tools/X  bench/X.c              -> build/bench/X
#
# Settings: V=1 shows commands, CC=clang, SAN=1 builds with ASan and UBSan into build-asan,
# BUILD=dir, PREFIX=/usr/local, DESTDIR=, FUZZ_SECONDS=30. Needs GNU make 3.81, gcc or clang.

.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
.SUFFIXES:

OS := $(shell uname -s)
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 30
PKG_CONFIG ?= pkg-config

ifdef SAN
BUILD ?= build-asan
else
BUILD ?= build
endif

ifeq ($(V),1)
Q :=
say = @:
else ifeq ($(QUIET),1)
Q := @
say = @:
MAKEFLAGS += --no-print-directory
else
Q := @
say = @printf '%-8s %s\n'
MAKEFLAGS += --no-print-directory
endif

# Compiler ------------------------------------------------------------------------------------

STD_FLAGS := -std=c11 -D_POSIX_C_SOURCE=200809L -D_DARWIN_C_SOURCE -Isrc
WARN_FLAGS := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wwrite-strings -Wvla -Wundef -Wformat=2 -Wimplicit-fallthrough \
	-Wswitch-enum -Wcast-qual -Wconversion -Wno-sign-conversion -Wdouble-promotion -Werror \
	-fno-common

# Libraries: headers from outside the system folders count as system headers, for the warnings.
pkg_libs = $(or $(shell $(PKG_CONFIG) --libs $(1) 2>/dev/null),$(2))
pkg_cflags = $(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags $(1) 2>/dev/null))
LIB_FLAGS := $(foreach p,libuv libllhttp yyjson sqlite3 libcurl nettle,$(call pkg_cflags,$(p)))
UV_LIBS := $(call pkg_libs,libuv,-luv)
LLHTTP_LIBS := $(call pkg_libs,libllhttp,-lllhttp)
YYJSON_LIBS := $(call pkg_libs,yyjson,-lyyjson)
SQLITE_LIBS := $(call pkg_libs,sqlite3,-lsqlite3)
CURL_LIBS := $(call pkg_libs,libcurl,-lcurl)
NETTLE_LIBS := $(call pkg_libs,nettle,-lnettle)
CMOCKA_LIBS = $(call pkg_libs,cmocka,-lcmocka)
CMOCKA_FLAGS = $(call pkg_cflags,cmocka)

ifdef SAN
HARDEN_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_FLAGS := -O1 -g
HARDEN_LDFLAGS := -fsanitize=address,undefined
else
HARDEN_FLAGS := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE \
	-ffunction-sections -fdata-sections
OPT_FLAGS := -O2 -g
ifeq ($(OS),Darwin)
HARDEN_LDFLAGS := -Wl,-dead_strip
else
OPT_FLAGS += -fno-plt # with -z now all is bound at the start
HARDEN_LDFLAGS := -pie -Wl,-z,relro,-z,now -Wl,--gc-sections -Wl,--as-needed
endif
endif

# CFLAGS and LDFLAGS stay the caller's.
ALL_CFLAGS = $(STD_FLAGS) $(WARN_FLAGS) $(OPT_FLAGS) $(HARDEN_FLAGS) $(EXTRA_FLAGS) $(LIB_FLAGS) \
	$(CFLAGS)
ALL_LDFLAGS = $(HARDEN_LDFLAGS) $(EXTRA_LDFLAGS) $(LDFLAGS)
DEP_FLAGS = -MMD -MP

# Sources -------------------------------------------------------------------------------------

ifeq ($(OS),Darwin)
OTHER_OS := src/os/%_linux.c
else
OTHER_OS := src/os/%_macos.c
endif

MAINS := src/cli/main.c src/gate/gate.c src/host/shim_main.c src/fetch/fetch_main.c
LIB_SRC := $(filter-out $(MAINS) $(OTHER_OS),$(wildcard src/*/*.c))
LIB_OBJ := $(LIB_SRC:src/%.c=$(BUILD)/obj/%.o)
LIB := $(BUILD)/libronzal.a

program = $(if $(wildcard $(1)),$(BUILD)/$(2))
PROGRAMS := $(call program,src/cli/main.c,ronzal) $(call program,src/gate/gate.c,ronzal-gate) \
	$(call program,src/host/shim_main.c,ronzal-shim) \
	$(call program,src/fetch/fetch_main.c,ronzal-fetch)

UNIT_HELPERS := $(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c))
UNIT_HELPER_OBJ := $(UNIT_HELPERS:tests/unit/%.c=$(BUILD)/obj/tests/%.o)
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))
TEST_TOOLS := $(patsubst tests/tools/%.c,$(BUILD)/tests/tools/%,$(wildcard tests/tools/*.c))
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAYS := $(FUZZERS:%=$(BUILD)/fuzz/replay_%)
BENCHES := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))

# Build ---------------------------------------------------------------------------------------

.PHONY: build
build: $(LIB) $(PROGRAMS) ## build all programs into build/ (SAN=1: build-asan/)

$(LIB): $(LIB_OBJ)
	@mkdir -p $(@D)
	$(say) AR $@
	@rm -f $@
	$(Q)$(AR) rcs $@ $(LIB_OBJ)

$(BUILD)/obj/%.o: src/%.c $(BUILD)/flags | libraries
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(ALL_CFLAGS) $(OBJ_FLAGS) $(DEP_FLAGS) -c -o $@ $<

# Only the command line knows the version; everything else is handed it.
$(BUILD)/obj/cli/%.o: OBJ_FLAGS = -I$(BUILD)
$(filter $(BUILD)/obj/cli/%,$(LIB_OBJ)) $(BUILD)/obj/cli/main.o: $(BUILD)/version.h

link = $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(filter %.o %.c,$^) $(LIB)

$(BUILD)/ronzal: $(BUILD)/obj/cli/main.o $(LIB)
	$(say) LD $@
	$(Q)$(link) $(UV_LIBS) $(LLHTTP_LIBS) $(YYJSON_LIBS) $(SQLITE_LIBS) $(NETTLE_LIBS) -lm

# The gate and the shim are linked with the C library alone: whatever pulls in more fails here.
$(BUILD)/ronzal-gate: $(BUILD)/obj/gate/gate.o $(LIB)
	$(say) LD $@
	$(Q)$(link)

$(BUILD)/ronzal-shim: $(BUILD)/obj/host/shim_main.o $(LIB)
	$(say) LD $@
	$(Q)$(link)

$(BUILD)/ronzal-fetch: $(BUILD)/obj/fetch/fetch_main.o $(LIB)
	$(say) LD $@
	$(Q)$(link) $(YYJSON_LIBS) $(CURL_LIBS) $(NETTLE_LIBS) -lm

# Both files are written again only when what they say has changed.
update = cmp -s $@.new $@ && rm -f $@.new || mv -f $@.new $@

$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)' >$@.new; $(update)

$(BUILD)/version.h: FORCE
	@mkdir -p $(@D)
	@version=$$(cat VERSION 2>/dev/null || git describe --always --dirty 2>/dev/null || echo unknown); \
	printf '#define RONZAL_VERSION "%s"\n' "$$version" >$@.new; $(update)

.PHONY: libraries
libraries:
	@$(PKG_CONFIG) --exists libuv yyjson sqlite3 libcurl nettle 2>/dev/null || { \
		echo 'make: libraries are missing. scripts/deps.sh installs them; it would name these:'; \
		scripts/deps.sh --check; exit 1; }

.PHONY: FORCE
FORCE:

# Test programs -------------------------------------------------------------------------------

ALL_LIBS = $(UV_LIBS) $(LLHTTP_LIBS) $(YYJSON_LIBS) $(SQLITE_LIBS) $(NETTLE_LIBS) $(CURL_LIBS) -lm -lpthread

$(BUILD)/obj/tests/%.o: tests/unit/%.c $(BUILD)/flags | libraries
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(ALL_CFLAGS) $(CMOCKA_FLAGS) $(DEP_FLAGS) -c -o $@ $<

$(BUILD)/tests/test_%: $(BUILD)/obj/tests/test_%.o $(UNIT_HELPER_OBJ) $(LIB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) $(CMOCKA_LIBS) $(ALL_LIBS)

.SECONDARY: $(UNIT_HELPER_OBJ) $(UNIT_TESTS:$(BUILD)/tests/%=$(BUILD)/obj/tests/%.o)

$(BUILD)/tests/tools/%: tests/tools/%.c $(LIB) $(BUILD)/flags
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(ALL_CFLAGS) $(DEP_FLAGS) -MF $@.d $(ALL_LDFLAGS) -o $@ $< $(LIB) $(ALL_LIBS)

$(BUILD)/bench/%: bench/%.c $(LIB) $(BUILD)/flags
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(ALL_CFLAGS) $(DEP_FLAGS) -MF $@.d $(ALL_LDFLAGS) -o $@ $< $(LIB) $(ALL_LIBS)

# LLVMFuzzerTestOneInput has no header; its prototype is the fuzzer's.
$(BUILD)/fuzz/replay_%: tests/fuzz/fuzz_%.c tests/fuzz/replay.c $(LIB) $(BUILD)/flags
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(ALL_CFLAGS) -Wno-missing-prototypes $(ALL_LDFLAGS) -o $@ \
		tests/fuzz/fuzz_$*.c tests/fuzz/replay.c $(LIB) $(ALL_LIBS)

$(BUILD)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(LIB) $(BUILD)/flags
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(ALL_CFLAGS) -Wno-missing-prototypes $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ \
		tests/fuzz/fuzz_$*.c $(LIB) $(ALL_LIBS)

-include $(wildcard $(BUILD)/obj/*/*.d $(BUILD)/tests/tools/*.d $(BUILD)/bench/*.d)

# Tests ---------------------------------------------------------------------------------------

# A lock file that was made where a registry lacked other platforms' optional packages is refused
# by npm ci; npm install then takes the locked versions and what this platform needs besides.
NPM_FLAGS := --loglevel=error --no-audit --no-fund
quietly = { said=$$($(1) 2>&1) || { echo "$$said" >&2; false; }; }
npm_install = npm ci --silent $(NPM_FLAGS) 2>/dev/null || \
	$(call quietly,npm install --no-save $(NPM_FLAGS))

# What "make test" runs, and what is built for it. Each layer of no files passes over.
TEST_LAYERS := unit replay wire sys e2e

.PHONY: test
test: test-programs build e2e-deps ## unit, replay, wire, system and end-to-end tests
	@tests/run.sh $(TEST_LAYERS)

.PHONY: test-programs
test-programs: $(UNIT_TESTS) $(REPLAYS) $(TEST_TOOLS) $(BUILD)/bench/engine

.PHONY: test-unit
test-unit: $(UNIT_TESTS) ## the unit tests alone (ONLY=text: those whose name contains it)
	@tests/run.sh unit@$(BUILD)

.PHONY: test-replay
test-replay: $(REPLAYS) ## every fuzz corpus file through its target
	@tests/run.sh replay@$(BUILD)

.PHONY: test-wire
test-wire: build test-programs ## HTTP exchanges by varnishtest
	@tests/run.sh wire

.PHONY: test-sys
test-sys: build test-programs ## shell tests: ssh gate, agent, faults
	@tests/run.sh sys

.PHONY: test-e2e
test-e2e: build test-programs e2e-deps ## OpenAI and Anthropic clients, the page in Chromium
	@tests/run.sh e2e

.PHONY: test-docker
test-docker: build test-programs ## images and compose, with a real Docker
	@tests/run.sh docker

# Unit tests and corpus under ASan and UBSan, with the compiler in CC.
.PHONY: test-san
test-san: ## unit and replay under ASan and UBSan
	@$(MAKE) SAN=1 sanitized
	@tests/run.sh unit@build-asan replay@build-asan

.PHONY: sanitized
sanitized: $(UNIT_TESTS) $(REPLAYS)

# The gateway under everything that clients and engines do, with the same checks.
SOAK_SECONDS ?= 120
.PHONY: soak soak-programs
soak: programs-build-asan-gcc ## mixed load on a gateway with ASan and UBSan (SOAK_SECONDS=120)
	@SOAK_SECONDS=$(SOAK_SECONDS) tests/run.sh soak@build-asan-gcc

soak-programs: build $(BUILD)/bench/engine $(BUILD)/tests/tools/soak-load

# Fuzzers are clang's. Crashes stay in build-fuzz/.
FUZZ_MAKE = $(MAKE) SAN=1 CC=clang BUILD=build-fuzz EXTRA_FLAGS=-fsanitize=fuzzer-no-link \
	$(FUZZERS:%=build-fuzz/fuzz/fuzz_%)

.PHONY: fuzz
fuzz: programs-build-fuzz ## every parser under libFuzzer for FUZZ_SECONDS (30) each
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/run.sh fuzz

.PHONY: e2e-deps
e2e-deps: $(if $(wildcard tests/e2e/package.json),tests/e2e/node_modules/.package-lock.json)

tests/e2e/node_modules/.package-lock.json: tests/e2e/package.json \
		$(wildcard tests/e2e/package-lock.json)
	$(say) NPM tests/e2e
	$(Q)if command -v npm >/dev/null 2>&1; then \
		cd tests/e2e && { $(npm_install); } && touch node_modules/.package-lock.json; \
	else \
		echo 'npm is not installed: the end-to-end tests will be skipped (scripts/deps.sh --test)'; \
	fi

# Everything that .ci/run asks for. The builds are among what is judged, so that one that fails
# neither hides the rest nor leaves yesterday's program to pass.
CHECK_LAYERS := build@build lint $(TEST_LAYERS) \
	build@build-asan-gcc unit@build-asan-gcc replay@build-asan-gcc soak@build-asan-gcc \
	build@build-asan-clang unit@build-asan-clang replay@build-asan-clang \
	build@build-fuzz fuzz docker cross

.PHONY: check
check: ## lint, all tests, sanitizers with gcc and clang, 10 s of fuzzing a target, Docker
	@FUZZ_SECONDS=10 FUZZ_SEED=1 tests/run.sh $(CHECK_LAYERS)

.PHONY: programs-build programs-build-asan-gcc programs-build-asan-clang programs-build-fuzz
programs-build: build test-programs e2e-deps web
programs-build-asan-gcc:
	@$(MAKE) SAN=1 CC=gcc BUILD=build-asan-gcc sanitized soak-programs
programs-build-asan-clang:
	@$(MAKE) SAN=1 CC=clang BUILD=build-asan-clang sanitized
programs-build-fuzz:
	@$(if $(FUZZERS),$(FUZZ_MAKE),:)

.PHONY: lint
lint: build ## formatting, warnings, clang-tidy, house rules
	@scripts/lint.sh

.PHONY: lint-quick
lint-quick: build ## lint without clang-tidy and the second compiler
	@scripts/lint.sh --quick

.PHONY: format
format: ## lay out the C sources as lint wants them (FILES=... for some)
	@clang-format -i $(or $(FILES),$(wildcard src/*/*.[ch] tests/*/*.[ch] bench/*.[ch]))

.PHONY: print-flags
print-flags:
	@echo '$(STD_FLAGS) $(WARN_FLAGS) $(OPT_FLAGS) $(LIB_FLAGS)'

.PHONY: bench
bench: build $(BENCHES) $(TEST_TOOLS) ## measure (bench/*.sh)
	@set -e; for script in $(sort $(wildcard bench/*.sh)); do \
		echo "$$script"; BUILD=$(BUILD) sh "$$script"; done

# The page ------------------------------------------------------------------------------------

WEB_SRC := $(shell find web -name node_modules -prune -o -name dist -prune -o -type f -print \
	2>/dev/null)

.PHONY: web
web: $(if $(wildcard web/package.json),web/dist/index.html) ## build the page into web/dist
	@:

web/dist/index.html: $(WEB_SRC)
	$(say) WEB $(@D)
	$(Q)if command -v npm >/dev/null 2>&1; then \
		cd web && { $(npm_install); } && \
		$(if $(QUIET),$(call quietly,npm run --silent build),npm run --silent build); \
	else \
		echo 'the page needs node 18.19 or later and npm to be built; all else works without'; \
	fi

# Use -----------------------------------------------------------------------------------------

.PHONY: deps
deps: ## install the libraries that are missing (brew or apt)
	@scripts/deps.sh

.PHONY: engine
engine: ## find llama-server, or install it
	@scripts/engine.sh

.PHONY: run
run: ## install what is missing, build, and run everything natively
	@scripts/deps.sh
	@scripts/deps.sh --show
	@[ -x $(BUILD)/ronzal ] || echo 'build    compiles, which takes a minute or so'
	@$(MAKE) QUIET=$(if $(Q),1) build
	@[ -e web/dist/index.html ] || echo 'page     npm installs what it needs, and builds it'
	@$(MAKE) QUIET=$(if $(Q),1) web || echo "page     could not be built; all else works without it"
	@echo 'build    $(if $(PROGRAMS),$(notdir $(PROGRAMS)),nothing)   ok'
	@scripts/engine.sh
	@$(if $(wildcard src/cli/main.c),engine=$$(scripts/engine.sh --find) && \
		RONZAL_ENGINE=$$engine exec $(BUILD)/ronzal up,echo 'this version has no "ronzal up" yet')

# Installation --------------------------------------------------------------------------------

BIN_DIR = $(DESTDIR)$(PREFIX)/bin
LIBEXEC_DIR = $(DESTDIR)$(PREFIX)/libexec/ronzal
SHARE_DIR = $(DESTDIR)$(PREFIX)/share/ronzal
HELPERS := $(filter-out $(BUILD)/ronzal,$(PROGRAMS))
HOST_SCRIPTS := $(wildcard scripts/ssh-wrapper.sh scripts/start-host-llama-servers.sh \
	scripts/stop-host-llama-servers.sh scripts/setup-ssh-automation.sh scripts/engine.sh)

# Copies of what is there; the page only where it was built.
copy_tree = mkdir -p $(2) && cp -R $(1)/. $(2)

.PHONY: install
install: build web ## install under PREFIX (/usr/local); DESTDIR for packagers
	$(Q)mkdir -p $(BIN_DIR) $(LIBEXEC_DIR) $(SHARE_DIR)
	$(Q)$(if $(wildcard src/cli/main.c),install -m 755 $(BUILD)/ronzal $(BIN_DIR))
	$(Q)$(if $(HELPERS)$(HOST_SCRIPTS),install -m 755 $(HELPERS) $(HOST_SCRIPTS) $(LIBEXEC_DIR))
	$(Q)$(call copy_tree,demo,$(SHARE_DIR)/demo)
	$(Q)if [ -d web/dist ]; then $(call copy_tree,web/dist,$(SHARE_DIR)/web); fi
	@echo 'installed under $(DESTDIR)$(PREFIX): bin/ronzal, libexec/ronzal, share/ronzal'

.PHONY: uninstall
uninstall: ## remove what install put there; models and state stay
	$(Q)rm -f $(BIN_DIR)/ronzal
	$(Q)rm -rf $(LIBEXEC_DIR) $(SHARE_DIR)
	@echo 'removed from $(DESTDIR)$(PREFIX): bin/ronzal, libexec/ronzal, share/ronzal'
	@echo 'left as they are: models, and where there are any:'
	@for path in "$${RONZAL_HOME:-$$HOME/.local/share/ronzal}" "$$HOME/.config/ronzal" \
		"$$HOME/.local/state/ronzal" "$$HOME/.local/libexec/ronzal" \
		"$$HOME/Library/Application Support/ronzal"; do \
		[ ! -e "$$path" ] || echo "  $$path"; done

# Packages ------------------------------------------------------------------------------------

RELEASE = $(shell TZ=UTC git log -1 --date=format-local:%Y%m%d.%H%M --format=0.%cd)
DIST = $(CURDIR)/build/dist

.PHONY: dist
dist: web ## a release tarball with the page in it, and the Homebrew formula for it, in build/dist
	$(Q)packaging/dist.sh $(RELEASE) $(DIST)

.PHONY: deb
deb: dist ## a Debian package of the release tarball, in build/dist (needs debhelper)
	$(Q)packaging/deb.sh $(RELEASE) $(DIST)

.PHONY: clean
clean: ## remove everything that was built
	$(Q)rm -rf build build-* web/dist

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile
