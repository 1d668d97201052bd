#!/usr/bin/env bash
# Tests deploy/upgrade/mission-control-upgrade in a directory that plays the machine: releases are real
# archives with real signatures; systemctl, docker and the runtime's answers are stand-ins.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"

readonly SCRIPT=$ROOT/deploy/upgrade/mission-control-upgrade STATE_UID=10001
machine=$work/machine
state=$machine/var/lib/mission-control-runtime
archive=mission-control-runtime-linux-$(dpkg --print-architecture).tar.gz

# The stand-ins: what runs is the version that the installed program names, unless it is broken.
make_stand_ins() {
    mkdir -p "$work/bin"
    cat >"$work/bin/systemctl" <<END
#!/bin/bash
echo "\$*" >>"$work/systemctl.log"
case "\$1" in
show) cat "$work/active_state" ;;
restart | enable) cat "$machine/program" "$machine/usr/local/bin/mission-control-runtime" 2>/dev/null |
    sed -n 's/.*mission-control-runtime \([0-9][^ ]*\).*/\1/p' | head -n 1 >"$work/running" ;;
esac
END
    cat >"$work/bin/curl" <<END
#!/bin/bash
case "\${*: -1}" in
*/version) printf '{"runtimeServiceVersion":"%s"}' "\$(cat "$work/running")" ;;
*/readyz) grep -qxF "\$(cat "$work/running")" "$work/ready" ;;
*) echo "\$*" >>"$work/curl.log"; exec $(command -v curl) "\$@" ;;
esac
END
    # The image's id is its reference; it runs as the version in its tag.
    cat >"$work/bin/docker" <<END
#!/bin/bash
echo "\$*" >>"$work/docker.log"
case "\$1 \$2" in
"image inspect") echo "\${*: -1}" ;;
"run "*) echo "mission-control-runtime 0.3.0 (x)" ;;
"tag "*) if [[ \$3 == *:current ]]; then echo "mission-control-runtime 0.3.0 " >"$machine/program"; fi ;;
esac
END
    chmod +x "$work/bin/"*
}

# publish VERSION [LINE]: a release whose program names VERSION and has LINE, with a unit and a file of its own.
publish() {
    local files=$work/files
    rm -rf "$files"
    mkdir -p "$files/usr/local/bin" "$files/usr/local/lib/systemd/system" "$work/releases/$1"
    printf '#!/bin/sh\ntouch %q\n%s\necho "mission-control-runtime %s (x)"\n' "$work/executed" "${2-}" "$1" \
        >"$files/usr/local/bin/mission-control-runtime"
    chmod +x "$files/usr/local/bin/mission-control-runtime"
    echo "unit of $1" >"$files/usr/local/lib/systemd/system/mission-control-runtime.service"
    echo "only in $1" >"$files/usr/local/lib/systemd/system/only-in-$1.service"
    tar -C "$files" -czf "$work/releases/$1/$archive" usr
    (cd "$work/releases/$1" && sha256sum "$archive" >SHA256SUMS && echo "${1//[!0-9]/}abc  image" >>SHA256SUMS)
    sign "$1"
}

sign() {
    minisign -S -s "$work/key" -m "$work/releases/$1/SHA256SUMS" -x "$work/releases/$1/SHA256SUMS.minisig" >/dev/null
}

# A machine on which nothing is installed; upgrade.conf gets the given lines after the usual ones.
make_machine() {
    rm -rf "$machine" "$work/releases" "$work/"{executed,running}
    : >"$work/systemctl.log"
    : >"$work/curl.log"
    : >"$work/docker.log"
    echo active >"$work/active_state"
    mkdir -p "$machine/etc/mission-control" "$machine/usr/local" "$state"
    chown "$STATE_UID:$STATE_UID" "$state"
    chmod 0700 "$state"
    echo ACCOUNT_ID=k57 >"$machine/etc/mission-control/runtime.env"
    printf '%s\n' KIND=native "SOURCE=file://$work/releases/current" \
        "RELEASES=file://$work/releases/{version}" "SIGNING_KEY=$(sed -n 2p "$work/key.pub")" "$@" \
        >"$machine/etc/mission-control/upgrade.conf"
    printf '%s\n' 0.2.0 0.3.0 >"$work/ready"
    publish 0.2.0
    ln -sfn 0.2.0 "$work/releases/current"
}

upgrade() {
    UPGRADE_ROOT=$machine UPGRADE_TIMEOUT_S=1 PATH=$work/bin:$PATH timeout 60 "$SCRIPT" 2>&1
}

make_installed_machine() {
    make_machine
    upgrade
    rm -f "$work/executed"
    : >"$work/systemctl.log"
}

# request RUNTIME [OPENCLAW]: as the runtime writes it.
request() {
    printf '{"initiatedAt":%s,"requestedAt":1,"targetOpenclawVersion":"%s","targetRuntimeVersion":"%s"}' \
        "$(now_ms)" "${2-}" "$1" >"$state/upgrade-request.json"
    chown "$STATE_UID:$STATE_UID" "$state/upgrade-request.json"
}

expect_result() {
    expect_equal "$1" "$(json_get status <"$state/upgrade-result.json")" "status"
    expect_contains "$(json_get error <"$state/upgrade-result.json")" "$2"
    expect_equal "$STATE_UID 600" "$(stat -c '%u %a' "$state/upgrade-result.json")" "owner and mode"
    [[ ! -e $state/upgrade-request.json ]]
}

# The new version itself shows the runtime that it is there.
expect_success() {
    [[ ! -e $state/upgrade-request.json && ! -e $state/upgrade-result.json ]]
    [[ ! -e $machine/var/lib/mission-control/request ]]
}

expect_installed() {
    grep -qF "mission-control-runtime $1 " "$machine/usr/local/bin/mission-control-runtime"
    expect_equal "unit of $1" "$(cat "$machine/usr/local/lib/systemd/system/mission-control-runtime.service")"
    expect_equal "only-in-$1.service" \
        "$(cd "$machine/usr/local/lib/systemd/system" && echo only-*)" "units of one release"
}

first_installation() {
    make_machine
    upgrade
    expect_installed 0.2.0
    grep -qx 'enable --now mission-control-runtime.service' "$work/systemctl.log"
}

requested_version_is_installed() {
    make_installed_machine
    publish 0.3.0
    request 0.3.0
    upgrade
    expect_success
    expect_installed 0.3.0
    grep -qx daemon-reload "$work/systemctl.log"
    expect_equal 0.3.0 "$(cat "$work/running")" running
}

# Program, units and what only the new release has.
unhealthy_version_is_rolled_back() {
    make_installed_machine
    publish 0.4.0
    request 0.4.0
    fails upgrade
    expect_result rolled_back "runtime 0.4.0 did not become healthy within 1 s"
    expect_installed 0.2.0
    expect_equal 0.2.0 "$(cat "$work/running")" running
}

# The gateway is down, so neither version is ready: that is no fault of the new one.
unready_machine_is_upgraded() {
    make_installed_machine
    : >"$work/ready"
    publish 0.4.0
    request 0.4.0
    upgrade
    expect_success
    expect_installed 0.4.0
}

# refuses WORDS: the installation fails with WORDS before anything is executed or changed.
refuses() {
    fails upgrade >"$work/output"
    expect_contains "$(cat "$work/output")" "$1"
    [[ ! -e $work/executed ]]
    expect_equal "" "$(cat "$work/systemctl.log")" "systemctl"
}

forged_list_is_refused() {
    make_installed_machine
    publish 0.3.0
    sed -i 's/^./0/' "$work/releases/0.3.0/SHA256SUMS"
    request 0.3.0
    refuses "the signature of file://$work/releases/0.3.0/SHA256SUMS is not valid"
    expect_result failed "is not valid"
    expect_installed 0.2.0
}

foreign_key_is_refused() {
    make_installed_machine
    publish 0.3.0
    minisign -G -f -W -p "$work/other.pub" -s "$work/other" >/dev/null
    minisign -S -s "$work/other" -m "$work/releases/0.3.0/SHA256SUMS" >/dev/null
    request 0.3.0
    refuses "is not valid"
}

changed_archive_is_refused() {
    make_installed_machine
    publish 0.3.0
    echo >>"$work/releases/0.3.0/$archive"
    request 0.3.0
    refuses "does not have the verified digest"
    expect_result failed "does not have the verified digest"
}

# A genuine but older release in place of the requested one.
other_version_is_refused() {
    make_installed_machine
    ln -sfn 0.2.0 "$work/releases/0.3.0"
    request 0.3.0
    fails upgrade
    expect_result failed "reports itself as '0.2.0'"
    expect_equal "" "$(cat "$work/systemctl.log")" "systemctl"
}

missing_release_is_reported() {
    make_installed_machine
    request 0.3.0
    refuses "cannot fetch"
    expect_result failed "cannot fetch file://$work/releases/0.3.0/SHA256SUMS"
}

pinned_digest_is_enough() {
    make_machine "SIGNING_KEY=" "SHA256=$(printf '%064d' 0)"
    refuses "does not have the verified digest"
    sed -i "s/^SHA256=.*/SHA256=$(sha256sum "$work/releases/current/$archive" | cut -d ' ' -f 1)/" \
        "$machine/etc/mission-control/upgrade.conf"
    upgrade
    expect_installed 0.2.0
}

unverifiable_source_is_refused() {
    make_machine "SIGNING_KEY="
    refuses "upgrade.conf needs SIGNING_KEY or SHA256"
    make_machine "SOURCE=http://downloads.example/latest"
    refuses '"http://downloads.example/latest" must be an https or file URL'
    make_machine "RELEASES=http://downloads.example/{version}"
    refuses "must be an https or file URL"
    expect_equal "" "$(cat "$work/curl.log")" "fetched"
}

wrong_targets_are_refused() {
    local target
    make_installed_machine
    : >"$work/curl.log"
    for target in ../0.3.0 '0.3.0 x' -rf '0.3;x' "$(printf '1%.0s' {1..65})"; do
        request "$target"
        refuses "the requested runtime version is not a version"
        expect_result failed "is not a version"
    done
    expect_equal "" "$(cat "$work/curl.log")" "fetched"
    printf '{"initiatedAt":"x"}' >"$state/upgrade-request.json"
    refuses "upgrade-request.json is not a request"
    [[ ! -e $state/upgrade-request.json ]]
}

openclaw_alone_is_not_installed() {
    make_installed_machine
    request "" 2026.10.1
    refuses "the request is for OpenClaw 2026.10.1"
    request 0.2.0 2026.10.1
    fails upgrade
    expect_result failed "runtime 0.2.0 is installed already; OpenClaw 2026.10.1"
    expect_equal "" "$(cat "$work/systemctl.log")" "systemctl"
}

# The runtime's user must not make root read or write other files.
links_are_not_followed() {
    make_installed_machine
    publish 0.3.0
    echo secret >"$work/victim"
    chmod 0600 "$work/victim"
    ln -s "$work/victim" "$state/upgrade-result.json.new"
    request 0.3.0
    upgrade
    expect_equal secret "$(cat "$work/victim")" "victim"
    rm -f "$state/"*
    ln -s "$work/victim" "$state/upgrade-request.json"
    fails upgrade >"$work/output"
    expect_lacks "$(cat "$work/output" "$machine/var/lib/mission-control/"*)" secret
    rm -f "$state/"*
    mkfifo "$state/upgrade-request.json"
    chown "$STATE_UID" "$state/upgrade-request.json"
    sed 's/exec timeout 30/exec timeout 1/' "$SCRIPT" >"$work/impatient"
    fails env UPGRADE_ROOT="$machine" PATH="$work/bin:$PATH" timeout 20 sh "$work/impatient"
}

# After a power failure in the middle; an old one has failed by now.
interrupted_request_is_resumed() {
    make_installed_machine
    publish 0.3.0
    request 0.3.0
    mv "$state/upgrade-request.json" "$machine/var/lib/mission-control/request"
    upgrade
    expect_success
    echo '{"initiatedAt":1,"targetRuntimeVersion":"0.2.0"}' >"$machine/var/lib/mission-control/request"
    upgrade
    expect_installed 0.3.0
}

# As with DynamicUser=: the state directory is a link to one that only root can reach.
dynamic_user_is_served() {
    make_installed_machine
    mkdir -m 0700 "$machine/var/lib/private"
    mv "$state" "$machine/var/lib/private"
    ln -s private/mission-control-runtime "$state"
    publish 0.4.0
    request 0.4.0
    fails upgrade
    expect_result rolled_back "runtime 0.4.0 did not become healthy"
}

# A machine whose source has moved on does not overtake the board.
source_is_followed_only_if_allowed() {
    make_installed_machine
    publish 0.3.0
    ln -sfn 0.3.0 "$work/releases/current"
    upgrade
    expect_installed 0.2.0
    echo UPGRADE_FOLLOW=board >>"$machine/etc/mission-control/runtime.env"
    upgrade
    expect_installed 0.2.0
    echo 'UPGRADE_FOLLOW="tag"' >>"$machine/etc/mission-control/runtime.env"
    upgrade
    expect_installed 0.3.0
    publish 0.4.0
    ln -sfn 0.4.0 "$work/releases/current"
    fails upgrade
    expect_installed 0.3.0
    # It is not tried again.
    upgrade
    expect_installed 0.3.0
}

make_container_machine() {
    make_machine KIND=container SOURCE=registry.example:5000/runtime:latest "$@"
    echo "mission-control-runtime 0.2.0 " >"$machine/program"
    echo 0.2.0 >"$work/running"
    mkdir -p "$machine/var/lib/mission-control"
    echo x >"$machine/var/lib/mission-control/tried"
}

requested_image_is_pulled() {
    make_container_machine SIGNING_KEY=
    request 0.3.0
    upgrade
    expect_success
    grep -qx 'pull --quiet registry.example:5000/runtime:0.3.0' "$work/docker.log"
    grep -qx 'tag registry.example:5000/runtime:0.3.0 mission-control-runtime:current' "$work/docker.log"
}

signed_digest_of_image_is_pulled() {
    make_container_machine
    publish 0.3.0
    request 0.3.0
    upgrade
    grep -qx 'pull --quiet registry.example:5000/runtime@sha256:030abc' "$work/docker.log"
    : >"$work/docker.log"
    echo "x  image" >>"$work/releases/0.3.0/SHA256SUMS"
    request 0.3.0
    fails upgrade
    expect_result failed "is not valid"
    expect_equal "" "$(cat "$work/docker.log")" "docker"
}

unhealthy_image_is_rolled_back() {
    make_container_machine SIGNING_KEY=
    echo 0.2.0 >"$work/ready"
    request 0.3.0
    fails upgrade
    expect_result rolled_back "runtime 0.3.0 did not become healthy"
    expect_equal "tag mission-control-runtime:previous mission-control-runtime:current" \
        "$(tail -n 1 "$work/docker.log")"
}

# Whatever may wait for a network, a daemon or a program has a limit.
everything_has_a_limit() {
    expect_equal "" "$(grep -nE '(docker (pull|run)|systemctl (restart|enable)|minisign -V|docker image prune|--version \|)' \
        "$SCRIPT" | grep -vE 'timeout [0-9]+|^[0-9]+: +.*--security-opt')" "without a limit"
    expect_equal "" "$(grep -nE '^ *curl ' "$SCRIPT" -A 1 | grep -oE 'max-time [0-9]+' | grep -vE '300|5')"
    expect_equal 2 "$(grep -cE '^ *curl ' "$SCRIPT")" "calls of curl"
    grep -qE '^TimeoutStartSec=' deploy/systemd/mission-control-upgrade.service
}

main() {
    cd "$ROOT"
    has_tools "installing what the board requests" minisign setpriv curl dpkg || { finish && return; }
    if ((EUID != 0)); then skip "installing what the board requests" "it needs root" && finish && return; fi
    # Other users must reach the state directory.
    chmod 0755 "$work"
    minisign -G -f -W -p "$work/key.pub" -s "$work/key" >/dev/null
    make_stand_ins
    check "the first installation" first_installation
    check "the requested version is installed" requested_version_is_installed
    check "a version that is not healthy is rolled back, units too" unhealthy_version_is_rolled_back
    check "a machine that was not ready before is upgraded" unready_machine_is_upgraded
    check "a forged list of digests is refused" forged_list_is_refused
    check "a signature by another key is refused" foreign_key_is_refused
    check "a changed archive is refused" changed_archive_is_refused
    check "another version than the requested one is refused" other_version_is_refused
    check "a release that is not there is reported" missing_release_is_reported
    check "a pinned digest is enough" pinned_digest_is_enough
    check "a source without verification, and http, are refused" unverifiable_source_is_refused
    check "targets that are not versions are refused" wrong_targets_are_refused
    check "OpenClaw alone is not installed" openclaw_alone_is_not_installed
    check "links and pipes of the runtime's user are not followed" links_are_not_followed
    check "a dynamic user's directory is reached" dynamic_user_is_served
    check "an interrupted request is resumed" interrupted_request_is_resumed
    check "the source is followed only with UPGRADE_FOLLOW=tag" source_is_followed_only_if_allowed
    check "the requested image is pulled" requested_image_is_pulled
    check "an image is pulled by its signed digest" signed_digest_of_image_is_pulled
    check "an image that is not healthy is rolled back" unhealthy_image_is_rolled_back
    check "every step has a limit" everything_has_a_limit
    finish
}

main "$@"
