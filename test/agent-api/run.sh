#!/usr/bin/env bash
# Tests docs/agent-api.yaml with libraries from npm: that it is valid OpenAPI 3.1, and that a client made
# from it can call each endpoint of the agents' HTTP API, whose answers are as it says.
#
# Usage: [AGENT_API_URL=URL AGENT_API_KEY=KEY] test/agent-api/run.sh [-h]
#
# Needs the programs in BUILD (build), built by make all, and npm with access to a registry; skipped
# otherwise. It starts a sandbox and a runtime, unless AGENT_API_URL and AGENT_API_KEY, the session key of
# an orchestrator, name another server. The packages, of the versions in package-lock.json, are kept in
# build/agent-api. Prints ok or FAIL for each case and the totals at the end; exits with 1 if one failed.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"
BUILD=$(realpath "${BUILD:-$ROOT/build}")

readonly SOURCES=$ROOT/test/agent-api
readonly PACKAGES=$ROOT/build/agent-api
readonly DESCRIPTION=$ROOT/docs/agent-api.yaml
readonly START_LIMIT_S=30 STOP_LIMIT_S=30
# An id in the backend's format.
readonly ACCOUNT=k57agentap1acc0xnt00000000000000
directory=
sandbox_pid=
sandbox_port=
runtime_pid=
service_token=
passed=0
failed=0

# Node looks for packages beside the programs, so these are copied.
install_packages() {
    mkdir -p "$PACKAGES"
    cp "$SOURCES"/*.mjs "$PACKAGES"
    cmp -s "$SOURCES/package-lock.json" "$PACKAGES/installed.json" && return
    cp "$SOURCES"/package*.json "$PACKAGES"
    (cd "$PACKAGES" && npm ci --no-audit --no-fund --loglevel=error --ignore-scripts >/dev/null) ||
        die "npm failed; its output is above"
    cp "$SOURCES/package-lock.json" "$PACKAGES/installed.json"
}

# packages_are_available: whether the packages are installed already or npm has them.
packages_are_available() {
    local reason package
    cmp -s "$SOURCES/package-lock.json" "$PACKAGES/installed.json" && return
    package=$(sed -n 's/^ *"\(ajv\)": "\(.*\)",$/\1@\2/p' "$SOURCES/package.json")
    reason=$(npm_has "$package") || { say "skipped: $reason" && return 1; }
}

# run_case TITLE COMMAND...: runs COMMAND, prints its output if it fails, and counts the result.
run_case() {
    local title=$1 log
    shift
    if log=$("$@" 2>&1); then
        passed=$((passed + 1))
        say "ok    $title"
    else
        failed=$((failed + 1))
        say "$log"
        say "FAIL  $title"
    fi
}

start_sandbox() {
    local url
    ACCOUNT_ID=$ACCOUNT SERVICE_TOKEN=$service_token launch "$directory/sandbox.log" \
        "$BUILD/mission-control-sandbox" --backend v1 --port 0 &
    sandbox_pid=$!
    url=$(wait_for_line "$sandbox_pid" "$directory/sandbox.log" "listening on " "$START_LIMIT_S") ||
        die "the sandbox failed to start"
    sandbox_port=${url##*:}
    http_request POST "$sandbox_port" /sandbox/seed '{"agents":[
        {"slug":"boss","name":"Boss","orchestrator":true,"flags":{"canCreateTasks":true}},
        {"slug":"friday","name":"Friday"}]}' >/dev/null
}

# Without tools, agents are told about the HTTP API.
start_runtime() {
    local port
    launch "$directory/runtime.log" env "CONVEX_URL=http://127.0.0.1:$sandbox_port" \
        "OPENCLAW_GATEWAY_URL=http://127.0.0.1:$sandbox_port" "STATE_DIR=$directory/state" \
        "ACCOUNT_ID=$ACCOUNT" "SERVICE_TOKEN=$service_token" OPENCLAW_CLIENT_TOOLS_ENABLED=false \
        HEALTH_PORT=0 DELIVERY_INTERVAL=200 AGENT_SYNC_INTERVAL=500 \
        "$BUILD/mission-control-runtime" &
    runtime_pid=$!
    port=$(wait_for_line "$runtime_pid" "$directory/runtime.log" \
        "Listening on 127.0.0.1 port " "$START_LIMIT_S") || die "the runtime failed to start"
    export AGENT_API_URL=http://127.0.0.1:$port
}

# find_session_key: prints the session key that the gateway was told to give to an agent.
find_session_key() {
    http_request GET "$sandbox_port" /sandbox/gateway |
        grep -oE 'x-openclaw-session-key: [^ "\\]+' | sed -n '1s/.*: //p' | grep .
}

# A message to the orchestrator has its agent told how to use the API.
take_session_key() {
    local answer task
    answer=$(http_request POST "$sandbox_port" /sandbox/seed '{"tasks":[{"title":"Look"}]}')
    task=$(json_get tasks.0.id <<<"$answer")
    http_request POST "$sandbox_port" /sandbox/message \
        "{\"task\":\"$task\",\"content\":\"@boss please look\"}" >/dev/null
    wait_until "$START_LIMIT_S" find_session_key ||
        { tail -n 20 "$directory/runtime.log" >&2 && die "the agent was told no session key"; }
    AGENT_API_KEY=$(find_session_key)
    export AGENT_API_KEY
}

stop_all() {
    trap - EXIT INT TERM HUP
    if [[ -n $runtime_pid ]]; then stop_process "$runtime_pid" "$STOP_LIMIT_S" || true; fi
    if [[ -n $sandbox_pid ]]; then stop_process "$sandbox_pid" "$STOP_LIMIT_S" || true; fi
    if [[ -n $directory ]]; then rm -rf "$directory"; fi
}

start_all() {
    directory=$(mktemp -d "${TMPDIR:-/tmp}/mission-control-agent-api.XXXXXX")
    service_token=mc_service_${ACCOUNT}_$(random_hex 16)
    clear_environment
    start_sandbox
    start_runtime
    take_session_key
}

main() {
    reject_arguments "$@"
    packages_are_available || { say "0 passed, 0 failed" && return; }
    install_packages
    trap stop_all EXIT
    trap 'exit 130' INT TERM HUP
    run_case "docs/agent-api.yaml is valid OpenAPI 3.1" node "$PACKAGES/validate.mjs" "$DESCRIPTION"
    if [[ -z ${AGENT_API_URL-} ]]; then start_all; fi
    run_case "a client made from it calls each endpoint" node "$PACKAGES/client.mjs" "$DESCRIPTION"
    stop_all
    say "$passed passed, $failed failed"
    ((failed == 0))
}

main "$@"
