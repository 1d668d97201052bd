#!/usr/bin/env bash
# Installs what is missing to build and run (run), and to test (test) or measure (bench), with apt.
#
# Usage: scripts/install-deps.sh [run|test|bench] [-h]
#
# Made for Debian 12 and Ubuntu 24.04, as root or with sudo. Where everything is there already it
# does nothing and needs neither. Elsewhere it names what is missing.
#
# Packages that would start or enable a service (Prometheus, cloud-init, stunnel) are not installed:
# their files are unpacked into build/tools, from where the scripts and `make` run them.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

APT_OPTIONS=(-qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
TRIES=3
readonly TOOLS=$ROOT/build/tools
readonly CLOUD_INIT_MODULES=(python3-configobj python3-jinja2 python3-jsonpatch python3-jsonschema
    python3-oauthlib python3-requests python3-yaml)

has_command() {
    command -v "$1" >/dev/null 2>&1
}

has_library() {
    has_command pkg-config && pkg-config --exists "$1"
}

has_shared_library() {
    ldconfig -p 2>/dev/null | grep -qF "$1"
}

has_header() {
    has_command gcc && printf '#include <%s>\n' "$1" | gcc -E -x c - >/dev/null 2>&1
}

# libFuzzer and the sanitizers' runtimes of clang come in a package of their own.
has_clang_runtime() {
    has_command clang || return 1
    local library
    for library in "libclang_rt.fuzzer-$(uname -m).a" "libclang_rt.fuzzer.a"; do
        [[ -e $(clang --print-file-name="$library") ]] && return 0
    done
    return 1
}

# The library that shifts a program's clock, in the directory of whatever processor this is.
has_faketime() {
    compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null
}

# Ubuntu has no package of it: without one the rendering for Kubernetes is left out there.
has_kubectl() {
    has_command kubectl || ! grep -qx ID=debian /etc/os-release
}

# need PACKAGE CHECK...: adds PACKAGE to the missing ones unless CHECK succeeds.
need() {
    local package=$1
    shift
    "$@" || missing+=("$package")
}

# Ubuntu has both only as a snap, which containers cannot run: the page is not looked at there.
has_browser() {
    has_command chromedriver || ! grep -qx ID=debian /etc/os-release
}

# need_tool PACKAGE COMMAND: as need, for a package that is to be unpacked instead of installed.
need_tool() {
    has_command "$2" || to_unpack+=("$1")
}

# The modules that cloud-init imports when it checks user data.
has_cloud_init_modules() {
    has_command cloud-init && [[ $(command -v cloud-init) != "$TOOLS"/* ]] && return
    [[ -x /usr/bin/python3 ]] && /usr/bin/python3 -c \
        'import configobj, jinja2, jsonpatch, jsonschema, oauthlib, requests, yaml' 2>/dev/null
}

find_missing_to_run() {
    need gcc has_command gcc
    need libc6-dev has_header stdio.h
    need make has_command make
    need pkg-config has_command pkg-config
    need libcurl4-openssl-dev has_library libcurl
    need libjansson-dev has_library jansson
    need libmicrohttpd-dev has_library libmicrohttpd
    need libssl-dev has_library openssl
    need ca-certificates test -e /etc/ssl/certs
}

find_missing_to_test() {
    need libcmocka-dev has_library cmocka
    need faketime has_faketime
    need clang has_command clang
    need libclang-rt-dev has_clang_runtime
    need clang-tidy has_command clang-tidy
    need clang-format has_command clang-format
    need cppcheck has_command cppcheck
    need shellcheck has_command shellcheck
    need spin has_command spin
    need gcovr has_command gcovr
    need yamllint has_command yamllint
    need systemd has_command systemd-analyze
    need kubernetes-client has_kubectl
    need mandoc has_command mandoc
    need minisign has_command minisign
    need bsdextrautils has_command col
    need npm has_command npm
    need curl has_command curl
    need python3 has_command python3
    need chromium-driver has_browser
    need_tool prometheus promtool
    need_tool cloud-init cloud-init
    need cloud-init-modules has_cloud_init_modules
}

find_missing_to_bench() {
    need python3 has_command python3
    need util-linux has_command taskset
    need openssl has_command openssl
    need libwrap0 has_shared_library libwrap.so.0
    need_tool stunnel4 stunnel4
    need strace has_command strace
    need valgrind has_command valgrind
}

find_missing() {
    missing=()
    to_unpack=()
    find_missing_to_run
    case $1 in
    test) find_missing_to_test ;;
    bench) find_missing_to_bench ;;
    esac
}

# The package of clang's runtimes carries the version of the default clang in its name.
clang_runtime_package() {
    local major
    major=$(apt-cache depends clang | sed -n 's/^ *Depends: clang-\([0-9]\{1,\}\)$/\1/p')
    echo "libclang-rt-${major:-14}-dev"
}

# as_root COMMAND...: directly for root, else with sudo, which may ask when there is a terminal.
as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
    elif [[ -t 0 ]]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

require_apt_and_root() {
    has_command apt-get || die "these are missing: ${missing[*]} ${to_unpack[*]} (names of Debian packages)." \
        "There is no apt-get here: install them with the package manager of this system. On Fedora those to" \
        "build are gcc make pkgconf-pkg-config libcurl-devel jansson-devel libmicrohttpd-devel openssl-devel."
    [[ $(id -u) -eq 0 ]] && return
    has_command sudo || die "these packages are missing: ${missing[*]} ${to_unpack[*]}." \
        "Run this as root, or have root run scripts/install-deps.sh $1"
    [[ -t 0 ]] || sudo -n true 2>/dev/null || die "these packages are missing: ${missing[*]} ${to_unpack[*]}." \
        "sudo wants a password and there is no terminal to ask on:" \
        "have root run scripts/install-deps.sh $1"
}

# apt COMMAND...: apt-get, tried again a few times; shows its output only when it fails.
apt() {
    local log try
    log=$(mktemp)
    for ((try = 1; try <= TRIES; try++)); do
        if as_root env DEBIAN_FRONTEND=noninteractive apt-get "${APT_OPTIONS[@]}" "$@" \
            >"$log" 2>&1; then
            rm -f "$log"
            return
        fi
        if ((try < TRIES)); then
            warn "apt-get $1 failed; trying again in $((try * 5)) s"
            sleep $((try * 5))
        fi
    done
    tail -n 30 "$log" >&2
    rm -f "$log"
    die "apt-get $* failed $TRIES times; its last words are above. Is the network there?"
}

install_packages() {
    local packages=() package
    for package in "${missing[@]}"; do
        case $package in
        libclang-rt-dev) packages+=("$(clang_runtime_package)") ;;
        cloud-init-modules) packages+=("${CLOUD_INIT_MODULES[@]}") ;;
        *) packages+=("$package") ;;
        esac
    done
    say "Installing ${packages[*]}"
    apt install -y --no-install-recommends "${packages[@]}"
}

# cloud-init is a Python module, so its command is one that knows where the module is.
link_tools() {
    local tool
    mkdir -p "$TOOLS/bin"
    for tool in prometheus promtool stunnel4; do
        if [[ -e $TOOLS/root/usr/bin/$tool ]]; then ln -sf "../root/usr/bin/$tool" "$TOOLS/bin/$tool"; fi
    done
    if [[ -d $TOOLS/root/usr/lib/python3/dist-packages/cloudinit ]]; then
        printf '#!/bin/sh\nPYTHONPATH="%s" exec /usr/bin/python3 -m cloudinit.cmd.main "$@"\n' \
            "$TOOLS/root/usr/lib/python3/dist-packages" >"$TOOLS/bin/cloud-init"
        chmod +x "$TOOLS/bin/cloud-init"
    fi
}

# Nothing of the packages is run or registered: only their files are taken.
unpack_packages() {
    local download
    say "Unpacking ${to_unpack[*]} into build/tools"
    mkdir -p "$TOOLS/root"
    download=$(mktemp -d)
    (cd "$download" && apt-get "${APT_OPTIONS[@]}" download "${to_unpack[@]}" >log 2>&1) ||
        die "apt-get download failed: $(tail -n 3 "$download/log")"
    find "$download" -name '*.deb' -exec dpkg-deb -x {} "$TOOLS/root" \;
    rm -rf "$download"
    link_tools
}

install_missing() {
    apt update
    if ((${#missing[@]} > 0)); then install_packages; fi
    if ((${#to_unpack[@]} > 0)); then unpack_packages; fi
}

main() {
    local set=run
    case ${1-} in
    run | test | bench) set=$1 ;;
    *) reject_arguments "$@" ;;
    esac
    find_missing "$set"
    if ((${#missing[@]} + ${#to_unpack[@]} == 0)); then return; fi
    require_apt_and_root "$set"
    install_missing
    find_missing "$set"
    if ((${#missing[@]} + ${#to_unpack[@]} > 0)); then
        die "still missing after the installation: ${missing[*]} ${to_unpack[*]}"
    fi
}

main "$@"
