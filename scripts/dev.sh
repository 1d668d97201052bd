#!/usr/bin/env bash
# Runs the runtime with the settings of .env, and builds and starts it anew when a source changes.
#
# Usage: scripts/dev.sh [-h]
#
# Ctrl-C ends it in an orderly way. When a build fails, its errors are shown and the runtime that
# is running goes on. Changes are noticed with inotifywait where it is installed (package
# inotify-tools), else by a look each second.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly BUILD=${BUILD:-build}
readonly PROGRAM=$BUILD/mission-control-runtime
readonly STOP_LIMIT_S=70
runtime_pid=
watch_pid=

note() {
    say "[dev] $*"
}

watched() {
    find src include Makefile VERSION -type f
    echo .env
}

# One line that changes with any source or setting.
fingerprint() {
    watched | xargs -d '\n' stat -c '%n %Y %s %i' 2>/dev/null | cksum
}

look_for_change() {
    local before=$1
    while [[ $(fingerprint) == "$before" ]]; do
        if command -v inotifywait >/dev/null; then
            # The limit covers a change between the look and the watch.
            inotifywait -qq -r -t 10 -e modify,move,create,delete,attrib src include . \
                --exclude '^\./(build|\.git)' 2>/dev/null || true
        else
            sleep 1
        fi
    done
}

build() {
    make -s -j"$(cpu_count)" BUILD="$BUILD" "$PROGRAM"
}

# In a session of its own, so that a Ctrl-C reaches this script only and is passed on once.
start_runtime() {
    setsid "$PROGRAM" --env-file .env &
    runtime_pid=$!
    note "started (process $runtime_pid)"
}

stop_runtime() {
    [[ -n $runtime_pid ]] || return 0
    stop_process "$runtime_pid" "$STOP_LIMIT_S"
    runtime_pid=
}

clean_up() {
    trap - EXIT INT TERM HUP
    if [[ -n $watch_pid ]]; then kill "$watch_pid" 2>/dev/null || true; fi
    stop_runtime
}

build_and_restart() {
    if build; then
        stop_runtime
        start_runtime
    elif [[ -n $runtime_pid ]]; then
        note "the build failed; the runtime of before goes on"
    else
        note "the build failed; waiting for a change"
    fi
}

# Says so when the runtime ends by itself; either way returns once a source has changed.
wait_for_change() {
    local status
    look_for_change "$1" &
    watch_pid=$!
    while kill -0 "$watch_pid" 2>/dev/null; do
        status=0
        wait -n "$watch_pid" ${runtime_pid:+"$runtime_pid"} || status=$?
        if [[ -n $runtime_pid ]] && ! kill -0 "$runtime_pid" 2>/dev/null; then
            note "the runtime ended with status $status; waiting for a change"
            runtime_pid=
        fi
    done
    watch_pid=
}

main() {
    local seen
    case ${1-} in
    "") ;;
    -h | --help) usage && return ;;
    *) die_usage "$1" ;;
    esac
    cd "$ROOT"
    [[ -f .env ]] || die "no .env here: cp .env.example .env, fill in ACCOUNT_ID, CONVEX_URL and" \
        "SERVICE_TOKEN, and chmod 600 it"
    scripts/install-deps.sh run
    trap clean_up EXIT
    trap 'note "stopping"; exit 0' INT TERM HUP
    while true; do
        seen=$(fingerprint)
        build_and_restart
        wait_for_change "$seen"
        note "something changed"
    done
}

main "$@"
