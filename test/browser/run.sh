#!/usr/bin/env bash
# Tests the status page and the sandbox's board, alone and with a runtime, in headless Chromium, driven by
# ChromeDriver.
#
# Usage: test/browser/run.sh [--screenshots DIR | --board-screenshots DIR] [-h]
#
# Needs the programs in BUILD (build), built by make all; skipped if Chromium or ChromeDriver is not
# installed. Prints ok or FAILED for each test and the totals at the end; exits with 1 if one failed.
# With --screenshots it runs no tests but half an hour of work, twenty times as fast, and writes pictures
# of both pages to DIR; this needs libfaketime and takes two to three minutes. With --board-screenshots it
# takes those of the board alone, at once.

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
    local directory='' browser page status=0 pages="screenshots.py board_screenshots.py"
    case ${1-} in
    --board-screenshots) pages=board_screenshots.py directory=$(realpath "${2:?$1 needs a directory}") ;;
    --screenshots) directory=$(realpath "${2:?--screenshots needs a directory}") ;;
    *) reject_arguments "$@" ;;
    esac
    browser=$(find_browser) || skip "Chromium is not installed"
    command -v chromedriver >/dev/null || skip "ChromeDriver is not installed"
    command -v python3 >/dev/null || skip "python3 is not installed"
    export PYTHONDONTWRITEBYTECODE=1
    cd "$ROOT/test/browser"
    if [[ -n $directory ]]; then
        for page in $pages; do python3 "$page" "$BUILD" "$browser" "$directory"; done
        exit
    fi
    python3 page_test.py "$BUILD" "$browser" || status=1
    python3 board_test.py "$BUILD" "$browser" || status=1
    python3 tour_test.py "$BUILD" "$browser" || status=1
    exit "$status"
}

main "$@"
