# mission-control-runtime: `make` builds both programs, `make check` runs the tests.

VERSION := $(shell cat VERSION)
# The commit shown by --version; empty outside a checkout.
ifndef COMMIT
COMMIT := $(shell git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null)
endif
CC ?= cc
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 30
ROUNDS ?= 1000
SEED ?=

LIBRARIES := libcurl jansson libmicrohttpd openssl
PKG_CFLAGS := $(shell pkg-config --cflags $(LIBRARIES))
PKG_LIBS := $(shell pkg-config --libs $(LIBRARIES)) -lm
TEST_LIBS := $(shell pkg-config --libs cmocka 2>/dev/null)

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
	-Wmissing-prototypes -Wformat=2 -Wvla
ifeq ($(WERROR),1)
WARNINGS += -Werror
endif
OPTIMIZE ?= -O2 -g
# Flags that the compiler knows for this machine only: control-flow protection of x86-64 and of arm64.
supported = $(shell echo 'int main(void) { return 0; }' | \
	$(CC) -Werror $(1) -x c -c -o /dev/null - 2>/dev/null && echo $(1))
CONTROL_FLOW := $(call supported,-fcf-protection) $(call supported,-mbranch-protection=standard)
HARDENING ?= -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection $(CONTROL_FLOW)
SANITIZE ?=
# No path of this machine gets into a program, so that it is the same wherever it is built.
CFLAGS_ALL := -std=gnu17 $(WARNINGS) $(OPTIMIZE) $(HARDENING) $(SANITIZE) -fPIE -pthread \
	-ffile-prefix-map=$(CURDIR)=. \
	-D_GNU_SOURCE -DMISSION_CONTROL_VERSION='"$(VERSION)"' -include include/base/banned.h \
	-Iinclude -Isrc -Isandbox $(PKG_CFLAGS) $(CFLAGS)
LDFLAGS_ALL := -pie -Wl,-z,relro,-z,now -Wl,--as-needed -pthread $(SANITIZE) $(LDFLAGS)

comma := ,

# What scripts/install-deps.sh unpacks instead of installing it.
export PATH := $(PATH):$(CURDIR)/build/tools/bin

# All of src/ except main, shared by the programs and the tests.
CORE_SOURCES := $(sort $(filter-out src/main.c,$(wildcard src/*.c src/*/*.c)))
BASE_SOURCES := $(sort $(wildcard src/base/*.c))
SANDBOX_SOURCES := $(sort $(wildcard sandbox/*.c))
UNIT_SOURCES := $(sort $(wildcard test/unit/*_test.c))
INTEGRATION_SOURCES := $(sort $(wildcard test/integration/*_test.c test/integration/*/*_test.c))
# What docs/agent-api.yaml and docs/agent-tools.md are made with; a unit test compares them.
AGENT_DOCS := tools/agent_api.c tools/agent_reference.c
TEST_LIB_SOURCES := $(sort $(wildcard test/lib/*.c) \
	$(filter-out %_test.c,$(wildcard test/integration/*/*.c)) $(AGENT_DOCS))
FUZZ_SOURCES := $(sort $(wildcard test/fuzz/*_fuzz.c))
FUZZ_LIB_SOURCES := test/fuzz/http_talk.c
C_FILES := $(sort $(wildcard src/*.c src/*/*.c src/*.h src/*/*.h include/*/*.h sandbox/*.[ch] tools/*.[ch] \
	test/*/*.[ch] test/*/*/*.[ch]))

# Sources with points at which a test can kill the runtime; compiled a second time, for a separate program.
STOPPABLE_SOURCES := $(sort $(shell grep -l -e 'STOP_POINT.[a-z"]' -e 'STOP_POINT_NUMBER."' src/*.c src/*/*.c))

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
CORE := $(call objects,$(CORE_SOURCES))
TEST_LIB := $(call objects,$(TEST_LIB_SOURCES))
STOPPABLE := $(patsubst %.c,$(BUILD)/stop-points/obj/%.o,$(STOPPABLE_SOURCES))
STOPPABLE_RUNTIME := $(BUILD)/stop-points/mission-control-runtime
PROGRAMS := $(BUILD)/mission-control-runtime $(BUILD)/mission-control-sandbox
UNIT_TESTS := $(patsubst test/unit/%.c,$(BUILD)/test/unit/%,$(UNIT_SOURCES))
INTEGRATION_TESTS := $(patsubst test/integration/%.c,$(BUILD)/test/integration/%,\
	$(INTEGRATION_SOURCES))

# What root has built cannot be written by others, which would show as errors of the compiler.
ifneq ($(filter-out help clean,$(or $(MAKECMDGOALS),all)),)
FOREIGN := $(shell test -e $(BUILD) && find $(BUILD) -type d ! -writable -print -quit)
ifneq ($(FOREIGN),)
$(error $(shell id -un) cannot write $(FOREIGN): another user, probably root, has built here. \
	Give it to yourself, sudo chown -R $(shell id -un) $(BUILD), or build elsewhere, make BUILD=build-$(shell id -un))
endif
endif

.PHONY: all help install uninstall dist deb check check-unit check-integration torture asan tsan ubsan \
	lint format format-check coverage fuzz model bench measure run dev clean tests docker-up \
	docker-up-openclaw docker-up-sandbox docker-down docker-logs docker-ps docker-upgrade
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:

help: ## list the targets
	@awk -F ' ## ' '/^[a-z_.-]+:.* ## / { sub(":.*", "", $$1); printf "  %-22s %s\n", $$1, $$2 }' \
		$(MAKEFILE_LIST)

all: $(PROGRAMS) ## build the runtime and the sandbox

$(BUILD)/mission-control-runtime: $(BUILD)/obj/src/main.o $(CORE)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS)

$(BUILD)/mission-control-sandbox: $(call objects,$(SANDBOX_SOURCES) $(BASE_SOURCES))
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS)

$(STOPPABLE_RUNTIME): $(BUILD)/obj/src/main.o $(STOPPABLE) $(BUILD)/obj/test/lib/stop_point.o \
		$(filter-out $(call objects,$(STOPPABLE_SOURCES)),$(CORE))
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS)

# The page files are embedded by the assembler (.incbin), which emits no dependencies.
$(BUILD)/obj/sandbox/page.o: $(wildcard sandbox/page/*)
$(BUILD)/obj/src/serve/routes.o build/fuzz/obj/src/serve/routes.o: $(wildcard src/serve/page/*)

$(BUILD)/obj/%.o: %.c VERSION Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(DEFINES) -MMD -MP -c -o $@ $<

# Only main.o depends on the commit, so a new commit does not rebuild everything.
$(BUILD)/obj/src/main.o: DEFINES = -DMISSION_CONTROL_COMMIT='"$(COMMIT)"'
$(BUILD)/obj/src/main.o: $(BUILD)/commit

$(BUILD)/commit: .FORCE
	@mkdir -p $(@D)
	@echo '$(COMMIT)' | cmp -s - $@ || echo '$(COMMIT)' >$@

.FORCE:

$(BUILD)/stop-points/obj/%.o: %.c VERSION Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -DMISSION_CONTROL_STOP_POINTS -MMD -MP -c -o $@ $<

# Calls that tests can make fail; see test/lib/alloc_fault.h.
TEST_WRAPS := $(addprefix -Wl$(comma)--wrap=,\
	malloc calloc realloc reallocarray strdup strndup pthread_create fsync)

$(BUILD)/test/%: $(BUILD)/obj/test/%.o $(TEST_LIB) $(CORE)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) $(TEST_WRAPS) -o $@ $^ $(PKG_LIBS) $(TEST_LIBS)

tests: $(PROGRAMS) $(STOPPABLE_RUNTIME) $(UNIT_TESTS) $(INTEGRATION_TESTS) ## build the test programs as well

check: tests ## run all tests
	MISSION_CONTROL_BUILD=$(BUILD) scripts/run-tests.sh $(UNIT_TESTS) $(INTEGRATION_TESTS)

check-unit: $(UNIT_TESTS) ## run the unit tests
	scripts/run-tests.sh $(UNIT_TESTS)

check-integration: $(PROGRAMS) $(STOPPABLE_RUNTIME) $(INTEGRATION_TESTS) ## run the integration tests
	MISSION_CONTROL_BUILD=$(BUILD) scripts/run-tests.sh $(INTEGRATION_TESTS)

# Kills the runtime ROUNDS times at random moments; SEED reproduces the moments of the run that printed it.
# BACKEND=v0 or v1 is the version of the backend; both by default.
torture: $(PROGRAMS) $(BUILD)/test/integration/faults/kill_test ## kill the runtime ROUNDS times under load; SEED repeats a run
	MISSION_CONTROL_BUILD=$(BUILD) MISSION_CONTROL_ROUNDS=$(ROUNDS) MISSION_CONTROL_SEED=$(SEED) \
		TEST='*$(if $(BACKEND),($(BACKEND)))' $(BUILD)/test/integration/faults/kill_test

# Each sanitizer has its own build directory, so that objects never mix. There are no suppression files.
asan: ## run all tests under AddressSanitizer and UBSan
	ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1 \
	UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	$(MAKE) BUILD=build/asan OPTIMIZE='-O1 -g -fno-omit-frame-pointer' HARDENING= \
		SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all' check

tsan: ## run all tests under ThreadSanitizer
	TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 \
	$(MAKE) BUILD=build/tsan OPTIMIZE='-O1 -g -fno-omit-frame-pointer' HARDENING= \
		SANITIZE='-fsanitize=thread' check

ubsan: ## run all tests under UBSan
	UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	$(MAKE) BUILD=build/ubsan OPTIMIZE='-O1 -g' HARDENING= \
		SANITIZE='-fsanitize=undefined -fno-sanitize-recover=all' check

coverage: ## measure line and branch coverage of the tests
	scripts/coverage.sh

measure: ## measure how readable the code is
	scripts/measure-code.sh

lint: ## run the linters and check the documents
	scripts/lint.sh

format: ## format the C code
	clang-format -i $(C_FILES)

format-check: ## check the formatting of the C code
	clang-format --dry-run --Werror $(C_FILES)

# Each fuzz target starts from its committed corpus; new inputs and crashes go to the build directory.
FUZZ_CFLAGS := -std=gnu17 -g -O1 -D_GNU_SOURCE -DMISSION_CONTROL_VERSION='"$(VERSION)"' \
	-include include/base/banned.h -Iinclude -Isrc $(PKG_CFLAGS) -fno-sanitize-recover=all -pthread
FUZZERS := $(patsubst test/fuzz/%.c,build/fuzz/%,$(FUZZ_SOURCES))
FUZZ_CORE := $(patsubst %.c,build/fuzz/obj/%.o,$(CORE_SOURCES) $(FUZZ_LIB_SOURCES))

build/fuzz/obj/%.o: %.c VERSION Makefile
	@mkdir -p $(@D)
	clang $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link,address,undefined -MMD -MP -c -o $@ $<

build/fuzz/%: test/fuzz/%.c $(FUZZ_CORE)
	@mkdir -p $(@D)
	clang $(FUZZ_CFLAGS) -fsanitize=fuzzer,address,undefined -o $@ $< $(FUZZ_CORE) $(PKG_LIBS)

fuzz: $(FUZZERS) ## run each fuzz target for FUZZ_SECONDS
	FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz.sh $(FUZZERS)

model: ## check the models of the send queue, agent runs and tool calls with Spin
	scripts/model.sh

$(BUILD)/test/bench/floor: $(BUILD)/obj/test/bench/floor.o
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS)

bench: all ## measure throughput, latency and memory
	scripts/bench.sh

run: $(BUILD)/mission-control-runtime ## run with the settings of .env
	@test -f .env || { echo "no .env found: cp .env.example .env and fill in ACCOUNT_ID," \
		"CONVEX_URL and SERVICE_TOKEN" >&2; exit 78; }
	$(BUILD)/mission-control-runtime --env-file .env

dev: ## run, and rebuild and restart on every change
	scripts/dev.sh

# All profiles are named, so that the containers of every one are found.
COMPOSE_FILE ?= docker-compose.runtime.yml
DOCKER ?= docker
DAEMON ?= 1
PROFILE ?=
COMPOSE_SETTINGS := DOCKER="$(DOCKER)" COMPOSE_FILE="$(COMPOSE_FILE)"
COMPOSE_ALL := $(COMPOSE_SETTINGS) $(DOCKER) compose --profile openclaw --profile sandbox
# Said in one line, instead of what make says of a command that it cannot find.
NEED_DOCKER = @command -v $(firstword $(DOCKER)) >/dev/null || { echo "$@ needs $(firstword $(DOCKER)), which is" \
	"not installed: install Docker Engine with its Compose plugin (docs/docker-compose.md)," \
	"or name another command, such as make $@ DOCKER=podman" >&2; exit 69; }; \
	$(DOCKER) compose version >/dev/null 2>&1 || { echo "$@ needs the Compose plugin of $(firstword $(DOCKER))" \
	"(docs/docker-compose.md)" >&2; exit 69; }

docker-up: ## build the image and start the runtime
	$(NEED_DOCKER)
	$(COMPOSE_SETTINGS) PROFILE=$(PROFILE) DAEMON=$(DAEMON) scripts/runtime-docker-up.sh

docker-up-openclaw: ## start the runtime with a gateway
	$(NEED_DOCKER)
	$(COMPOSE_SETTINGS) PROFILE=openclaw DAEMON=$(DAEMON) scripts/runtime-docker-up.sh

docker-up-sandbox: ## start the demo
	$(NEED_DOCKER)
	$(COMPOSE_SETTINGS) PROFILE=sandbox DAEMON=$(DAEMON) scripts/runtime-docker-up.sh

# VOLUMES=1 also deletes replies that are not written back yet, and the agents' files.
docker-down: ## stop the containers; VOLUMES=1 also removes their volumes
	$(NEED_DOCKER)
	$(COMPOSE_ALL) down --remove-orphans $(if $(filter 1,$(VOLUMES)),--volumes)

docker-logs: ## follow the logs of the containers
	$(NEED_DOCKER)
	$(COMPOSE_ALL) logs -f

docker-ps: ## list the containers
	$(NEED_DOCKER)
	$(COMPOSE_ALL) ps -a

docker-upgrade: ## upgrade the containers, or roll back
	$(NEED_DOCKER)
	$(COMPOSE_SETTINGS) PROFILE=$(PROFILE) scripts/runtime-upgrade-local.sh

# The manual page and the completion are generated from the table of options and --help.
MANUAL := $(BUILD)/mission-control-runtime.8
COMPLETION := $(BUILD)/mission-control-runtime.bash
UNITS := mission-control-runtime.service mission-control-runtime@.service \
	mission-control-upgrade.service mission-control-upgrade.path
# The time of a release is that of its commit, wherever and whenever it is built.
DIST_TIME := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),$(shell date -r VERSION +%s))
MANUAL_DATE := $(shell date -u -d @$(DIST_TIME) +%Y-%m-%d)

$(BUILD)/manual: $(BUILD)/obj/tools/manual.o $(CORE)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS)

$(MANUAL): $(BUILD)/manual
	$< man $(MANUAL_DATE) >$@

$(COMPLETION): $(BUILD)/manual
	$< completion >$@

install: $(BUILD)/mission-control-runtime $(MANUAL) $(COMPLETION) ## install to PREFIX (/usr/local), below DESTDIR
	install -D -m 0755 $< $(DESTDIR)$(PREFIX)/bin/mission-control-runtime
	install -D -m 0755 deploy/upgrade/mission-control-upgrade \
		$(DESTDIR)$(PREFIX)/sbin/mission-control-upgrade
	install -D -m 0644 $(MANUAL) $(DESTDIR)$(PREFIX)/share/man/man8/mission-control-runtime.8
	install -D -m 0644 $(COMPLETION) \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/mission-control-runtime
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	for unit in $(UNITS); do \
		sed 's|/usr/local/\(s*bin\)/|$(PREFIX)/\1/|' deploy/systemd/$$unit \
			>$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit || exit; \
		chmod 0644 $(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit || exit; \
	done

uninstall: ## remove the installed files, with the same PREFIX and DESTDIR
	rm -f $(DESTDIR)$(PREFIX)/bin/mission-control-runtime \
		$(DESTDIR)$(PREFIX)/sbin/mission-control-upgrade \
		$(DESTDIR)$(PREFIX)/share/man/man8/mission-control-runtime.8 \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/mission-control-runtime \
		$(addprefix $(DESTDIR)$(PREFIX)/lib/systemd/system/,$(UNITS))

# For editors and clang tools. The paths are absolute, so it cannot be committed.
export COMPILE_COMMAND = $(CC) $(CFLAGS_ALL)
COMPILED := $(CORE_SOURCES) src/main.c $(SANDBOX_SOURCES) $(UNIT_SOURCES) $(INTEGRATION_SOURCES) \
	$(TEST_LIB_SOURCES) $(FUZZ_SOURCES) $(FUZZ_LIB_SOURCES)

compile_commands.json: Makefile $(COMPILED) ## write compile commands for editors
	@command=$$(printf '%s' "$$COMPILE_COMMAND" | sed 's/[\\"]/\\&/g'); separator='['; \
	for file in $(COMPILED); do \
		printf '%s\n{"directory": "%s", "file": "%s", "command": "%s -c %s"}' "$$separator" \
			'$(CURDIR)' "$$file" "$$command" "$$file"; \
		separator=,; \
	done >$@; printf '\n]\n' >>$@

# A release: an archive of the installed files, to be unpacked in /, and its checksum.
DIST := $(BUILD)/dist
ARCHIVE := mission-control-runtime-linux-$(shell dpkg --print-architecture 2>/dev/null || uname -m).tar.gz

dist: ## build the archive of a release
	rm -rf $(DIST)
	$(MAKE) install PREFIX=/usr/local DESTDIR=$(DIST)/root
	strip $(DIST)/root/usr/local/bin/mission-control-runtime
	tar -C $(DIST)/root --sort=name --owner=0 --group=0 --numeric-owner --mtime=@$(DIST_TIME) \
		--mode=u=rwX,go=rX --format=gnu \
		-c usr | gzip -n >$(DIST)/$(ARCHIVE)
	rm -rf $(DIST)/root
	cd $(DIST) && sha256sum $(ARCHIVE) >SHA256SUMS

deb: $(BUILD)/mission-control-runtime $(MANUAL) $(COMPLETION) ## build a Debian package
	@SOURCE_DATE_EPOCH=$(DIST_TIME) BUILD=$(BUILD) scripts/build-deb.sh

clean: ## remove what was built
	rm -rf build

-include $(shell find $(BUILD)/obj $(BUILD)/stop-points build/fuzz/obj -name '*.d' 2>/dev/null)
