#!/usr/bin/env bash
# Looks at the page for people with a browser: Chromium without a window, driven by ChromeDriver.
#
# Usage: test/browser/run.sh [--screenshots FOLDER] [-h]
#
# Needs the programs in BUILD (build), which make all makes; without a Chromium and its ChromeDriver
# it says that it was skipped. Each case says ok or FAILED; the last line counts them, and the
# status is 1 when one failed. With --screenshots there are no cases: half an hour of work, in two
# minutes, is shown to the browser, and what it shows goes to FOLDER.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"
BUILD=$(realpath "${BUILD:-$ROOT/build}")

find_browser() {
    local name
    for name in chromium chromium-browser google-chrome; do
        command -v "$name" && return
    done
    return 1
}

skip() {
    say "skipped: $*"
    say "0 passed, 0 failed"
    exit 0
}

main() {
    local script=page_test.py directory=() browser
    case ${1-} in
    --screenshots) script=screenshots.py directory=("$(realpath "${2:?a directory is missing}")") ;;
    *) reject_arguments "$@" ;;
    esac
    browser=$(find_browser) || skip "there is no Chromium here"
    command -v chromedriver >/dev/null || skip "there is no ChromeDriver here"
    command -v python3 >/dev/null || skip "there is no python3 here"
    PYTHONDONTWRITEBYTECODE=1 exec python3 "$ROOT/test/browser/$script" "$BUILD" "$browser" \
        "${directory[@]}"
}

main "$@"
