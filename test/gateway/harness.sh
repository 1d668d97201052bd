# Starts and stops what run.sh tests: a real gateway, a stub of its model provider, a sandbox as the
# backend, and the runtime. Source this file after scripts/lib.sh, do not run it.
# shellcheck shell=bash

OPENCLAW_VERSION=$(sed -n 's/^ARG OPENCLAW_VERSION=//p' "$ROOT/openclaw/Dockerfile")
readonly OPENCLAW_VERSION
readonly NODE_VERSION=24
readonly GATEWAY_CACHE=$ROOT/build/gateway
readonly START_LIMIT_S=90 STOP_LIMIT_S=30
# An id in the backend's format.
readonly ACCOUNT=k57gatewayacc0xnt000000000000000
# Environment that keeps the gateway from calling home.
readonly QUIET=(OPENCLAW_NO_AUTO_UPDATE=1 OPENCLAW_DISABLE_BONJOUR=1 OPENCLAW_SKIP_CHANNELS=1
    OPENCLAW_SKIP_CRON=1 OPENCLAW_SKIP_CANVAS_HOST=1 OPENCLAW_SKIP_GMAIL_WATCHER=1
    OPENCLAW_OFFLINE=1 OPENCLAW_TELEMETRY=0 DO_NOT_TRACK=1 NO_COLOR=1)

directory=
provider_pid=
provider_port=
sandbox_pid=
sandbox_port=
gateway_pid=
gateway_port=
runtime_pid=
health_port=
gateway_token=
service_token=

# gateway_is_available: whether the release is installed already or npm has it.
gateway_is_available() {
    local reason
    [[ -e $GATEWAY_CACHE/$OPENCLAW_VERSION.complete ]] && return 0
    reason=$(npm_has "openclaw@$OPENCLAW_VERSION") || { say "skipped: $reason" && return 1; }
}

# The gateway needs a newer Node than Debian's; npm provides that as well.
install_gateway() {
    local node=$GATEWAY_CACHE/node gateway=$GATEWAY_CACHE/openclaw
    PATH=$node/node_modules/node/bin:$gateway/node_modules/.bin:$PATH
    [[ -e $GATEWAY_CACHE/$OPENCLAW_VERSION.complete ]] && return
    say "Installing openclaw $OPENCLAW_VERSION ..."
    rm -rf "$GATEWAY_CACHE"
    npm_install "$node" "node@$NODE_VERSION"
    npm_install "$gateway" "openclaw@$OPENCLAW_VERSION" --ignore-scripts
    touch "$GATEWAY_CACHE/$OPENCLAW_VERSION.complete"
}

free_port() {
    node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => {
        console.log(s.address().port); s.close(); })'
}

start_provider() {
    local url
    launch "$directory/provider.log" node "$ROOT/test/gateway/provider.mjs" &
    provider_pid=$!
    url=$(wait_for_line "$provider_pid" "$directory/provider.log" "listening on " "$START_LIMIT_S") ||
        die "the model provider failed to start"
    provider_port=${url##*:}
}

# start_sandbox VERSION: of the backend.
start_sandbox() {
    local url
    export ACCOUNT_ID=$ACCOUNT SERVICE_TOKEN=$service_token
    : >"$directory/sandbox.log"
    launch "$directory/sandbox.log" "$BUILD/mission-control-sandbox" --backend "$1" --port 0 &
    sandbox_pid=$!
    url=$(wait_for_line "$sandbox_pid" "$directory/sandbox.log" "listening on " "$START_LIMIT_S") ||
        die "the sandbox failed to start"
    sandbox_port=${url##*:}
}

stop_sandbox() {
    local pid=$sandbox_pid
    sandbox_pid=
    if [[ -n $pid ]]; then stop_process "$pid" "$STOP_LIMIT_S" || true; fi
}

# make_template RELOAD: whether the gateway reloads its configuration: off or hybrid.
make_template() {
    node "$ROOT/test/gateway/make-template.mjs" "$ROOT/openclaw/openclaw.template.json" \
        "http://127.0.0.1:$provider_port" "$directory/gateway-file.log" "$1" >"$directory/template.json"
}

# Exports the settings that start-openclaw.sh reads.
set_gateway_environment() {
    gateway_port=$(free_port)
    make_template off
    export HOME=$directory/home OPENCLAW_CONFIG_TEMPLATE=$directory/template.json
    export OPENCLAW_GATEWAY_PORT=$gateway_port OPENCLAW_GATEWAY_BIND=loopback
    export OPENCLAW_GATEWAY_TOKEN=$gateway_token
    export OPENCLAW_AGENTS=jarvis,friday OPENCLAW_MODEL=fake/echo
    export OPENCLAW_BROWSER_EXECUTABLE_PATH=/nowhere
    export "${QUIET[@]}"
    mkdir -p "$HOME"
}

# start_gateway [COMMAND...]: returns at once; wait_for_gateway waits until it is ready.
start_gateway() {
    local command=("$@")
    if (($# == 0)); then command=("$ROOT/openclaw/start-openclaw.sh"); fi
    : >"$directory/gateway.log"
    launch "$directory/gateway.log" "${command[@]}" &
    gateway_pid=$!
}

gateway_is_ready() {
    http_request GET "$gateway_port" /readyz >/dev/null 2>&1
}

wait_for_gateway() {
    wait_until "$START_LIMIT_S" gateway_is_ready
}

# The log is appended to gateways.log, since the next gateway truncates it.
stop_gateway() {
    local pid=$gateway_pid
    gateway_pid=
    if [[ -n $pid ]]; then stop_process "$pid" "$STOP_LIMIT_S" || true; fi
    if [[ -f $directory/gateway.log ]]; then cat "$directory/gateway.log" >>"$directory/gateways.log"; fi
}

# start_runtime [NAME=VALUE...]: starts it with short intervals and these settings. Its log is emptied
# first: the port in it would be that of the last one until the new one has been launched.
start_runtime() {
    : >"$directory/runtime.log"
    launch "$directory/runtime.log" env "CONVEX_URL=http://127.0.0.1:$sandbox_port" \
        "OPENCLAW_GATEWAY_URL=http://127.0.0.1:$gateway_port" "STATE_DIR=$directory/state" \
        HEALTH_PORT=0 OPENCLAW_REQUEST_TIMEOUT_MS=170000 OPENCLAW_FALLBACK_AGENT=main \
        OPENCLAW_VERSION="$OPENCLAW_VERSION" DELIVERY_INTERVAL=200 AGENT_SYNC_INTERVAL=500 \
        DELIVERY_BACKOFF_BASE_MS=100 DELIVERY_BACKOFF_MAX_MS=2000 SHUTDOWN_GRACE_MS=20000 \
        "$@" "$BUILD/mission-control-runtime" &
    runtime_pid=$!
    health_port=$(wait_for_line "$runtime_pid" "$directory/runtime.log" \
        "Listening on 127.0.0.1 port " "$START_LIMIT_S") || die "the runtime failed to start"
}

# stop_runtime: fails unless it exits with status 0.
stop_runtime() {
    local pid=$runtime_pid status=0
    runtime_pid=
    [[ -n $pid ]] || return 0
    stop_process "$pid" "$STOP_LIMIT_S" || status=$?
    cat "$directory/runtime.log" >>"$directory/runtimes.log"
    return "$status"
}

# health PATH: prints one value of the runtime's /health.
health() {
    http_request GET "$health_port" /health | json_get "$1"
}

# health_matches PATH PATTERN: whether the value matches the shell pattern.
health_matches() {
    local value
    value=$(health "$1") || return 1
    # shellcheck disable=SC2053
    [[ $value == $2 ]]
}

# set_mode DELAY_MS FAILURES: how late the model provider answers, and how many calls it fails.
set_mode() {
    http_request POST "$provider_port" /mode "{\"delay_ms\":$1,\"failures\":$2}" >/dev/null
}

# calls_for NOTIFICATION [FIELD...]: prints a line with these fields, session and state by default, of
# each of the model's calls for it.
calls_for() {
    local wanted=$1 fields
    shift
    fields=${*:-session state}
    http_request GET "$provider_port" /calls | json_flatten | awk -F '\t' -v wanted="$wanted" -v fields="$fields" '
        { field = $1; sub(/.*\./, "", field); call[field] = $2 }
        field == "state" && call["notification"] == wanted {
            count = split(fields, names, " ")
            for (i = 1; i <= count; i++) printf "%s%s", call[names[i]], i < count ? " " : "\n"
        }'
}

setup_harness() {
    directory=$(mktemp -d "${TMPDIR:-/tmp}/mission-control-gateway.XXXXXX")
    gateway_token=$(random_hex 16)
    service_token=mc_service_${ACCOUNT}_$(random_hex 16)
    clear_environment
    start_provider
    set_gateway_environment
}

teardown_harness() {
    trap - EXIT INT TERM HUP
    stop_runtime || true
    stop_gateway
    stop_sandbox
    if [[ -n $provider_pid ]]; then stop_process "$provider_pid" "$STOP_LIMIT_S" || true; fi
    if [[ -n $directory ]]; then rm -rf "$directory"; fi
}
