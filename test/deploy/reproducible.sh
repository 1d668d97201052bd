#!/usr/bin/env bash
# Builds the archive of a release twice, at two paths, with another umask, time zone and language, and
# compares the two; and checks the protection that the program was built with.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"

readonly TIME=1700000000

# build_at DIR UMASK VARIABLE=VALUE...: copies the sources to DIR and builds the archive there.
build_at() {
    local directory=$1 mask=$2
    shift 2
    mkdir -p "$directory"
    project_files -name '*' | tar -c --files-from=- | tar -x -C "$directory"
    (
        umask "$mask"
        cd "$directory"
        env -u MAKEFLAGS -u BUILD "$@" SOURCE_DATE_EPOCH=$TIME make -s --no-print-directory -j"$(cpu_count)" \
            COMMIT=0123456789ab dist
    )
}

builds_are_equal() {
    build_at "$work/one" 022 TZ=UTC LC_ALL=C
    build_at "$work/another/path/that/is/longer" 077 TZ=Asia/Tokyo LC_ALL=C.UTF-8
    cmp "$work"/one/build/dist/*.tar.gz "$work"/another/path/that/is/longer/build/dist/*.tar.gz
    diff "$work"/{one,another/path/that/is/longer}/build/dist/SHA256SUMS
}

archive_names_no_path() {
    mkdir "$work/root"
    tar -xzf "$work"/one/build/dist/*.tar.gz -C "$work/root"
    fails grep -rlF "$work" "$work/root"
    fails grep -qF "$work" "$work/one/build/mission-control-runtime"
    expect_equal "$TIME" "$(find "$work/root" -type f -printf '%Ts\n' | sort -u)" "time of the files"
}

# objects_have NOTE: whether each of our objects says that it was built with that protection. The program
# itself says so only where the C library does as well.
objects_have() {
    local object
    find "$work/one/build/obj" -name '*.o' | grep .
    find "$work/one/build/obj" -name '*.o' | while read -r object; do
        readelf -n "$object" | grep -qE "$1" || { say "$object lacks $1" && return 1; }
    done
}

program_is_protected() {
    local program=$work/root/usr/local/bin/mission-control-runtime
    readelf -lW "$program" | grep GNU_RELRO
    readelf -dW "$program" | grep -E 'FLAGS.*NOW'
    readelf -hW "$program" | grep -E 'Type:.*DYN'
    make -pn -C "$work/one" 2>/dev/null | grep -E '^CFLAGS_ALL := .*-fstack-clash-protection'
    case $(uname -m) in
    x86_64) objects_have 'x86 feature: .*IBT, SHSTK' ;;
    aarch64) objects_have 'AArch64 feature: .*BTI, PAC' ;;
    esac
}

main() {
    cd "$ROOT"
    check "two builds at two paths make the same archive" builds_are_equal
    if all_passed; then
        check "no path of the machine is in it" archive_names_no_path
        if has_tools "its protection" readelf; then check "the program is protected" program_is_protected; fi
    fi
    finish
}

main "$@"
