#!/usr/bin/env bash
# Runs the runtime with the settings in .env; rebuilds and restarts it when a source file changes.
#
# Usage: scripts/dev.sh [-h]
#
# Ctrl-C shuts it down cleanly. If a build fails, the errors are shown and the running runtime is left
# alone. Changes are detected with inotifywait (package inotify-tools) if installed, otherwise by
# polling once a second.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly BUILD=${BUILD:-build}
readonly PROGRAM=$BUILD/mission-control-runtime
readonly STOP_TIMEOUT_S=70
runtime_pid=
watch_pid=

log() {
    say "[dev] $*"
}

watched_files() {
    find src include Makefile VERSION -type f
    echo .env
}

# One line that changes whenever a source file or .env does.
fingerprint() {
    watched_files | xargs -d '\n' stat -c '%n %Y %s %i' 2>/dev/null | cksum
}

await_change() {
    local before=$1
    while [[ $(fingerprint) == "$before" ]]; do
        if command -v inotifywait >/dev/null; then
            # The timeout covers a change between the fingerprint and the start of the watch.
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

# In its own session: Ctrl-C reaches only this script, which sends the runtime one SIGTERM.
start_runtime() {
    setsid "$PROGRAM" --env-file .env &
    runtime_pid=$!
    log "started (pid $runtime_pid)"
}

stop_runtime() {
    [[ -n $runtime_pid ]] || return 0
    stop_process "$runtime_pid" "$STOP_TIMEOUT_S" || log "it exited with status $?"
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
        log "build failed; the previous build keeps running"
    else
        log "build failed; waiting for changes"
    fi
}

# Returns when a source file has changed; meanwhile logs if the runtime exits on its own.
wait_for_change() {
    local status
    await_change "$1" &
    watch_pid=$!
    while kill -0 "$watch_pid" 2>/dev/null; do
        status=0
        wait -n "$watch_pid" ${runtime_pid:+"$runtime_pid"} || status=$?
        if [[ -n $runtime_pid ]] && ! kill -0 "$runtime_pid" 2>/dev/null; then
            log "the runtime exited with status $status; waiting for changes"
            runtime_pid=
        fi
    done
    watch_pid=
}

main() {
    local seen
    reject_arguments "$@"
    cd "$ROOT"
    [[ -f .env ]] || die "no .env found: cp .env.example .env, fill in ACCOUNT_ID, CONVEX_URL and" \
        "SERVICE_TOKEN, and chmod 600 .env"
    scripts/install-deps.sh run
    trap clean_up EXIT
    trap 'log "stopping"; exit 0' INT TERM HUP
    while true; do
        seen=$(fingerprint)
        build_and_restart
        wait_for_change "$seen"
        log "change detected"
    done
}

main "$@"
