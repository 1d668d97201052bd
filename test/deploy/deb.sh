#!/usr/bin/env bash
# Builds the Debian package, looks into it, and installs it in a fresh system of the same release: in a
# chroot made with debootstrap, which needs root, the network and permission to chroot; without one of
# them that part is skipped with the reason.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"

readonly NAME=mission-control-runtime BOOTSTRAP_TIMEOUT_S=400

builds_package() {
    package=$(make -s --no-print-directory BUILD="$BUILD" deb)
    test -s "$package"
    cp "$package" "$work/package.deb"
}

has_these_files() {
    dpkg-deb -c "$work/package.deb" | awk '$1 !~ /^d/ { print $1, $2, $6 }' >"$work/files"
    diff - "$work/files" <<-END
	-rwxr-xr-x root/root ./usr/bin/$NAME
	-rw-r--r-- root/root ./usr/lib/systemd/system/$NAME.service
	-rw-r--r-- root/root ./usr/lib/systemd/system/$NAME@.service
	-rw-r--r-- root/root ./usr/share/bash-completion/completions/$NAME
	-rw-r--r-- root/root ./usr/share/doc/$NAME/changelog.gz
	-rw-r--r-- root/root ./usr/share/doc/$NAME/copyright
	-rw-r--r-- root/root ./usr/share/man/man8/$NAME.8.gz
	END
}

# Each library by the package that it comes from, in the version that the program was built with or later.
names_its_dependencies() {
    local depends library
    depends=$(dpkg-deb -f "$work/package.deb" Depends)
    say "$depends"
    for library in libc6 libcurl libjansson libmicrohttpd libssl; do
        [[ $depends =~ (^|, )${library}[a-z0-9.-]*\ \(\>=\ [0-9] ]] || { say "$library is missing" && return 1; }
    done
    expect_equal "$(<VERSION)" "$(dpkg-deb -f "$work/package.deb" Version)"
}

units_start_the_installed_program() {
    dpkg-deb -x "$work/package.deb" "$work/unpacked"
    grep -qx "ExecStart=/usr/bin/$NAME.*" "$work/unpacked/usr/lib/systemd/system/$NAME.service"
    fails grep -r /usr/local "$work/unpacked/usr/lib/systemd"
}

in_chroot() {
    chroot "$work/system" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"
}

# With all that it depends on, which apt fetches.
installs_and_runs() {
    cp "$work/package.deb" "$work/system/tmp/package.deb"
    in_chroot apt-get -qq install -y --no-install-recommends /tmp/package.deb
    in_chroot "$NAME" --version | grep -F "$NAME $(<VERSION)"
    in_chroot env ACCOUNT_ID=k57acme CONVEX_URL=https://acme.convex.cloud HOME=/root \
        SERVICE_TOKEN=mc_service_k57acme_0123456789abcdef "$NAME" --check-config | grep -F ACCOUNT_ID=k57acme
}

removes_all_of_it() {
    in_chroot apt-get -qq purge -y "$NAME"
    expect_equal "" "$(find "$work/system/usr" -path "*$NAME*")" "what is left"
}

# why_no_chroot: prints why a fresh system cannot be made here; fails if it can.
why_no_chroot() {
    if ((EUID != 0)); then
        say "only root can make a chroot"
    elif ! command -v debootstrap >/dev/null; then
        say "debootstrap is not installed"
    elif ! chroot / true 2>/dev/null; then
        say "chroot is not permitted here"
    else
        return 1
    fi
}

# make_system: a minimal system of this release, from the mirror that apt uses here.
make_system() {
    local codename mirror
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $codename" | head -n 1)
    timeout "$BOOTSTRAP_TIMEOUT_S" debootstrap --variant=minbase "$codename" "$work/system" \
        "$mirror" >"$work/debootstrap.log" 2>&1
}

check_in_fresh_system() {
    local title="the installation in a fresh system" reason
    if reason=$(why_no_chroot); then
        skip "$title" "$reason"
    elif ! make_system; then
        skip "$title" "debootstrap failed: $(tail -n 1 "$work/debootstrap.log")"
    else
        check "apt installs the package with what it needs, and it runs" installs_and_runs
        check "apt removes all of it" removes_all_of_it
    fi
}

main() {
    cd "$ROOT"
    has_tools "the Debian package" dpkg-deb readelf || finish
    check "make deb builds a package" builds_package
    check "the package has these files" has_these_files
    check "the package names its dependencies" names_its_dependencies
    check "its units start the installed program" units_start_the_installed_program
    check_in_fresh_system
    finish
}

main "$@"
