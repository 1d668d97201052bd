#!/usr/bin/env bash
# What `make install` installs: files, units, manual page, completion.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"

readonly UNITS=(mission-control-runtime.service mission-control-runtime@.service)
readonly MOST_EXPOSURE=1.5 STOP_RESERVE_S=12
readonly PAGE_PATH=share/man/man8/mission-control-runtime.8
readonly COMPLETION_PATH=share/bash-completion/completions/mission-control-runtime

installed_files() {
    make -s --no-print-directory BUILD="$BUILD" install DESTDIR="$work/root"
    (cd "$work/root" && find . -type f -printf '%m %p\n' | sort -k 2) >"$work/files"
    diff - "$work/files" <<-END
	755 ./usr/local/bin/mission-control-runtime
	644 ./usr/local/lib/systemd/system/mission-control-runtime.service
	644 ./usr/local/lib/systemd/system/mission-control-runtime@.service
	644 ./usr/local/$COMPLETION_PATH
	644 ./usr/local/$PAGE_PATH
	END
}

uninstall_leaves_nothing() {
    make -s --no-print-directory BUILD="$BUILD" install DESTDIR="$work/removed"
    make -s --no-print-directory BUILD="$BUILD" uninstall DESTDIR="$work/removed"
    equal "" "$(find "$work/removed" ! -type d)"
}

# Where the units find the program, as systemd-analyze looks for it.
install_elsewhere() {
    make -s --no-print-directory BUILD="$BUILD" install PREFIX="$prefix"
    grep -qx "ExecStart=$prefix/bin/mission-control-runtime" "$prefix/lib/systemd/system/"*@.service
}

verify_unit() {
    systemd-analyze verify --man=no "$prefix/lib/systemd/system/${1/@./@acme.}" >"$work/verify" 2>&1
    fails grep . "$work/verify"
}

# Takes the threshold in tenths.
verify_exposure() {
    systemd-analyze security --offline=yes --threshold="${MOST_EXPOSURE/./}" --no-pager \
        "deploy/systemd/$1"
}

# setting UNIT NAME: the value of a line NAME=value.
setting() {
    sed -n "s/^$2=//p" "deploy/systemd/$1"
}

enough_time_to_stop() {
    local unit timeout_s grace_ms
    grace_ms=$(grep -oE '^# SHUTDOWN_GRACE_MS=[0-9]+' .env.example | cut -d= -f2)
    for unit in "${UNITS[@]}"; do
        timeout_s=$(setting "$unit" TimeoutStopSec)
        ((${timeout_s%s} * 1000 > grace_ms + STOP_RESERVE_S * 1000))
    done
}

# Both units are the same but for what depends on the account.
same_units() {
    local name
    for name in "${UNITS[@]}"; do
        sed -e '/^#/d; /^Description=/d; /^User=mc-%i$/d; s|^StateDirectory=.*||' \
            -e 's|/%i\.env|/runtime.env|; s|/%i\.|/|' "deploy/systemd/$name" >"$work/$name.body"
    done
    diff "$work/${UNITS[0]}.body" "$work/${UNITS[1]}.body"
}

# The settings in the source, read by other means than the generator's.
settings() {
    sed -n 's/^ *\[OPTION_[A-Z_]*\] = {"\([A-Z_]*\)".*/\1/p' src/config/options.c
}

# The arguments that the source knows.
arguments() {
    sed -n 's/^ *{"\([a-z-]*\)", ARGUMENTS_.*/\1/p' src/config/usage.c | grep -vx -- -h
    printf '%s\n' --env-file --json
}

page_has_settings() {
    local name
    mandoc -T ascii "$page" | col -b >"$work/page.txt"
    (($(settings | wc -l) > 25))
    for name in $(settings); do
        grep -qE "^ +$name(,|\$|  )" "$work/page.txt" || { say "no $name" && return 1; }
    done
}

page_has_arguments() {
    local name
    (($(arguments | wc -l) > 5))
    for name in $(arguments); do
        grep -qE "^ +$name( |\$)" "$work/page.txt" || { say "no $name" && return 1; }
    done
}

# completions WORD...: what bash would offer for the last word.
completions() {
    bash -c '. "$1"; shift; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _mission_control_runtime; printf "%s\n" "${COMPREPLY[@]}"' bash "$completion" "$@"
}

completion_has_arguments() {
    diff <(arguments | sort) <(completions mission-control-runtime "" | sort)
}

completion_narrows() {
    [[ $(completions mission-control-runtime doc) == doctor ]] &&
        [[ $(completions mission-control-runtime spool re) == retry ]] &&
        [[ $(completions mission-control-runtime --env-file VERS) == VERSION ]]
}

check_units() {
    local unit
    have "systemd-analyze on the units" systemd-analyze || return 0
    for unit in "${UNITS[@]}"; do
        check "systemd-analyze verify $unit" verify_unit "$unit"
        check "$unit is exposed $MOST_EXPOSURE at most" verify_exposure "$unit"
    done
}

check_page() {
    have "the manual page" mandoc col || return 0
    check "the manual page is clean for mandoc" mandoc -T lint -W warning "$page"
    check "the manual page has every setting" page_has_settings
    check "the manual page has every argument" page_has_arguments
}

main() {
    cd "$ROOT"
    prefix=$work/prefix
    page=$work/root/usr/local/$PAGE_PATH
    completion=$work/root/usr/local/$COMPLETION_PATH
    check "make install DESTDIR=... installs these files" installed_files
    check "make install PREFIX=... adapts the units" install_elsewhere
    check "make uninstall removes all of them" uninstall_leaves_nothing
    check_units
    check "the units leave time to stop" enough_time_to_stop
    check "the units differ in the account alone" same_units
    check_page
    check "the completion is bash" bash -n "$completion"
    check "the completion offers every argument" completion_has_arguments
    check "the completion narrows down" completion_narrows
    finish
}

main "$@"
