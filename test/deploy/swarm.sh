#!/usr/bin/env bash
# Checks deploy/swarm/stack.yml: one runtime for each account, on the node with its volume, with its
# tokens in secrets.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"

readonly STOP_RESERVE_S=12
readonly runtime=services.runtime

# Writes a line "path<TAB>value" for each value to $work/stack.
read_stack() {
    python3 -c 'import json, sys, yaml
json.dump(yaml.safe_load(open("deploy/swarm/stack.yml")), sys.stdout)' | json_flatten >"$work/stack"
    (($(wc -l <"$work/stack") > 40))
}

# expect_value PATH VALUE
expect_value() {
    grep -qxF -- "$1"$'\t'"$2" "$work/stack" || { grep -F -- "$1" "$work/stack" || say "$1 is not set" && return 1; }
}

never_runs_twice() {
    expect_value $runtime.deploy.mode replicated
    expect_value $runtime.deploy.replicas 1
    expect_value $runtime.deploy.update_config.order stop-first
    expect_value $runtime.deploy.rollback_config.order stop-first
    # shellcheck disable=SC2016
    expect_value $runtime.deploy.placement.constraints.0 'node.labels.mission-control == ${ACCOUNT_ID}'
    expect_value $runtime.volumes.0 state:/var/lib/mission-control-runtime
}

tokens_are_secrets() {
    local number
    for number in 0 1; do
        expect_value "$runtime.secrets.$number.uid" 10001
        expect_value "$runtime.secrets.$number.gid" 10001
        expect_value "$runtime.secrets.$number.mode" $((0400))
    done
    expect_value $runtime.environment.SERVICE_TOKEN_FILE /run/secrets/service_token
    expect_value $runtime.environment.OPENCLAW_GATEWAY_TOKEN_FILE /run/secrets/gateway_token
    fails grep -E 'environment\.[A-Z_]*TOKEN	' "$work/stack"
}

is_hardened() {
    expect_value $runtime.user 10001:10001
    expect_value $runtime.read_only true
    expect_value $runtime.cap_drop.0 ALL
    expect_value $runtime.deploy.resources.limits.memory 512M
    expect_value $runtime.deploy.resources.limits.pids 512
    fails grep "^$runtime.ports" "$work/stack"
}

grace_exceeds_shutdown() {
    local grace grace_ms
    grace=$(awk -F '\t' -v path="$runtime.stop_grace_period" '$1 == path { print $2 }' "$work/stack")
    grace_ms=$(grep -oE '^# SHUTDOWN_GRACE_MS=[0-9]+' .env.example | cut -d= -f2)
    ((${grace%s} * 1000 > grace_ms + STOP_RESERVE_S * 1000))
}

# What it sets are settings, and what it lacks is an error that says so.
settings_exist() {
    local name
    sed -n "s/^$runtime\\.environment\\.\\([A-Z_]*\\)	.*/\\1/p" "$work/stack" >"$work/names"
    while read -r name; do
        grep -qE "^(# )?${name%_FILE}=" .env.example || { say "$name is not a setting" && return 1; }
    done <"$work/names"
    for name in ACCOUNT_ID CONVEX_URL OPENCLAW_GATEWAY_URL; do
        grep -F "$runtime.environment.$name	\${$name:?set $name" "$work/stack"
    done
}

main() {
    cd "$ROOT"
    if ! python3 -c 'import yaml' 2>/dev/null; then
        skip "the stack for a swarm" "Python has no yaml module"
        finish && return
    fi
    check "the stack is read" read_stack
    check "a runtime never runs twice, nor without its volume" never_runs_twice
    check "tokens are secrets of its user" tokens_are_secrets
    check "the container is hardened" is_hardened
    check "the grace period exceeds the shutdown time" grace_exceeds_shutdown
    check "it sets only settings that exist" settings_exist
    finish
}

main "$@"
