#!/usr/bin/env bash
# Scripts that can be tested by themselves: JSON in bash, and the check of includes.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"

readonly TRIES=30

# A value at the beginning of far more than a pipe holds, so that whoever stops reading there ends
# the writer.
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
        equal a:1 "$value" "try $i"
    done
}

missing_value_is_nothing() {
    equal "" "$(json_get second.image <<<'{"first": {"image": "a:1"}}')"
}

# compose_of LINE: a docker whose configuration has that in the runtime's environment.
compose_of() {
    mkdir -p "$work/bin"
    {
        printf '#!/bin/bash\ncase "$*" in\n*--services) echo runtime ;;\n*json) cat <<"END"\n'
        printf '{"name": "x", "services": {"runtime": {"environment": {%s}}, "other": ' "$1"
        long_json
        printf '}}\nEND\nesac\n'
    } >"$work/bin/docker"
    chmod +x "$work/bin/docker"
}

# settings_are_right: what check_settings says, with the docker of compose_of.
settings_are_right() {
    (
        export DOCKER=$work/bin/docker
        PROFILE=
        # shellcheck source-path=SCRIPTDIR source=../../scripts/compose-lib.sh
        . "$ROOT/scripts/compose-lib.sh"
        check_settings
    )
}

account_is_seen() {
    local i name
    for name in ACCOUNT_ID ACCOUNT_ID_FILE; do
        compose_of "\"A\": \"b\", \"$name\": \"k57acme\""
        for ((i = 0; i < TRIES; i++)); do
            settings_are_right
        done
    done
}

missing_account_is_named() {
    local settings
    for settings in '' '"ACCOUNT_ID": ""' '"OTHER_ACCOUNT_ID": "k57acme"' '"A": "ACCOUNT_ID\tb"'; do
        compose_of "$settings"
        fails settings_are_right 2>"$work/said"
        grep -F "ACCOUNT_ID is not set" "$work/said"
    done
}

# tree_with INCLUDING HEADER: a tree in which one file includes another's header.
tree_with() {
    rm -rf "$work/tree"
    mkdir -p "$work/tree/src/spool" "$work/tree/src/gateway" "$work/tree/include/gateway"
    touch "$work/tree/include/gateway/public.h" "$work/tree/src/gateway/private.h"
    printf '#include "%s"\n' "$2" >"$work/tree/$1"
}

layers_of_the_project_hold() {
    scripts/check-layers.sh
}

forbidden_include_is_found() {
    tree_with src/spool/spool.c gateway/public.h
    fails scripts/check-layers.sh "$work/tree" >"$work/said"
    grep -Fx 'src/spool/spool.c:1: spool may not include "gateway/public.h"' "$work/said"
}

private_header_is_private() {
    tree_with src/main.c gateway/private.h
    fails scripts/check-layers.sh "$work/tree" >"$work/said"
    grep -F '"gateway/private.h" is private to src/gateway' "$work/said"
    tree_with src/gateway/gateway.c gateway/private.h
    scripts/check-layers.sh "$work/tree"
}

other_spelling_is_found() {
    tree_with src/gateway/gateway.c private.h
    fails scripts/check-layers.sh "$work/tree" >"$work/said"
    grep -F 'write "DIRECTORY/private.h"' "$work/said"
}

main() {
    cd "$ROOT"
    check "the includes of the project follow the permitted edges" layers_of_the_project_hold
    check "an include against the edges is found" forbidden_include_is_found
    check "a private header is refused to others" private_header_is_private
    check "a second spelling of a header is found" other_spelling_is_found
    check "a value is found in JSON of any length" early_value_is_found_each_time
    check "a value that is not there is nothing" missing_value_is_nothing
    check "the account is seen in the settings" account_is_seen
    check "a missing account is named" missing_account_is_named
    finish
}

main "$@"
