# What the tests of images and of Compose files share. Sourced, never run.
# shellcheck shell=bash
#
# Variables of the environment: DOCKER, or DEPLOY_ENGINE, is the command if it is not docker;
# DOCKER_BUILD_OPTIONS is for docker build, e.g. --network=host; MISSION_CONTROL_IMAGE is an image to
# test instead of building one.

# shellcheck source-path=SCRIPTDIR source=../../../scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/lib.sh"

export DOCKER=${DOCKER:-${DEPLOY_ENGINE:-docker}}
readonly BASE_IMAGE=debian:bookworm-slim
IMAGE=${MISSION_CONTROL_IMAGE:-mission-control-runtime:test}
# The account that the sandbox serves if nobody says otherwise.
# shellcheck disable=SC2034
readonly SANDBOX_ACCOUNT=k57sandb0x0000000000000000000000
# shellcheck disable=SC2034
readonly SANDBOX_TOKEN=mc_service_${SANDBOX_ACCOUNT}_sandbox_secret_for_local_use_only
passed=0
failed=0
work=

# skip_without_engine: ends the test, as passed, where there is nothing to run it on.
skip_without_engine() {
    local reason
    if ! reason=$(has_engine); then
        say "skipped: $reason"
        say "0 passed, 0 failed"
        exit 0
    fi
}

# check WHAT COMMAND...: counts how COMMAND went; its output is shown only when it fails.
check() {
    local what=$1 log status
    shift
    log=$work/check.log
    # In a process of its own, so that a failing line ends the check and not the test. It must not
    # stand before a "||", where Bash would go on behind a failing line.
    set +e
    (
        set -e
        "$@"
    ) >"$log" 2>&1 </dev/null
    status=$?
    set -e
    if ((status == 0)); then
        passed=$((passed + 1))
        say "ok: $what"
    else
        failed=$((failed + 1))
        say "FAILED: $what"
        sed 's/^/    /' "$log"
    fi
}

# conclude: the last line, and the status.
conclude() {
    say "$passed passed, $failed failed"
    ((failed == 0))
}

# equal WANTED FOUND [WHAT]
equal() {
    [[ $1 == "$2" ]] || { say "${3-}: wanted \"$1\", found \"$2\"" && return 1; }
}

# holds TEXT PART
holds() {
    [[ $1 == *"$2"* ]] || { printf 'missing "%s" in:\n%s\n' "$2" "$1" && return 1; }
}

# lacks TEXT PART
lacks() {
    [[ $1 != *"$2"* ]] || { printf 'there is "%s" in:\n%s\n' "$2" "$1" && return 1; }
}

# refuses COMMAND...: COMMAND fails, as it should.
refuses() {
    if "$@"; then say "should have failed: $*" && return 1; fi
}

# wait_until LIMIT_S COMMAND...: until COMMAND succeeds.
wait_until() {
    local deadline_s=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline_s)) || { say "not within the time: $*" && return 1; }
        sleep 0.2
    done
}

build_image() {
    local options=()
    [[ -z ${MISSION_CONTROL_IMAGE-} ]] || return 0
    read -ra options <<<"${DOCKER_BUILD_OPTIONS-}"
    docker build "${options[@]}" -t "$IMAGE" "$ROOT"
}

# inspect CONTAINER_OR_IMAGE TEMPLATE
inspect() {
    docker inspect -f "$2" "$1"
}

is_healthy() {
    [[ $(inspect "$1" '{{.State.Health.Status}}') == healthy ]]
}

# ask NETWORK METHOD PORT PATH [BODY]: as http in scripts/lib.sh, but from inside a network of the
# engine, which need not be on this machine.
ask() {
    local network=$1
    shift
    { declare -f http && echo "http \"\$@\""; } |
        docker run --rm -i --network "$network" "$BASE_IMAGE" bash -s -- "$@"
}
