#!/usr/bin/env bash
# Builds the Debian package of the runtime: program, units, manual page and completion below /usr.
#
# Usage: scripts/build-deb.sh [-h]
#
# Called by `make deb`. Needs dpkg-deb, readelf and a build for this machine; writes
# BUILD/dist/mission-control-runtime_VERSION_ARCHITECTURE.deb and prints its path. It depends on the
# packages that the program's libraries come from here, in their versions or later, so it fits the release
# of Debian or Ubuntu that it was built on. The program that installs what the board requests
# (mission-control-upgrade) is not in it: apt is what upgrades a package.
#
# Environment variables (default):
#   BUILD (build)             the build directory
#   SOURCE_DATE_EPOCH (now)   the time of all files in it

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly BUILD=${BUILD:-build} NAME=mission-control-runtime
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(date +%s)}
export SOURCE_DATE_EPOCH

# package_of FILE: prints the package that a file of the system belongs to. On a merged /usr dpkg may know
# it by either path.
package_of() {
    local path package
    for path in "$1" "$(realpath "$1")" "/usr$(realpath "$1")"; do
        package=$(dpkg-query -S "$path" 2>/dev/null) && break
    done
    [[ -n $package ]] || die "no package of this system has $1"
    package=${package%%: *}
    echo "${package%%:*}"
}

# Prints the packages of the program's libraries with their versions here, without the revision.
dependencies() {
    local library path package version
    while read -r library; do
        path=$(ldconfig -p | awk -v name="$library" '$1 == name { print $NF; exit }')
        [[ -n $path ]] || die "$library, which the program needs, is not installed"
        package=$(package_of "$path")
        version=$(dpkg-query -W -f '${Version}' "$package")
        echo "$package (>= ${version%-*})"
    done < <(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p') | sort -u | paste -sd, | sed 's/,/, /g'
}

# write_control ROOT: the package's description.
write_control() {
    mkdir -p "$1/DEBIAN"
    cat >"$1/DEBIAN/control" <<END
Package: $NAME
Version: $(<VERSION)
Architecture: $(dpkg --print-architecture)
Maintainer: Mission Control <maintainers@invalid>
Section: net
Priority: optional
Depends: ca-certificates, $(dependencies "$1/usr/bin/$NAME")
Installed-Size: $(du -k -s --exclude=DEBIAN "$1" | cut -f 1)
Description: delivers notifications of a task board to AI agents
 A daemon that carries the notifications of one account of a Mission Control
 board to AI agents behind an OpenClaw gateway, and writes their replies back.
END
}

# add_documents ROOT: licence and changes, where Debian has them.
add_documents() {
    local directory=$1/usr/share/doc/$NAME
    mkdir -p "$directory"
    install -m 644 LICENSE "$directory/copyright"
    gzip -9n <CHANGELOG.md >"$directory/changelog.gz"
}

build_package() {
    local root=$BUILD/dist/deb package
    package=$BUILD/dist/${NAME}_$(<VERSION)_$(dpkg --print-architecture).deb
    rm -rf "$root"
    make -s --no-print-directory BUILD="$BUILD" install PREFIX=/usr DESTDIR="$root"
    rm -r "$root/usr/sbin" "$root/usr/lib/systemd/system/mission-control-upgrade."*
    strip "$root/usr/bin/$NAME"
    gzip -9n "$root/usr/share/man/man8/$NAME.8"
    add_documents "$root"
    chmod -R u=rwX,go=rX "$root"
    write_control "$root"
    dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >/dev/null
    rm -rf "$root"
    say "$package"
}

main() {
    local tool
    reject_arguments "$@"
    cd "$ROOT"
    for tool in dpkg-deb readelf strip; do
        command -v "$tool" >/dev/null || die "make deb needs $tool, which Debian and Ubuntu have"
    done
    build_package
}

main "$@"
