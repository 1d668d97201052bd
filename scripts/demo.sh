#!/usr/bin/env bash
# End-to-end demo on this machine, no account needed: installs missing packages, builds, and starts the
# sandbox and the runtime. Then a person mentions an agent, assigns a task to another, writes in the
# thread of that task and, on v1, makes a new agent and mentions it; each is answered, and the threads
# are printed.
#
# Usage: scripts/demo.sh [--backend VERSION] [--once] [-h]
#
# VERSION of the backend is v1, the current one and the default, or v0. Runs until Ctrl-C, so you can
# write to the agents on the board, make new ones, and take its tour, which may kill the runtime: it is
# then started again. With --once it exits as soon as all replies have arrived (status 0) or
# one has failed to (status 1, printing the end of the logs).

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly BUILD=${BUILD:-build}
readonly DEFAULT_PORT=3210 DEFAULT_HEALTH_PORT=3001
readonly START_TIMEOUT_S=20 REPLY_TIMEOUT_MS=60000 STOP_TIMEOUT_S=15
# Long enough to see on the board that the runtime is gone.
readonly RESTART_DELAY_S=4
readonly MENTION_TASK="Plan the launch" ASSIGNED_TASK="Make the start page faster"
readonly MENTION="@jarvis please look at this task and tell us what you would do first."
readonly QUESTION="What would you look at first?"
readonly NEW_AGENT='{"slug":"karen","name":"Karen","role":"Writer: turns notes into texts",
    "soul":"You write short texts, and ask when something is not clear."}'
readonly GREETING="@karen welcome! Please introduce yourself."
# Has the form of a backend id.
readonly ACCOUNT=k57dem0acc0xnt000000000000000000
backend=v1
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
    launch "$tmp_dir/sandbox.log" "$BUILD/mission-control-sandbox" --demo --backend "$backend" \
        --port "$chosen" --runtime-pid-file "$tmp_dir/runtime.pid" &
    sandbox_pid=$!
    url=$(wait_for_line "$sandbox_pid" "$tmp_dir/sandbox.log" "listening on " "$START_TIMEOUT_S") ||
        fail "the sandbox did not start"
    port=${url##*:}
    export BOARD_URL=$url
}

# Short intervals, so that messages are delivered and new agents are noticed at once.
start_runtime() {
    local chosen
    choose_port "$DEFAULT_HEALTH_PORT" "the health server"
    export CONVEX_URL=http://127.0.0.1:$port OPENCLAW_GATEWAY_URL=http://127.0.0.1:$port
    export STATE_DIR=$tmp_dir/state HEALTH_PORT=$chosen DELIVERY_INTERVAL=1000 AGENT_SYNC_INTERVAL=5000
    launch_runtime
    http_request GET "$health_port" /health >/dev/null || fail "the runtime does not answer /health"
    http_request POST "$port" /sandbox/settings "{\"runtime_url\":\"http://127.0.0.1:$health_port/\"}" \
        >/dev/null || fail "the sandbox rejected the runtime's address"
}

# Starts the runtime with the settings in the environment, and waits until it listens.
launch_runtime() {
    launch "$tmp_dir/runtime.log" "$BUILD/mission-control-runtime" &
    runtime_pid=$!
    health_port=$(wait_for_line "$runtime_pid" "$tmp_dir/runtime.log" \
        "Listening on 127.0.0.1 port " "$START_TIMEOUT_S") || fail "the runtime did not start"
    echo "$runtime_pid" >"$tmp_dir/runtime.pid"
    # The next one is to be found where the first was.
    export HEALTH_PORT=$health_port
}

# has_reply NOTIFICATION|...: whether one of them has a reply in a thread; sets change, the number of the
# board's state.
has_reply() {
    local messages
    messages=$(http_request GET "$port" "/sandbox/state?tables=messages" | json_flatten)
    change=$(sed -n 's/^change\t//p' <<<"$messages")
    grep -qE "^messages\.[0-9]+\.sourceNotificationId	($1)$" <<<"$messages"
}

# wait_for_reply NOTIFICATION|...: waits until one of them has a reply in a thread.
wait_for_reply() {
    local deadline_ms left_ms change
    deadline_ms=$(($(now_ms) + REPLY_TIMEOUT_MS))
    until has_reply "$1"; do
        left_ms=$((deadline_ms - $(now_ms)))
        if ((left_ms <= 0)); then return 1; fi
        kill -0 "$runtime_pid" 2>/dev/null || return 1
        http_request GET "$port" "/sandbox/wait?change=$((change + 1))&timeout_ms=$left_ms" >/dev/null ||
            return 1
    done
}

# Waits until nothing is left to deliver: replies notify other agents, who may have nothing to say.
wait_for_quiet() {
    http_request GET "$port" "/sandbox/wait?undelivered=0&timeout_ms=$REPLY_TIMEOUT_MS" |
        grep -q '"met": *true' || fail "notifications remain undelivered"
}

# act WHAT ROUTE BODY: does something as a person on the board, and waits until an agent that is notified
# of it has replied. Others may have nothing to add to that.
act() {
    local what=$1 answer notifications
    answer=$(http_request POST "$port" "/sandbox/$2" "$3") || fail "the sandbox rejected the $what: $answer"
    notifications=$(json_flatten <<<"$answer" | sed -nE 's/^notifications?(\.[0-9]+)?\t//p' | paste -sd '|')
    [[ -n $notifications ]] || fail "the $what caused no notification"
    wait_for_reply "$notifications" || fail "no reply to the $what within $((REPLY_TIMEOUT_MS / 1000)) s"
    say "The $what has been answered."
    wait_for_quiet
}

# post_message WHAT TASK CONTENT
post_message() {
    say "Ada writes in \"$2\": $3"
    act "$1" message "{\"task\":$(json_string "$2"),\"content\":$(json_string "$3")}"
}

# A new agent comes alive: it answers without any restart.
make_agent() {
    say "Ada makes a new agent, Karen."
    http_request POST "$port" /sandbox/agents "$NEW_AGENT" >/dev/null || fail "the sandbox rejected the agent"
    post_message "mention of the new agent" "$MENTION_TASK" "$GREETING"
}

play_scenes() {
    say
    post_message mention "$MENTION_TASK" "$MENTION"
    say "Ada assigns \"$ASSIGNED_TASK\" to @vision."
    act assignment assign "{\"task\":$(json_string "$ASSIGNED_TASK"),\"agent\":\"vision\"}"
    post_message "thread update" "$ASSIGNED_TASK" "$QUESTION"
    if [[ $backend == v1 ]]; then make_agent; fi
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

# find_task TITLE: sets task and status.
find_task() {
    local flat path
    flat=$(http_request GET "$port" "/sandbox/state?tables=tasks" | json_flatten)
    path=$(awk -F '\t' -v title="$1" '$1 ~ /\.title$/ && $2 == title { sub(/\.title$/, "", $1); print $1 }' \
        <<<"$flat")
    task=$(sed -n "s/^$path\._id\t//p" <<<"$flat")
    status=$(sed -n "s/^$path\.status\t//p" <<<"$flat")
    [[ -n $path ]] || fail "the board has no task \"$1\""
}

# print_message AUTHOR CONTENT: its first paragraph, as replies have six.
print_message() {
    local text first
    text=$(json_unescape "$2")
    first=${text%%$'\n\n'*}
    printf '\n  %s:\n    %s\n' "$1" "${first//$'\n'/$'\n'    }"
    if [[ $first != "$text" ]]; then say "    [...]"; fi
}

# print_thread TITLE
print_thread() {
    local -A names=()
    local path value author='' task status
    find_task "$1"
    read_names
    say
    say "Thread of \"$1\", which is now $status:"
    while IFS=$'\t' read -r path value; do
        case $path in
        messages.*.authorId) author=$value ;;
        messages.*.content) print_message "${names[$author]:-$author}" "$value" ;;
        esac
    done < <(http_request GET "$port" "/sandbox/state?tables=messages&task=$task" | json_flatten |
        grep -E '^messages\.[0-9]+\.(authorId|content)	' | sort -t. -k2,2n -k3,3)
}

# On v1 the runtime also moves an assigned task on.
check_assignment() {
    local task status
    find_task "$ASSIGNED_TASK"
    [[ $status == in_progress ]] || fail "the assigned task is $status, expected in_progress"
}

keep_running() {
    say
    # No addresses: they are gone a moment later.
    if [[ -n $once ]]; then
        say "All replies have arrived. Without --once the board stays, to write to the agents yourself."
        return
    fi
    say "Board (write to an agent): http://127.0.0.1:$port/"
    say "Runtime status page:       http://127.0.0.1:$health_port/"
    say "Runtime log:               $tmp_dir/runtime.log"
    say
    say "Press Ctrl-C to stop."
    supervise
}

# Waits for the sandbox, and starts the runtime again whenever the board's tour has killed it: the sandbox
# then removes the file with its process id.
supervise() {
    while :; do
        wait -n "$sandbox_pid" "$runtime_pid" || true
        [[ ! -e $tmp_dir/runtime.pid ]] || fail "the sandbox or the runtime exited unexpectedly"
        say "The board has killed the runtime; it is started again in $RESTART_DELAY_S s."
        mv "$tmp_dir/runtime.log" "$tmp_dir/runtime.killed.log"
        runtime_pid=
        sleep "$RESTART_DELAY_S"
        launch_runtime
        say "The runtime is back: process $runtime_pid."
    done
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
    play_scenes
    print_thread "$MENTION_TASK"
    print_thread "$ASSIGNED_TASK"
    check_assignment
    keep_running
    stop_runtime
}

main() {
    while (($# > 0)); do
        case $1 in
        --once) once=1 ;;
        --backend)
            backend=${2-}
            if [[ $backend != v[01] ]]; then
                warn "demo.sh: --backend is \"$backend\"; expected v0 or v1"
                exit 64
            fi
            shift
            ;;
        *) reject_arguments "$@" ;;
        esac
        shift
    done
    run_demo
}

main "$@"
