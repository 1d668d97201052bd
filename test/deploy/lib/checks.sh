# Functions shared by the tests in test/deploy: they run checks, count the results and report skips.
# Source this file, do not run it.
# shellcheck shell=bash

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../../scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/lib.sh"

BUILD=${BUILD:-build}
passed=0
failed=0
work=$(mktemp -d "${TMPDIR:-/tmp}/deploy-test.XXXXXX")

remove_work_dir() {
    rm -rf "$work"
}
trap remove_work_dir EXIT

# check TITLE COMMAND...: runs COMMAND, counts the result, and prints its output if it failed.
check() {
    local title=$1 status
    shift
    # Not "COMMAND || ...": set -e would be off inside COMMAND.
    set +e
    (
        set -e
        "$@"
    ) >"$work/check.log" 2>&1
    status=$?
    set -e
    if ((status == 0)); then
        passed=$((passed + 1))
        say "ok: $title"
    else
        failed=$((failed + 1))
        say "FAILED (status $status): $title"
        tail -n 30 "$work/check.log" | sed "s/^/    /"
    fi
}

# skip TITLE REASON: reports what is skipped.
skip() {
    say "skipped: $1: $2"
}

# has_tools TITLE TOOL...: whether all tools are installed; otherwise reports TITLE as skipped.
has_tools() {
    local title=$1 tool
    shift
    for tool in "$@"; do
        command -v "$tool" >/dev/null && continue
        skip "$title" "$tool is not installed"
        return 1
    done
}

# has_engine TITLE: whether TITLE can use DEPLOY_ENGINE, the command of a container engine that takes
# docker's arguments. It must be set explicitly, because building the machines takes minutes.
has_engine() {
    if [[ -z ${DEPLOY_ENGINE-} ]]; then
        skip "$1" "DEPLOY_ENGINE is not set to a container engine, e.g. docker"
    elif ! "$DEPLOY_ENGINE" info >/dev/null 2>&1; then
        skip "$1" "$DEPLOY_ENGINE: no container engine is responding"
    else
        return 0
    fi
    return 1
}

# has_npm_package TITLE PACKAGE@VERSION: whether npm has it; otherwise reports TITLE as skipped.
has_npm_package() {
    local reason
    reason=$(npm_has "$2") || { skip "$1" "$reason" && return 1; }
}

# install_modules TITLE DIR PACKAGE@VERSION...: installs npm packages once; otherwise reports TITLE as
# skipped.
install_modules() {
    local title=$1 directory=$2
    shift 2
    [[ -e $directory/complete ]] && return
    has_tools "$title" node && has_npm_package "$title" "$1" || return 1
    check "npm installs $*" npm_install "$directory" "$@" --ignore-scripts
    all_passed && touch "$directory/complete"
}

# all_passed: whether no check has failed so far.
all_passed() {
    ((failed == 0))
}

# fails COMMAND...: succeeds if COMMAND fails. "! COMMAND" would not trigger set -e.
fails() {
    if "$@"; then return 1; fi
}

# expect_no_match PATTERN FILE: fails, and prints the lines, if any line of FILE matches.
expect_no_match() {
    fails grep -nE -- "$1" "$2"
}

# expect_equal EXPECTED ACTUAL [NAME]
expect_equal() {
    [[ $1 == "$2" ]] || { say "${3-}: expected \"$1\", got \"$2\"" && return 1; }
}

# expect_contains TEXT PART
expect_contains() {
    [[ $1 == *"$2"* ]] || { printf 'expected "%s" in:\n%s\n' "$2" "$1" && return 1; }
}

# expect_lacks TEXT PART: fails if TEXT contains PART.
expect_lacks() {
    [[ $1 != *"$2"* ]] || { printf 'unexpected "%s" in:\n%s\n' "$2" "$1" && return 1; }
}

# finish: prints the totals; its status is the script's.
finish() {
    say "$passed passed, $failed failed"
    ((failed == 0))
}
