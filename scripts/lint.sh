#!/usr/bin/env bash
# Static checks: clang-tidy, cppcheck, clang-format, shellcheck, yamllint, scripts/check-layers.sh and
# scripts/check-docs.sh.
#
# Usage: scripts/lint.sh [-h]
#
# The findings and the formatting of the C tools differ between versions, so each of them is skipped,
# with a message, unless it is the version of Debian 12. LINT_ANY_VERSION=1 runs them regardless. There
# are no suppression files: disabled checks are listed in .clang-tidy and below.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly CLANG_VERSION=14.
readonly CPPCHECK_VERSION=2.10
# System headers are not parsed, so macros that look like statements are defined here. varFuncNullUB: NULL
# is a pointer with glibc, also as a variadic argument. readdirCalled: readdir_r is deprecated.
readonly CPPCHECK_FLAGS=(--quiet --error-exitcode=1 --std=c11 --library=posix
    "--enable=warning,performance,portability" --inline-suppr --suppress=missingIncludeSystem
    --suppress=varFuncNullUB --suppress=readdirCalled '--suppress=*:/usr/include/*'
    '-Djson_array_foreach(array,index,value)=while((value=next(array,&index)))'
    '-Djson_object_foreach(object,key,value)=while((value=next(object,&key)))')
passed=0
failed=0

# has_version WANTED TOOL: whether TOOL has that version; if not, prints that it is skipped.
has_version() {
    local wanted=$1 tool=$2 found
    command -v "$tool" >/dev/null || die "$tool is not installed; run scripts/install-deps.sh test"
    found=$("$tool" --version | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1)
    [[ $found == "$wanted"* || ${LINT_ANY_VERSION-} == 1 ]] && return
    say "skipped: $tool: version $found, but the code is checked with ${wanted%.}"
    return 1
}

# run_check NAME SCOPE COMMAND...: runs COMMAND and counts it as passed or failed.
run_check() {
    local name=$1 scope=$2
    shift 2
    if "$@"; then
        passed=$((passed + 1))
        say "$name: $scope, no findings"
    else
        failed=$((failed + 1))
        say "$name: $scope, findings above"
    fi
}

# One process per file keeps all cores busy to the end.
run_clang_tidy() {
    local log status=0 flags=()
    log=$(mktemp)
    mapfile -t flags < <(make_variable CFLAGS_ALL HARDENING=)
    printf '%s\0' "${sources[@]}" |
        xargs -0 -P "$(cpu_count)" -I '{}' clang-tidy --quiet '{}' -- "${flags[@]}" \
            >"$log" 2>&1 || status=1
    if ((status != 0)); then grep -vE '^[0-9]+ warnings? generated|^$' "$log" || true; fi
    rm -f "$log"
    return "$status"
}

run_cppcheck() {
    local flags=()
    mapfile -t flags < <(make_variable CFLAGS_ALL | grep -E '^-[ID]' | grep -v MISSION_CONTROL_VERSION)
    cppcheck "${CPPCHECK_FLAGS[@]}" -j "$(cpu_count)" -DMISSION_CONTROL_VERSION='""' \
        "${flags[@]}" "${sources[@]}"
}

run_clang_format() {
    clang-format --dry-run --Werror "${c_files[@]}"
}

lint_c() {
    local c_files=() sources=()
    mapfile -t c_files < <(make_variable C_FILES)
    mapfile -t sources < <(printf '%s\n' "${c_files[@]}" | grep '\.c$')
    if has_version "$CLANG_VERSION" clang-tidy; then
        run_check clang-tidy "${#sources[@]} files" run_clang_tidy
    fi
    if has_version "$CPPCHECK_VERSION" cppcheck; then
        run_check cppcheck "${#sources[@]} files" run_cppcheck
    fi
    if has_version "$CLANG_VERSION" clang-format; then
        run_check clang-format "${#c_files[@]} files" run_clang_format
    fi
}

lint_scripts() {
    local scripts=()
    # Those in .ci have no suffix.
    mapfile -t scripts < <(project_files -name '*.sh' -o -path './.ci/*')
    run_check shellcheck "${#scripts[@]} files" shellcheck "${scripts[@]}"
}

lint_yaml() {
    local files=()
    mapfile -t files < <(project_files -name '*.yaml' -o -name '*.yml' -o -name .yamllint)
    run_check yamllint "${#files[@]} files" yamllint --strict "${files[@]}"
}

main() {
    reject_arguments "$@"
    cd "$ROOT"
    lint_c
    lint_scripts
    lint_yaml
    run_check check-layers "includes between directories" scripts/check-layers.sh
    run_check check-docs "documents and scripts" scripts/check-docs.sh
    say "$passed passed, $failed failed"
    ((failed == 0))
}

main "$@"
