#!/usr/bin/env bash
# Looks for mistakes without running anything: clang-tidy, cppcheck, clang-format, shellcheck,
# yamllint and scripts/check-docs.sh.
#
# Usage: scripts/lint.sh [-h]
#
# What the C tools find, and the layout they ask for, differs from version to version. So each runs
# only in the version of Debian 12 and is skipped otherwise; LINT_ANY_VERSION=1 runs them all. There
# are no suppression files: what is switched off is so in .clang-tidy and below.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly CLANG_VERSION=14.
readonly CPPCHECK_VERSION=2.10
# Headers of the system are not looked into, so the macros that look like statements are told. NULL
# is a pointer here, also behind the last typed argument, and readdir_r is out of use.
readonly CPPCHECK_FLAGS=(--quiet --error-exitcode=1 --std=c11 --library=posix
    "--enable=warning,performance,portability" --inline-suppr --suppress=missingIncludeSystem
    --suppress=varFuncNullUB --suppress=readdirCalled
    '-Djson_array_foreach(array,index,value)=while((value=next(array,&index)))'
    '-Djson_object_foreach(object,key,value)=while((value=next(object,&key)))')
passed=0
failed=0

# make_list VARIABLE: the words of one of the Makefile's variables, a line each.
make_list() {
    make -s --no-print-directory HARDENING= --eval="print-list: ; @printf '%s\n' \$($1)" print-list
}

# has_version WANTED TOOL: whether TOOL is of that version; prints why it is skipped if not.
has_version() {
    local wanted=$1 tool=$2 found
    command -v "$tool" >/dev/null || die "$tool is missing: run scripts/install-deps.sh test"
    found=$("$tool" --version | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1)
    [[ $found == "$wanted"* || ${LINT_ANY_VERSION-} == 1 ]] && return
    say "skipped: $tool: version $found here, the code is held to ${wanted%.}"
    return 1
}

# check NAME WHAT COMMAND...: runs COMMAND and counts how it went.
check() {
    local name=$1 what=$2
    shift 2
    if "$@"; then
        passed=$((passed + 1))
        say "$name: $what, no findings"
    else
        failed=$((failed + 1))
        say "$name: $what, findings above"
    fi
}

# One process a file keeps all cores busy to the end.
run_clang_tidy() {
    local log status=0 flags=()
    log=$(mktemp)
    mapfile -t flags < <(make_list CFLAGS_ALL)
    printf '%s\0' "${sources[@]}" |
        xargs -0 -P "$(cpu_count)" -I '{}' clang-tidy --quiet '{}' -- "${flags[@]}" \
            >"$log" 2>&1 || status=1
    if ((status != 0)); then grep -vE '^[0-9]+ warnings? generated|^$' "$log" || true; fi
    rm -f "$log"
    return "$status"
}

run_cppcheck() {
    local flags=()
    mapfile -t flags < <(make_list CFLAGS_ALL | grep -E '^-[ID]' | grep -v MISSION_CONTROL_VERSION)
    cppcheck "${CPPCHECK_FLAGS[@]}" -j "$(cpu_count)" -DMISSION_CONTROL_VERSION='""' \
        "${flags[@]}" "${sources[@]}"
}

run_clang_format() {
    clang-format --dry-run --Werror "${c_files[@]}"
}

# Bash and shell scripts, whatever their name.
find_scripts() {
    find . \( -path ./build -o -path ./.git -o -path ./.demo \) -prune -o -type f \
        \( -name '*.sh' -o -path './.ci/*' \) -print | sort
}

lint_c() {
    local c_files=() sources=()
    mapfile -t c_files < <(make_list C_FILES)
    mapfile -t sources < <(printf '%s\n' "${c_files[@]}" | grep '\.c$')
    if has_version "$CLANG_VERSION" clang-tidy; then
        check clang-tidy "${#sources[@]} files" run_clang_tidy
    fi
    if has_version "$CPPCHECK_VERSION" cppcheck; then
        check cppcheck "${#sources[@]} files" run_cppcheck
    fi
    if has_version "$CLANG_VERSION" clang-format; then
        check clang-format "${#c_files[@]} files" run_clang_format
    fi
}

lint_scripts() {
    local scripts=()
    mapfile -t scripts < <(find_scripts)
    check shellcheck "${#scripts[@]} files" shellcheck "${scripts[@]}"
}

find_yaml() {
    find . \( -path ./build -o -path ./.git -o -path ./.demo \) -prune -o -type f \
        \( -name '*.yaml' -o -name '*.yml' -o -name .yamllint \) -print | sort
}

lint_yaml() {
    local files=()
    mapfile -t files < <(find_yaml)
    check yamllint "${#files[@]} files" yamllint --strict "${files[@]}"
}

main() {
    case ${1-} in
    "") ;;
    -h | --help) usage && return ;;
    *) die_usage "$1" ;;
    esac
    cd "$ROOT"
    lint_c
    lint_scripts
    lint_yaml
    check check-docs "documents and scripts" scripts/check-docs.sh
    say "$passed passed, $failed failed"
    ((failed == 0))
}

main "$@"
