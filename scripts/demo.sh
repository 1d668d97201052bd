#!/usr/bin/env bash
# Shows the whole way of a message on this machine alone: installs what is missing, builds, starts
# the sandbox and the runtime, posts a message that mentions an agent, and prints the reply.
#
# Usage: scripts/demo.sh [--once] [-h]
#
# Keeps running until Ctrl-C, so that one can write to the agents on the page; with --once it ends
# when the reply is there (status 0) or did not come (status 1, with the ends of the logs).

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly BUILD=${BUILD:-build}
readonly USUAL_PORT=3210 USUAL_HEALTH_PORT=3001
readonly START_LIMIT_S=20 REPLY_LIMIT_MS=60000 STOP_LIMIT_S=15
readonly MESSAGE="@jarvis please look at this task and tell us what you would do first."
# An id as the backend makes them.
readonly ACCOUNT=k57dem0acc0xnt000000000000000000
once=
directory=
sandbox_pid=
runtime_pid=
port=
health_port=

show_logs() {
    local name
    for name in sandbox runtime; do
        [[ -s $directory/$name.log ]] || continue
        warn "--- the end of the $name's log:"
        tail -n 20 "$directory/$name.log" >&2
    done
}

fail() {
    warn "demo.sh: $*"
    show_logs
    exit 1
}

clean_up() {
    trap - EXIT INT TERM HUP
    if [[ -n $runtime_pid ]]; then stop_process "$runtime_pid" "$STOP_LIMIT_S" || true; fi
    if [[ -n $sandbox_pid ]]; then stop_process "$sandbox_pid" "$STOP_LIMIT_S" || true; fi
    if [[ -n $directory ]]; then rm -rf "$directory"; fi
}

# choose_port WANTED WHAT: sets chosen to WANTED, or to 0, which means any free one, if it is taken.
choose_port() {
    chosen=$1
    if is_open "$1"; then
        say "Port $1 is taken; $2 gets another one."
        chosen=0
    fi
}

build() {
    say "Building ..."
    make -s --no-print-directory -j"$(cpu_count)" BUILD="$BUILD" all
}

# What both programs know, as variables of the environment: arguments can be seen by anybody.
set_secrets() {
    forget_environment
    export ACCOUNT_ID=$ACCOUNT
    SERVICE_TOKEN=mc_service_${ACCOUNT}_$(random_hex 16)
    OPENCLAW_GATEWAY_TOKEN=$(random_hex 16)
    export SERVICE_TOKEN OPENCLAW_GATEWAY_TOKEN
}

start_sandbox() {
    local chosen url
    choose_port "$USUAL_PORT" "the sandbox"
    launch "$directory/sandbox.log" "$BUILD/mission-control-sandbox" --demo --port "$chosen" &
    sandbox_pid=$!
    url=$(wait_for_words "$sandbox_pid" "$directory/sandbox.log" "listening on " "$START_LIMIT_S") ||
        fail "the sandbox does not start"
    port=${url##*:}
}

start_runtime() {
    local chosen
    choose_port "$USUAL_HEALTH_PORT" "the runtime's health server"
    export CONVEX_URL=http://127.0.0.1:$port OPENCLAW_GATEWAY_URL=http://127.0.0.1:$port
    export STATE_DIR=$directory/state HEALTH_PORT=$chosen DELIVERY_INTERVAL=1000
    launch "$directory/runtime.log" "$BUILD/mission-control-runtime" &
    runtime_pid=$!
    health_port=$(wait_for_words "$runtime_pid" "$directory/runtime.log" \
        "Listening on 127.0.0.1 port " "$START_LIMIT_S") || fail "the runtime does not start"
    http GET "$health_port" /health >/dev/null || fail "the runtime does not answer on /health"
}

# Posts the message into the board's first task; sets task, title and notification.
post_message() {
    local state answer
    state=$(http GET "$port" "/sandbox/state?tables=tasks") || fail "the sandbox does not answer"
    task=$(json_get tasks.0._id <<<"$state")
    title=$(json_get tasks.0.title <<<"$state")
    [[ -n $task ]] || fail "the sandbox's board has no task"
    answer=$(http POST "$port" /sandbox/message \
        "{\"task\":\"$task\",\"content\":$(json_string "$MESSAGE")}") ||
        fail "the sandbox does not take the message: $answer"
    notification=$(json_get notifications.0 <<<"$answer")
    [[ -n $notification ]] || fail "the message notified no agent"
}

# Waits until the thread holds the message that answers the notification; sets thread.
wait_for_reply() {
    local deadline_ms left_ms change
    deadline_ms=$(($(now_ms) + REPLY_LIMIT_MS))
    while true; do
        thread=$(http GET "$port" "/sandbox/state?tables=messages&task=$task" | json_flat)
        if grep -qE "^messages\.[0-9]+\.sourceNotificationId	$notification$" <<<"$thread"; then
            return 0
        fi
        left_ms=$((deadline_ms - $(now_ms)))
        if ((left_ms <= 0)); then return 1; fi
        kill -0 "$runtime_pid" 2>/dev/null || return 1
        change=$(sed -n 's/^change\t//p' <<<"$thread")
        http GET "$port" "/sandbox/wait?change=$((change + 1))&timeout_ms=$left_ms" >/dev/null ||
            return 1
    done
}

# Fills names with who is who on the board, by id.
read_names() {
    local -A ids=()
    local flat path value
    flat=$(http GET "$port" "/sandbox/state?tables=users,agents" | json_flat)
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
    say "The thread of the task \"$title\":"
    while IFS=$'\t' read -r path value; do
        case $path in
        messages.*.authorId) author=$value ;;
        messages.*.content)
            printf '\n  %s:\n' "${names[$author]:-$author}"
            json_text "$value" | sed 's/^/    /'
            ;;
        esac
    done < <(grep -E '^messages\.[0-9]+\.(authorId|content)	' <<<"$thread" |
        sort -t. -k2,2n -k3,3)
    say
}

keep_running() {
    say "The board (write to an agent): http://127.0.0.1:$port/"
    say "The runtime's page:            http://127.0.0.1:$health_port/"
    if [[ -n $once ]]; then return; fi
    say "The runtime's log:             $directory/runtime.log"
    say
    say "Ctrl-C ends both."
    wait -n "$sandbox_pid" "$runtime_pid" || true
    fail "a program ended by itself"
}

stop_orderly() {
    local pid=$runtime_pid
    runtime_pid=
    stop_process "$pid" "$STOP_LIMIT_S" || fail "the runtime did not stop as it should"
}

run() {
    cd "$ROOT"
    scripts/install-deps.sh run
    build
    trap clean_up EXIT
    trap 'say; say "Stopping ..."; exit 0' INT TERM HUP
    directory=$(mktemp -d)
    set_secrets
    start_sandbox
    start_runtime
    post_message
    say "Posted \"$MESSAGE\" and waiting for the reply ..."
    wait_for_reply || fail "no reply came within $((REPLY_LIMIT_MS / 1000)) s"
    print_thread
    keep_running
    stop_orderly
}

main() {
    case ${1-} in
    "") ;;
    --once) once=1 ;;
    -h | --help) usage && return ;;
    *) die_usage "$1" ;;
    esac
    run
}

main "$@"
