#!/usr/bin/env bash
# Boots a machine with the native variant's user data, in a container with systemd, and checks the
# result. Needs DEPLOY_ENGINE, the command of a container engine; DEPLOY_BASE overrides the base image
# (debian:bookworm-slim).

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"
# shellcheck source-path=SCRIPTDIR source=lib/droplet.sh
. "$(dirname "$0")/lib/droplet.sh"

# shellcheck disable=SC2034 # machine.sh reads it
machine_packages="minisign"

install_extra_files() {
    install -D -m 0600 "$work/release.key" "$1/srv/release.key"
    minisign -S -s "$work/release.key" -m "$1/srv/release/SHA256SUMS" >/dev/null
}

runs_as_its_user() {
    machine_exec "[[ \$(ps -o user= -p \$(systemctl show -P MainPID $UNIT)) == mission* ]]"
}

# A metadata service that accepts connections and never answers must not block the boot.
silent_metadata_does_not_block_boot() {
    machine_exec "systemctl stop metadata.service
        ip address show dev lo | grep -q 169.254.169.254
        python3 -c 'import socket, time
s = socket.create_server((\"169.254.169.254\", 80)); time.sleep(60)' & silent=\$!
        until (: <>/dev/tcp/169.254.169.254/80) 2>/dev/null; do kill -0 \$silent; sleep 0.1; done
        began=\$SECONDS
        systemctl restart mission-control-machine.service
        kill \$silent
        cat /run/mission-control/machine.env
        ((SECONDS - began < 11))
        (( \$(grep -c =unknown\$ /run/mission-control/machine.env) == 3 ))"
}

# A second network namespace plays the outside network.
make_outside() {
    machine_exec "ip netns add outside
        ip link add inner type veth peer name outer netns outside
        ip address add 10.9.0.1/24 dev inner; ip link set inner up
        ip -n outside address add 10.9.0.2/24 dev outer; ip -n outside link set outer up
        for port in 22 8080; do
            systemd-run --quiet --unit=listener-\$port python3 -m http.server \$port
        done"
    machine_wait_until 20 "curl -fs -o /dev/null http://10.9.0.1:8080 && curl -fs -o /dev/null http://10.9.0.1:22"
}

outside_reaches() {
    machine_exec "ip netns exec outside curl -s -o /dev/null --max-time 3 --connect-timeout 1 http://10.9.0.1:$1"
}

only_ssh_is_reachable() {
    outside_reaches 22
    fails outside_reaches 8080
}

metadata_is_root_only() {
    machine_exec "curl -fsS --max-time 2 http://169.254.169.254/metadata/v1/id"
    fails machine_exec "runuser -u mission-control -- curl -fs --max-time 2 http://169.254.169.254/metadata/v1/id"
}

upgrades_are_automatic() {
    machine_exec "systemctl is-enabled mission-control-upgrade.timer mission-control-upgrade.path nftables.service $UNIT
        systemctl is-active mission-control-upgrade.timer mission-control-upgrade.path nftables.service
        apt-config dump | grep -x 'APT::Periodic::Unattended-Upgrade \"1\";'"
}

# publish_release COMMAND [DIR]: publishes a release in which COMMAND has modified "$program" or "$unit".
publish_release() {
    machine_exec "directory=\$(mktemp -d); to=${2:-/srv/release}; mkdir -p \$to; cd \$to
        archive=\$(basename /srv/release/*.tar.gz)
        tar -xzf /srv/release/\$archive -C \$directory
        program=\$directory/usr/local/bin/mission-control-runtime
        unit=\$directory/usr/local/lib/systemd/system/$UNIT
        $1
        tar -czf \$archive -C \$directory usr; sha256sum \$archive >SHA256SUMS; rm -rf \$directory
        minisign -S -s /srv/release.key -m SHA256SUMS >/dev/null"
}

# The board's request leads to the new version within seconds, and to a success in its history.
requested_version_is_installed() {
    machine_exec "echo HEALTH_CHECK_INTERVAL=1000 >>/etc/mission-control/runtime.env; systemctl restart $UNIT"
    runtime_serves
    publish_release "perl -pi -e 's/0\.2\.0/0.3.0/g' \$program; echo '# 0.3.0' >>\$unit" /srv/0.3.0
    request_upgrade 0.3.0
    wait_for_history success
    runs_version 0.3.0
    machine_exec "grep -x '# 0.3.0' /usr/local/lib/systemd/system/$UNIT
        ! ls /var/lib/mission-control-runtime/upgrade-re*"
}

# A broken one leads to the old version with its units, and to rolled_back with the reason.
broken_version_is_rolled_back() {
    publish_release "printf '%s\n' '#!/bin/sh' '[ \"\$1\" != --version ] || exec echo mission-control-runtime 0.4.0' \
        'exit 70' >\$program; echo '# 0.4.0' >>\$unit" /srv/0.4.0
    request_upgrade 0.4.0
    wait_for_history rolled_back
    machine_exec "curl -fsS '$SANDBOX/sandbox/state?tables=runtimes' | grep 'runtime 0.4.0 did not become healthy'"
    runs_version 0.3.0
    runtime_serves
    machine_exec "tail -n 1 /usr/local/lib/systemd/system/$UNIT | grep -x '# 0.3.0'"
}

# Until 25 min have passed the reason is on /health, and nothing is recorded.
forged_version_is_refused() {
    publish_release "touch \$program" /srv/0.5.0
    machine_exec "echo >>/srv/0.5.0/SHA256SUMS"
    request_upgrade 0.5.0
    machine_wait_until 60 "curl -fs $RUNTIME/health | grep 'the installer reported: the signature of'"
    runs_version 0.3.0
    machine_exec "curl -fsS -d '{\"clear\": true}' $SANDBOX/sandbox/upgrade"
    machine_wait_until 20 "curl -fs $RUNTIME/health | grep '\"upgrade\": null'"
}

# As after make install: the state directory is a link to one that only root can reach.
dynamic_user_is_served() {
    machine_exec "sed -i 's/^DynamicUser=no/DynamicUser=yes/; /^User=/d' /etc/systemd/system/$UNIT.d/droplet.conf
        systemctl daemon-reload; systemctl restart $UNIT; test -L /var/lib/mission-control-runtime"
    runtime_serves
    publish_release "perl -pi -e 's/0\.2\.0/0.6.0/g' \$program" /srv/0.6.0
    request_upgrade 0.6.0
    wait_for_history success
    runs_version 0.6.0
    publish_release "printf '%s\n' '#!/bin/sh' 'echo mission-control-runtime 0.7.0; exit 70' >\$program" /srv/0.7.0
    request_upgrade 0.7.0
    wait_for_history rolled_back
    runs_version 0.6.0
}

# From here on the machine follows its source.
source_is_followed() {
    machine_exec "echo UPGRADE_FOLLOW=tag >>/etc/mission-control/runtime.env"
    good_release_is_applied
}

good_release_is_applied() {
    local before
    before=$(invocation)
    publish_release "cp \$program /srv/good; echo >>\$program"
    machine_exec "systemctl start mission-control-upgrade.service"
    [[ $(invocation) != "$before" ]]
    fails machine_exec "cmp -s /srv/good /usr/local/bin/mission-control-runtime"
    machine_exec "curl -fs -o /dev/null $RUNTIME/health"
}

bad_release_is_rolled_back() {
    local kept
    kept=$(machine_exec "sha256sum </usr/local/bin/mission-control-runtime")
    publish_release "printf '#!/bin/sh\n[ \"\$1\" != --version ] || exec echo mission-control-runtime 9\nexit 70\n' >\$program"
    fails machine_exec "systemctl start mission-control-upgrade.service"
    [[ $(machine_exec "sha256sum </usr/local/bin/mission-control-runtime") == "$kept" ]]
    machine_wait_until 20 "curl -fs -o /dev/null $RUNTIME/health"
    # The next check skips that release.
    machine_exec "systemctl start mission-control-upgrade.service"
}

tampered_release_is_refused() {
    machine_exec "cd /srv/release; sed -i 's/^..../0000/' SHA256SUMS"
    fails machine_exec "systemctl start mission-control-upgrade.service"
    machine_exec "curl -fs -o /dev/null $RUNTIME/health"
}

missed_first_installation_is_repeated() {
    machine_exec "systemctl disable --now $UNIT; rm /var/lib/mission-control/tried; systemctl reset-failed"
    publish_release "cp /srv/good \$program"
    machine_exec "systemctl start mission-control-upgrade.service; systemctl is-enabled $UNIT
        curl -fs -o /dev/null $RUNTIME/health"
}

hung_runtime_is_restarted() {
    machine_exec "mkdir -p /run/systemd/system/$UNIT.d
        printf '[Service]\nWatchdogSec=2s\n' >/run/systemd/system/$UNIT.d/watchdog.conf
        systemctl daemon-reload; systemctl restart $UNIT
        kill -STOP \$(systemctl show -P MainPID $UNIT)"
    machine_wait_until 30 "((\$(systemctl show -P NRestarts $UNIT) > 0)) && curl -fs -o /dev/null $RUNTIME/health"
}

# Shutdown waits for an agent run that takes longer than the watchdog interval.
shutdown_waits_for_run() {
    machine_exec "curl -fsS -d '{\"gateway\": [{\"latency_ms\": 5000}]}' $SANDBOX/sandbox/faults
        curl -fsS -d '{\"notifications\": 1, \"agents\": 1}' $SANDBOX/sandbox/load
        curl -fsS '$SANDBOX/sandbox/wait?deliveries=1&timeout_ms=20000' | grep -q '\"met\": *true'
        systemctl stop $UNIT
        curl -fsS '$SANDBOX/sandbox/stats'
        curl -fsS '$SANDBOX/sandbox/wait?delivered=1&timeout_ms=100' | grep -q '\"met\": *true'
        [[ \$(systemctl show -P Result $UNIT) == success ]]
        journalctl -n 5 --no-pager -u $UNIT | grep 'Shutdown complete'"
}

main() {
    cd "$ROOT"
    if ! has_engine "booting a Droplet"; then finish && return; fi
    has_tools "booting a Droplet" minisign || { finish && return; }
    signing_key=$(make_signing_key)
    check "the user data is rendered" render --native file:///srv/release --releases 'file:///srv/{version}' \
        --signing-key "$signing_key"
    check "the machine is built" build_machine
    boot_machine "$work/user-data"
    check "cloud-init completes" wait_for_boot
    if ((failed > 0)); then finish; fi
    check "the runtime serves" runtime_serves
    check "the runtime runs as its own user" runs_as_its_user
    check "machine id and address come from the metadata" metadata_is_used
    check "secrets are in files of mode 0600 only" secrets_are_kept
    check "an outside network is set up" make_outside
    check "only SSH is reachable from outside" only_ssh_is_reachable
    check "only root can read the metadata" metadata_is_root_only
    check "upgrades are automatic" upgrades_are_automatic
    check "a second setup changes nothing" setup_is_idempotent
    check "a version that the board requests is installed" requested_version_is_installed
    check "a broken version is rolled back, and its units" broken_version_is_rolled_back
    check "a version with a forged list is refused" forged_version_is_refused
    check "a runtime with a dynamic user is upgraded" dynamic_user_is_served
    check "with UPGRADE_FOLLOW=tag a good release is applied" source_is_followed
    check "a bad release is rolled back" bad_release_is_rolled_back
    check "a tampered release is refused" tampered_release_is_refused
    check "a missed first installation is repeated" missed_first_installation_is_repeated
    check "a hung runtime is restarted" hung_runtime_is_restarted
    check "shutdown waits for the run in flight" shutdown_waits_for_run
    check "a silent metadata service does not block the boot" silent_metadata_does_not_block_boot
    finish
}

main "$@"
