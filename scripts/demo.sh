#!/usr/bin/env bash
# End-to-end demo on this machine, no account needed: installs missing packages, builds, starts the
# sandbox and the runtime, posts a message that mentions an agent, and prints the thread with the reply.
#
# Usage: scripts/demo.sh [--once] [-h]
#
# Runs until Ctrl-C, so you can write to the agents on the board. With --once it exits as soon as the
# reply has arrived (status 0) or has failed to (status 1, printing the end of the logs).

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly BUILD=${BUILD:-build}
readonly DEFAULT_PORT=3210 DEFAULT_HEALTH_PORT=3001
readonly START_TIMEOUT_S=20 REPLY_TIMEOUT_MS=60000 STOP_TIMEOUT_S=15
readonly MESSAGE="@jarvis please look at this task and tell us what you would do first."
# Has the form of a backend id.
readonly ACCOUNT=k57dem0acc0xnt000000000000000000
once=
tmp_dir=
sandbox_pid=
runtime_pid=
port=
health_port=

show_logs() {
    local name
    for name in sandbox runtime; do
        [[ -s $tmp_dir/$name.log ]] || continue
        warn "--- $name log (tail):"
        tail -n 20 "$tmp_dir/$name.log" >&2
    done
}

fail() {
    warn "demo.sh: $*"
    show_logs
    exit 1
}

clean_up() {
    trap - EXIT INT TERM HUP
    if [[ -n $runtime_pid ]]; then stop_process "$runtime_pid" "$STOP_TIMEOUT_S" || true; fi
    if [[ -n $sandbox_pid ]]; then stop_process "$sandbox_pid" "$STOP_TIMEOUT_S" || true; fi
    if [[ -n $tmp_dir ]]; then rm -rf "$tmp_dir"; fi
}

# choose_port PORT WHAT: sets chosen to PORT, or to 0 (any free port) if PORT is in use.
choose_port() {
    chosen=$1
    if port_is_open "$1"; then
        say "Port $1 is in use; picking another for $2."
        chosen=0
    fi
}

build() {
    say "Building ..."
    make -s --no-print-directory -j"$(cpu_count)" BUILD="$BUILD" all
}

# Exports the tokens that both programs share. Not as arguments, which any user can read in ps.
export_secrets() {
    clear_environment
    export ACCOUNT_ID=$ACCOUNT
    SERVICE_TOKEN=mc_service_${ACCOUNT}_$(random_hex 16)
    OPENCLAW_GATEWAY_TOKEN=$(random_hex 16)
    export SERVICE_TOKEN OPENCLAW_GATEWAY_TOKEN
}

start_sandbox() {
    local chosen url
    choose_port "$DEFAULT_PORT" "the sandbox"
    launch "$tmp_dir/sandbox.log" "$BUILD/mission-control-sandbox" --demo --port "$chosen" &
    sandbox_pid=$!
    url=$(wait_for_line "$sandbox_pid" "$tmp_dir/sandbox.log" "listening on " "$START_TIMEOUT_S") ||
        fail "the sandbox did not start"
    port=${url##*:}
}

start_runtime() {
    local chosen
    choose_port "$DEFAULT_HEALTH_PORT" "the health server"
    export CONVEX_URL=http://127.0.0.1:$port OPENCLAW_GATEWAY_URL=http://127.0.0.1:$port
    export STATE_DIR=$tmp_dir/state HEALTH_PORT=$chosen DELIVERY_INTERVAL=1000
    launch "$tmp_dir/runtime.log" "$BUILD/mission-control-runtime" &
    runtime_pid=$!
    health_port=$(wait_for_line "$runtime_pid" "$tmp_dir/runtime.log" \
        "Listening on 127.0.0.1 port " "$START_TIMEOUT_S") || fail "the runtime did not start"
    http_request GET "$health_port" /health >/dev/null || fail "the runtime does not answer /health"
}

# Posts the message to the board's first task; sets task, title and notification.
post_message() {
    local state answer
    state=$(http_request GET "$port" "/sandbox/state?tables=tasks") || fail "the sandbox does not respond"
    task=$(json_get tasks.0._id <<<"$state")
    title=$(json_get tasks.0.title <<<"$state")
    [[ -n $task ]] || fail "the board has no tasks"
    answer=$(http_request POST "$port" /sandbox/message \
        "{\"task\":\"$task\",\"content\":$(json_string "$MESSAGE")}") ||
        fail "the sandbox rejected the message: $answer"
    notification=$(json_get notifications.0 <<<"$answer")
    [[ -n $notification ]] || fail "the message triggered no notification"
}

# Waits for the reply to the notification to appear in the thread; sets thread.
wait_for_reply() {
    local deadline_ms left_ms change
    deadline_ms=$(($(now_ms) + REPLY_TIMEOUT_MS))
    while true; do
        thread=$(http_request GET "$port" "/sandbox/state?tables=messages&task=$task" | json_flatten)
        if grep -qE "^messages\.[0-9]+\.sourceNotificationId	$notification$" <<<"$thread"; then
            return 0
        fi
        left_ms=$((deadline_ms - $(now_ms)))
        if ((left_ms <= 0)); then return 1; fi
        kill -0 "$runtime_pid" 2>/dev/null || return 1
        change=$(sed -n 's/^change\t//p' <<<"$thread")
        http_request GET "$port" "/sandbox/wait?change=$((change + 1))&timeout_ms=$left_ms" >/dev/null ||
            return 1
    done
}

# Fills the caller's array names: id of a user or agent -> name.
read_names() {
    local -A ids=()
    local flat path value
    flat=$(http_request GET "$port" "/sandbox/state?tables=users,agents" | json_flatten)
    while IFS=$'\t' read -r path value; do
        if [[ $path == *._id ]]; then ids[${path%._id}]=$value; fi
    done <<<"$flat"
    while IFS=$'\t' read -r path value; do
        if [[ $path == *.name ]]; then names[${ids[${path%.name}]-unknown}]=$value; fi
    done <<<"$flat"
}

print_thread() {
    local -A names=()
    local path value author=
    read_names
    say
    say "Thread of the task \"$title\":"
    while IFS=$'\t' read -r path value; do
        case $path in
        messages.*.authorId) author=$value ;;
        messages.*.content)
            printf '\n  %s:\n' "${names[$author]:-$author}"
            json_unescape "$value" | sed 's/^/    /'
            ;;
        esac
    done < <(grep -E '^messages\.[0-9]+\.(authorId|content)	' <<<"$thread" |
        sort -t. -k2,2n -k3,3)
    say
}

keep_running() {
    say "Board (write to an agent): http://127.0.0.1:$port/"
    say "Runtime status page:       http://127.0.0.1:$health_port/"
    if [[ -n $once ]]; then return; fi
    say "Runtime log:               $tmp_dir/runtime.log"
    say
    say "Press Ctrl-C to stop."
    wait -n "$sandbox_pid" "$runtime_pid" || true
    fail "the sandbox or the runtime exited unexpectedly"
}

stop_runtime() {
    local pid=$runtime_pid
    runtime_pid=
    stop_process "$pid" "$STOP_TIMEOUT_S" || fail "the runtime did not shut down cleanly"
}

run_demo() {
    cd "$ROOT"
    scripts/install-deps.sh run
    build
    trap clean_up EXIT
    trap 'say; say "Stopping ..."; exit 0' INT TERM HUP
    tmp_dir=$(mktemp -d)
    export_secrets
    start_sandbox
    start_runtime
    post_message
    say "Posted \"$MESSAGE\"; waiting for the reply ..."
    wait_for_reply || fail "no reply within $((REPLY_TIMEOUT_MS / 1000)) s"
    print_thread
    keep_running
    stop_runtime
}

main() {
    case ${1-} in
    --once) once=1 ;;
    *) reject_arguments "$@" ;;
    esac
    run_demo
}

main "$@"
