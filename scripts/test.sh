#!/usr/bin/env bash
# Installs what is missing, builds, and runs every check that there is, as CI does.
#
# Usage: scripts/test.sh [-h] [STEP...]
#
# Steps: build check asan tsan clang lint model coverage deploy fuzz demo browser api gateway;
# without any, all of them in this order. Each step's output is also in build/test-logs/. A failing step
# does not keep the others from running, except for a failed build, which ends the run. What failed is
# printed again at the end. The last line is "N passed, N failed, N skipped"; the status is 1 when anything
# failed.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly ALL_STEPS=(build check asan tsan clang lint model coverage deploy fuzz demo browser api
    gateway)
readonly CI_BUILD=build/ci
readonly LOGS=build/test-logs
readonly FUZZ_SECONDS=${FUZZ_SECONDS:-10}
# What tells of a failure in the output of any step.
readonly FAILURE='FAILED|^FAIL |^not ok|Sanitizer: |error:|timed out|killed by signal'
passed=0
failed=0
skipped=0
failed_steps=()

# Objects of CI have a directory of their own: those made without WERROR=1 would hide warnings.
run_make() {
    make -s --no-print-directory -j"$(cpu_count)" WERROR=1 BUILD="$CI_BUILD" "$@"
}

# The sanitizers of gcc 12 and clang 14 fail at random where the kernel shuffles addresses widely.
without_address_shuffle() {
    if setarch -R true 2>/dev/null; then setarch -R "$@"; else "$@"; fi
}
export -f run_make cpu_count
export CI_BUILD

step_build() {
    run_make all tests
}

step_check() {
    run_make check
}

step_asan() {
    without_address_shuffle bash -c 'run_make asan'
}

step_tsan() {
    without_address_shuffle bash -c 'run_make tsan'
}

step_clang() {
    run_make CC=clang BUILD=build/clang all tests
}

step_lint() {
    scripts/lint.sh
}

step_model() {
    scripts/model.sh
}

step_coverage() {
    scripts/coverage.sh
}

# Those that need a container engine say so, and leave their part out, where there is none.
step_deploy() {
    local script status=0
    run_make all
    for script in test/deploy/*.sh; do
        say "-- $script"
        WERROR=1 BUILD=$CI_BUILD "$script" || status=1
    done
    return "$status"
}

step_fuzz() {
    without_address_shuffle bash -c "run_make fuzz FUZZ_SECONDS=$FUZZ_SECONDS"
}

step_demo() {
    local backend status=0
    for backend in v1 v0; do
        say "-- version ${backend#v} of the backend"
        BUILD=$CI_BUILD scripts/demo.sh --once --backend "$backend" | tee "$LOGS/demo-output" || status=1
        # It has ended: an address would lead nowhere.
        if grep -F 'http://127.0.0.1' "$LOGS/demo-output"; then status=1; fi
    done
    return "$status"
}

step_browser() {
    run_make all
    BUILD=$CI_BUILD test/browser/run.sh
}

step_api() {
    run_make all
    BUILD=$CI_BUILD test/agent-api/run.sh
}

step_gateway() {
    run_make all
    BUILD=$CI_BUILD test/gateway/run.sh
}

title_of() {
    case $1 in
    build) echo "Build with gcc, warnings are errors" ;;
    check) echo "Unit and integration tests" ;;
    asan) echo "The same tests with AddressSanitizer and UBSan, leaks included" ;;
    tsan) echo "The same tests with ThreadSanitizer" ;;
    clang) echo "Build with clang, warnings are errors" ;;
    lint) echo "clang-tidy, cppcheck, clang-format, shellcheck, yamllint, documents" ;;
    model) echo "Every interleaving of models of the send queue and the agent runs, with Spin" ;;
    coverage) echo "How much of src/ the tests reach" ;;
    deploy) echo "What is installed and deployed" ;;
    fuzz) echo "Fuzzing, $FUZZ_SECONDS s for each target" ;;
    demo) echo "The demo, from what people do to the agents' replies, on both versions of the backend" ;;
    browser) echo "The page for people in a browser, if there is Chromium" ;;
    api) echo "The agents' HTTP API by its description, if npm can be reached" ;;
    gateway) echo "The runtime with a real OpenClaw gateway, if npm can be reached" ;;
    *) die_usage "$1" ;;
    esac
}

# tally LOG STATUS: adds up the lines "N passed, N failed" and "N passed, N failed, N skipped" of a
# step; a step without any counts as one. Scripts whose line has no third number are credited with
# a skip for each line "skipped: REASON" before it.
tally() {
    local log=$1 status=$2 good bad left_out lines
    read -r good bad left_out lines < <(awk '
        /^skipped: / { reasons++ }
        /^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$/ {
            good += $1; bad += $3; left_out += NF == 6 ? $5 : reasons
            reasons = 0; lines++
        }
        END { print good + 0, bad + 0, left_out + reasons, lines + 0 }' "$log")
    if ((status != 0 && bad == 0)); then bad=1; fi
    if ((status == 0 && lines == 0)); then good=1; fi
    passed=$((passed + good))
    failed=$((failed + bad))
    skipped=$((skipped + left_out))
}

# The output is indented, so that only the last line of all is a count at the start of a line.
run_step() {
    local step=$1 log=$LOGS/$1.log status=0 began=$SECONDS verdict=ok
    say "== $step: $(title_of "$step")"
    "step_$step" </dev/null 2>&1 | tee "$log" | sed -u 's/^/   /' || status=$?
    if ((status != 0)); then
        verdict="FAILED (status $status)"
        failed_steps+=("$step")
    fi
    say "== $step: $verdict, $((SECONDS - began)) s"
    tally "$log" "$status"
    return "$status"
}

run_steps() {
    local step
    for step in "$@"; do
        if ! run_step "$step" && [[ $step == build ]]; then
            say "Nothing else can run before the build works."
            return
        fi
    done
}

# The end of a long output is often all that is kept of it.
repeat_failures() {
    local step log
    for step in "${failed_steps[@]}"; do
        log=$LOGS/$step.log
        say "== what failed in $step, of the whole output in $log:"
        { grep -E -B 6 -A 2 "$FAILURE" "$log" || tail -n 30 "$log"; } | head -n 80 | sed 's/^/   /' || true
    done
}

main() {
    local steps=("$@") step
    if [[ ${1-} == -h || ${1-} == --help ]]; then usage && return; fi
    if (($# == 0)); then steps=("${ALL_STEPS[@]}"); fi
    for step in "${steps[@]}"; do title_of "$step" >/dev/null; done
    cd "$ROOT"
    # When make runs this script, the one inside must not follow its flags.
    unset MAKEFLAGS MFLAGS MAKELEVEL
    scripts/install-deps.sh test
    mkdir -p "$LOGS"
    run_steps "${steps[@]}"
    repeat_failures
    say "$passed passed, $failed failed, $skipped skipped"
    ((failed == 0))
}

main "$@"
