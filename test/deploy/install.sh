#!/usr/bin/env bash
# Tests `make install`: the files, units, manual page and shell completion.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"

readonly UNITS=(mission-control-runtime.service mission-control-runtime@.service)
readonly MAX_EXPOSURE=1.5 STOP_RESERVE_S=12
readonly PAGE_PATH=share/man/man8/mission-control-runtime.8
readonly COMPLETION_PATH=share/bash-completion/completions/mission-control-runtime

installed_files() {
    make -s --no-print-directory BUILD="$BUILD" install DESTDIR="$work/root"
    (cd "$work/root" && find . -type f -printf '%m %p\n' | sort -k 2) >"$work/files"
    diff - "$work/files" <<-END
	755 ./usr/local/bin/mission-control-runtime
	644 ./usr/local/lib/systemd/system/mission-control-runtime.service
	644 ./usr/local/lib/systemd/system/mission-control-runtime@.service
	644 ./usr/local/lib/systemd/system/mission-control-upgrade.path
	644 ./usr/local/lib/systemd/system/mission-control-upgrade.service
	755 ./usr/local/sbin/mission-control-upgrade
	644 ./usr/local/$COMPLETION_PATH
	644 ./usr/local/$PAGE_PATH
	END
}

uninstall_leaves_nothing() {
    make -s --no-print-directory BUILD="$BUILD" install DESTDIR="$work/removed"
    make -s --no-print-directory BUILD="$BUILD" uninstall DESTDIR="$work/removed"
    expect_equal "" "$(find "$work/removed" ! -type d)"
}

# systemd-analyze requires that the program exists where the units expect it.
install_elsewhere() {
    make -s --no-print-directory BUILD="$BUILD" install PREFIX="$prefix"
    grep -qx "ExecStart=$prefix/bin/mission-control-runtime" "$prefix/lib/systemd/system/"*@.service
    grep -qx "ExecStart=$prefix/sbin/mission-control-upgrade" "$prefix/lib/systemd/system/"*upgrade.service
}

verify_unit() {
    systemd-analyze verify --man=no "$prefix/lib/systemd/system/${1/@./@acme.}" >"$work/verify" 2>&1
    fails grep . "$work/verify"
}

# systemd-analyze takes the threshold in tenths.
verify_exposure() {
    systemd-analyze security --offline=yes --threshold="${MAX_EXPOSURE/./}" --no-pager \
        "deploy/systemd/$1"
}

# setting UNIT NAME: prints the value of a line NAME=value.
setting() {
    sed -n "s/^$2=//p" "deploy/systemd/$1"
}

stop_timeout_exceeds_grace() {
    local unit timeout_s grace_ms
    grace_ms=$(grep -oE '^# SHUTDOWN_GRACE_MS=[0-9]+' .env.example | cut -d= -f2)
    for unit in "${UNITS[@]}"; do
        timeout_s=$(setting "$unit" TimeoutStopSec)
        ((${timeout_s%s} * 1000 > grace_ms + STOP_RESERVE_S * 1000))
    done
}

# The units are identical except for what depends on the account.
units_differ_by_account_only() {
    local name
    for name in "${UNITS[@]}"; do
        sed -e '/^#/d; /^Description=/d; /^User=mc-%i$/d; s|^StateDirectory=.*||' \
            -e 's|/%i\.env|/runtime.env|; s|/%i\.|/|' "deploy/systemd/$name" >"$work/$name.body"
    done
    diff "$work/${UNITS[0]}.body" "$work/${UNITS[1]}.body"
}

# The settings in the source, extracted independently of the generator.
settings() {
    sed -n 's/^ *\[OPTION_[A-Z_]*\] = {"\([A-Z_]*\)".*/\1/p' src/config/options.c
}

# The arguments that the source knows.
arguments() {
    sed -n 's/^ *{"\([a-z-]*\)", ARGUMENTS_.*/\1/p' src/config/usage.c | grep -vxE -- '-[hv]'
    printf '%s\n' --env-file --json
}

page_has_settings() {
    local name
    mandoc -T ascii "$page" | col -b >"$work/page.txt"
    (($(settings | wc -l) > 25))
    for name in $(settings); do
        grep -qE "^ +$name(,|\$|  )" "$work/page.txt" || { say "$name is missing" && return 1; }
    done
}

page_has_arguments() {
    local name
    (($(arguments | wc -l) > 5))
    for name in $(arguments); do
        grep -qE "^ +$name( |\$)" "$work/page.txt" || { say "$name is missing" && return 1; }
    done
}

# completions WORD...: prints what bash would offer for the last word.
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

# With a stand-in for the program: ids of dead letters for what changes them, of all records for show.
completion_offers_ids() {
    cat >"$work/runtime" <<'END'
#!/bin/bash
[[ $* == '--env-file /etc/x.env spool list' ]] || exit 78
printf 'where  id       agent\nspool  js_live  jarvis\ndead   js_late  jarvis\ndead   js_more  friday\n'
printf 'spool/: 1 record: none\ndead/: 2 records\n'
END
    chmod +x "$work/runtime"
    [[ $(completions "$work/runtime" --env-file /etc/x.env spool retry js_) == $'js_late\njs_more' ]] &&
        [[ $(completions "$work/runtime" --env-file /etc/x.env spool drop js_late js_m) == js_more ]] &&
        [[ $(completions "$work/runtime" --env-file /etc/x.env spool show "") == $'js_live\njs_late\njs_more' ]] &&
        [[ -z $(completions "$work/runtime" spool show "") ]]
}

# As if the checkout and the engine's unit were there.
verify_compose_units() {
    mkdir "$work/compose"
    cp deploy/compose/*.timer "$work/compose"
    sed 's|^ExecStart=.*|ExecStart=/bin/true|; s|^WorkingDirectory=.*|WorkingDirectory=/|' \
        deploy/compose/*.service >"$work/compose/mission-control-compose-upgrade.service"
    printf '[Unit]\nDescription=Engine\n[Service]\nExecStart=/bin/true\n' >"$work/compose/docker.service"
    systemd-analyze verify --man=no "$work/compose/"*.timer >"$work/verify" 2>&1
    fails grep . "$work/verify"
    grep -qx 'ExecStart=.*/scripts/runtime-upgrade-local.sh --if-requested' deploy/compose/*.service
}

check_units() {
    local unit
    has_tools "systemd-analyze on the units" systemd-analyze || return 0
    check "systemd-analyze verify the units of the upgrade" verify_unit mission-control-upgrade.path
    check "systemd-analyze verify the units for Compose" verify_compose_units
    for unit in "${UNITS[@]}"; do
        check "systemd-analyze verify $unit" verify_unit "$unit"
        check "$unit has an exposure of at most $MAX_EXPOSURE" verify_exposure "$unit"
    done
}

check_page() {
    has_tools "the manual page" mandoc col || return 0
    check "mandoc finds nothing in the manual page" mandoc -T lint -W warning "$page"
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
    check "the stop timeouts exceed the grace period" stop_timeout_exceeds_grace
    check "the units differ only by account" units_differ_by_account_only
    check_page
    check "the completion is valid bash" bash -n "$completion"
    check "the completion offers every argument" completion_has_arguments
    check "the completion narrows by prefix" completion_narrows
    check "the completion offers ids" completion_offers_ids
    finish
}

main "$@"
