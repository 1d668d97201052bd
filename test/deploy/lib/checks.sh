# What the scripts of test/deploy share: counting what passed, failed and was left out. Sourced,
# never run.
# shellcheck shell=bash

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../../scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/lib.sh"

BUILD=${BUILD:-build}
passed=0
failed=0
work=$(mktemp -d "${TMPDIR:-/tmp}/deploy-test.XXXXXX")

forget_work() {
    rm -rf "$work"
}
trap forget_work EXIT

# check WHAT COMMAND...: runs COMMAND, counts how it went, and shows its output if it failed.
check() {
    local what=$1 status
    shift
    # Not behind ||, where a failure inside COMMAND would not end it.
    set +e
    (
        set -e
        "$@"
    ) >"$work/check.log" 2>&1
    status=$?
    set -e
    if ((status == 0)); then
        passed=$((passed + 1))
        say "ok: $what"
    else
        failed=$((failed + 1))
        say "FAILED (status $status): $what"
        tail -n 30 "$work/check.log" | sed "s/^/    /"
    fi
}

# skip WHAT REASON
skip() {
    say "skipped: $1: $2"
}

# have WHAT TOOL...: whether all tools are there; else says that WHAT is left out.
have() {
    local what=$1 tool
    shift
    for tool in "$@"; do
        command -v "$tool" >/dev/null && continue
        skip "$what" "there is no $tool here"
        return 1
    done
}

# engine WHAT: whether WHAT can use a container engine: DEPLOY_ENGINE names the command of one that
# takes docker's arguments. It is asked for by name, as building the machines takes minutes.
engine() {
    if [[ -z ${DEPLOY_ENGINE-} ]]; then
        skip "$1" "DEPLOY_ENGINE names no container engine, e.g. docker"
    elif ! "$DEPLOY_ENGINE" info >/dev/null 2>&1; then
        skip "$1" "the engine $DEPLOY_ENGINE does not answer"
    else
        return 0
    fi
    return 1
}

# offered WHAT PACKAGE@VERSION: whether npm has the package for WHAT; else says that it is left out.
offered() {
    local reason
    reason=$(npm_has "$2") || { skip "$1" "$reason" && return 1; }
}

# modules WHAT FOLDER PACKAGE@VERSION...: installs these from npm for WHAT, once; else says why not.
modules() {
    local what=$1 directory=$2
    shift 2
    [[ -e $directory/complete ]] && return
    have "$what" node && offered "$what" "$1" || return 1
    check "npm has what it takes: $*" npm_install "$directory" "$@" --ignore-scripts
    all_passed && touch "$directory/complete"
}

# all_passed: so far.
all_passed() {
    ((failed == 0))
}

# fails COMMAND...: whether COMMAND fails. A "!" would not end a check that goes on behind it.
fails() {
    if "$@"; then return 1; fi
}

# lacks PATTERN FILE: fails, and shows the lines, when FILE has any with PATTERN.
lacks() {
    fails grep -nE -- "$1" "$2"
}

# equal WANTED FOUND [WHAT]
equal() {
    [[ $1 == "$2" ]] || { say "${3-}: wanted \"$1\", found \"$2\"" && return 1; }
}

# holds TEXT PART
holds() {
    [[ $1 == *"$2"* ]] || { printf 'missing "%s" in:\n%s\n' "$2" "$1" && return 1; }
}

# hides TEXT PART: the opposite of holds, as lacks is for the lines of a file.
hides() {
    [[ $1 != *"$2"* ]] || { printf 'there is "%s" in:\n%s\n' "$2" "$1" && return 1; }
}

# The last words of each script.
finish() {
    say "$passed passed, $failed failed"
    ((failed == 0))
}
