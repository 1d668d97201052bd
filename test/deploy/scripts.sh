#!/usr/bin/env bash
# Scripts that can be tested by themselves: JSON in bash, the check of includes, the demo's arguments, the
# upgrade of containers with a stand-in for the engine.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"

readonly TRIES=30

# A value at the start of more JSON than a pipe buffers: a reader that stops there would kill the writer
# with SIGPIPE.
long_json() {
    local i
    printf '{"first": {"image": "a:1"}'
    for ((i = 0; i < 3000; i++)); do
        printf ', "setting_%d": "a value that takes some room of its own"' "$i"
    done
    printf '}\n'
}

early_value_is_found_each_time() {
    local i config value
    config=$(long_json)
    ((${#config} > 131072))
    for ((i = 0; i < TRIES; i++)); do
        value=$(json_get first.image <<<"$config")
        expect_equal a:1 "$value" "try $i"
    done
}

missing_value_is_empty() {
    expect_equal "" "$(json_get second.image <<<'{"first": {"image": "a:1"}}')"
}

# make_docker_stub LINE: makes a docker whose Compose configuration has LINE in the runtime's environment.
make_docker_stub() {
    mkdir -p "$work/bin"
    {
        printf '#!/bin/bash\ncase "$*" in\n*--services) echo runtime ;;\n*json) cat <<"END"\n'
        printf '{"name": "x", "services": {"runtime": {"environment": {%s}}, "other": ' "$1"
        long_json
        printf '}}\nEND\nesac\n'
    } >"$work/bin/docker"
    chmod +x "$work/bin/docker"
}

# settings_pass: runs check_settings with the docker of make_docker_stub.
settings_pass() {
    (
        export DOCKER=$work/bin/docker
        PROFILE=
        # shellcheck source-path=SCRIPTDIR source=../../scripts/compose-lib.sh
        . "$ROOT/scripts/compose-lib.sh"
        check_settings
    )
}

account_is_found() {
    local i name
    for name in ACCOUNT_ID ACCOUNT_ID_FILE; do
        make_docker_stub "\"A\": \"b\", \"$name\": \"k57acme\""
        for ((i = 0; i < TRIES; i++)); do
            settings_pass
        done
    done
}

missing_account_is_named() {
    local settings
    for settings in '' '"ACCOUNT_ID": ""' '"OTHER_ACCOUNT_ID": "k57acme"' '"A": "ACCOUNT_ID\tb"'; do
        make_docker_stub "$settings"
        fails settings_pass 2>"$work/output"
        grep -F "ACCOUNT_ID is not set" "$work/output"
    done
}

# make_compose_stub VERSION TARGET: makes a docker whose runtime runs as VERSION after an upgrade, and has a
# request for TARGET in its volume.
make_compose_stub() {
    mkdir -p "$work/bin"
    : >"$work/docker.log"
    rm -f "$work/result"
    printf '{"initiatedAt":7,"targetOpenclawVersion":"2","targetRuntimeVersion":"%s"}' "$2" >"$work/request"
    cat >"$work/bin/docker" <<END
#!/bin/bash
echo "\$*" >>"$work/docker.log"
case "\$*" in
*--services) echo runtime ;;
*"--format json") echo '{"services":{"runtime":{"image":"registry.example:5000/runtime:latest","environment":{"ACCOUNT_ID":"k"}}}}' ;;
*rm\ upgrade-request.json*) cat "$work/request" 2>/dev/null && rm "$work/request" ;;
*upgrade-result.json*) cat >"$work/result" ;;
*http_request*) echo '{"runtimeServiceVersion":"$1"}' ;;
*"ps -q runtime" | *"ps -a -q runtime") echo container ;;
*State.Health*) echo healthy ;;
inspect*) echo sha256:previous ;;
esac
END
    chmod +x "$work/bin/docker"
}

local_upgrade() {
    DOCKER=$work/bin/docker BUILD=0 PROFILE="" scripts/runtime-upgrade-local.sh "$@" 2>&1 | tee "$work/output"
}

requested_image_is_pulled() {
    make_compose_stub 0.3.0 0.3.0
    local_upgrade --if-requested
    grep -qx 'pull registry.example:5000/runtime:0.3.0' "$work/docker.log"
    grep -qx 'tag registry.example:5000/runtime:0.3.0 registry.example:5000/runtime:latest' "$work/docker.log"
    grep -F "The board also requested OpenClaw 2" "$work/output"
    [[ ! -e $work/result && ! -e $work/request ]]
    : >"$work/docker.log"
    local_upgrade --if-requested
    fails grep -E '^(pull|tag|compose (build|pull|up))' "$work/docker.log"
}

other_image_is_rolled_back() {
    make_compose_stub 0.2.9 0.3.0
    fails local_upgrade
    grep -qx 'tag sha256:previous registry.example:5000/runtime:latest' "$work/docker.log"
    expect_equal rolled_back "$(json_get status <"$work/result")"
    expect_contains "$(json_get error <"$work/result")" "the new images have runtime 0.2.9, not the requested 0.3.0"
    expect_equal 7 "$(json_get initiatedAt <"$work/result")"
}

wrong_request_is_refused() {
    make_compose_stub 0.3.0 '../x'
    fails local_upgrade
    expect_equal failed "$(json_get status <"$work/result")"
    fails grep -E '^(pull|tag|compose (build|pull|up))' "$work/docker.log"
}

# One line that says what to install, and no error of the shell or of a recipe's command.
missing_docker_is_named() {
    local target
    for target in docker-ps docker-logs docker-up; do
        fails make -s "$target" DOCKER=no-such-docker 2>"$work/output"
        grep -F "$target needs no-such-docker, which is not installed: install Docker Engine" "$work/output"
        fails grep -iE 'no such file|command not found' "$work/output"
    done
}

# As after scripts/demo.sh of root in the same checkout.
foreign_build_is_named() {
    local user=nobody
    mkdir -p "$work/built/obj"
    chmod 755 "$work" "$work/built" "$work/built/obj"
    make -s -n BUILD="$work/built" help >/dev/null
    fails setpriv --reuid="$user" --clear-groups make -n BUILD="$work/built" all 2>"$work/output"
    cat "$work/output"
    grep -F "$user cannot write $work/built" "$work/output"
    grep -F "sudo chown -R $user $work/built, or build elsewhere, make BUILD=build-$user" "$work/output"
}

check_foreign_build() {
    if ((EUID != 0)); then
        skip "the build of another user" "only root can become one"
    elif has_tools "the build of another user" setpriv; then
        check "the build of another user is named" foreign_build_is_named
    fi
}

# What the demo plays is tested by playing it (scripts/test.sh demo).
demo_knows_two_backends() {
    fails scripts/demo.sh --once --backend v2 2>"$work/output"
    grep -F '"v2"; expected v0 or v1' "$work/output"
    fails scripts/demo.sh --backend 2>"$work/output"
    grep -F '""; expected v0 or v1' "$work/output"
}

# Compose passes settings by name: a new one must not be forgotten. Those below are given in other ways.
compose_passes_each_setting() {
    sed '/^# --- Gateway container only/,$d' .env.example | sed -n 's/^\(# \)\{0,1\}\([A-Z_]*\)=.*/\2/p' |
        grep -vxE 'SERVICE_TOKEN(_FILE)?|OPENCLAW_GATEWAY_TOKEN' | sort -u >"$work/settings"
    sed -n '/^  runtime:$/,/^  openclaw-gateway:$/p' docker-compose.runtime.yml |
        sed -n 's/^      \([A-Z_]*\): .*/\1/p' | grep -vxE '(SERVICE|OPENCLAW_GATEWAY)_TOKEN_FILE' | sort -u >"$work/passed"
    diff "$work/settings" "$work/passed"
}

# The version that people copy into their .env is the one that the image has.
example_names_the_gateway_of_the_image() {
    local release
    release=$(sed -n 's/^ARG OPENCLAW_VERSION=//p' openclaw/Dockerfile)
    grep -x "# OPENCLAW_VERSION=$release" .env.example
}

# make_tree FILE HEADER: makes a source tree in which FILE includes HEADER.
make_tree() {
    rm -rf "$work/tree"
    mkdir -p "$work/tree/src/spool" "$work/tree/src/gateway" "$work/tree/include/gateway"
    touch "$work/tree/include/gateway/public.h" "$work/tree/src/gateway/private.h"
    printf '#include "%s"\n' "$2" >"$work/tree/$1"
}

layers_of_the_project_hold() {
    scripts/check-layers.sh
}

forbidden_include_is_found() {
    make_tree src/spool/spool.c gateway/public.h
    fails scripts/check-layers.sh "$work/tree" >"$work/output"
    grep -Fx 'src/spool/spool.c:1: spool may not include "gateway/public.h"' "$work/output"
}

private_header_is_private() {
    make_tree src/main.c gateway/private.h
    fails scripts/check-layers.sh "$work/tree" >"$work/output"
    grep -F '"gateway/private.h" is private to src/gateway' "$work/output"
    make_tree src/gateway/gateway.c gateway/private.h
    scripts/check-layers.sh "$work/tree"
}

other_spelling_is_found() {
    make_tree src/gateway/gateway.c private.h
    fails scripts/check-layers.sh "$work/tree" >"$work/output"
    grep -F 'write "DIRECTORY/private.h"' "$work/output"
}

main() {
    cd "$ROOT"
    check "the Compose file passes each setting to the runtime" compose_passes_each_setting
    check ".env.example names the gateway's version in its image" example_names_the_gateway_of_the_image
    check "the project's includes follow the permitted edges" layers_of_the_project_hold
    check "a forbidden include is found" forbidden_include_is_found
    check "a private header is private to its directory" private_header_is_private
    check "a second spelling of an include is found" other_spelling_is_found
    check "a value is found in JSON of any length" early_value_is_found_each_time
    check "a missing value is empty" missing_value_is_empty
    check "the account is found in the settings" account_is_found
    check "a missing account is reported" missing_account_is_named
    check "the image of the requested version is pulled" requested_image_is_pulled
    check "an image of another version is rolled back" other_image_is_rolled_back
    check "a request that names no version is refused" wrong_request_is_refused
    check "a missing docker is named in one line" missing_docker_is_named
    check_foreign_build
    check "the demo rejects an unknown version of the backend" demo_knows_two_backends
    finish
}

main "$@"
