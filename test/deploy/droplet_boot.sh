#!/usr/bin/env bash
# Boots a machine with the user data of the native variant, in a container with systemd, and looks
# at what came of it. Needs DEPLOY_ENGINE, the command of a container engine; DEPLOY_BASE may name
# another base image than debian:bookworm-slim.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"
# shellcheck source-path=SCRIPTDIR source=lib/droplet.sh
. "$(dirname "$0")/lib/droplet.sh"

has_its_user() {
    inside "[[ \$(ps -o user= -p \$(systemctl show -P MainPID $UNIT)) == mission* ]]"
}

# With a metadata service that takes connections and says nothing, the boot goes on all the same.
metadata_is_not_waited_for() {
    inside "systemctl stop metadata.service
        ip address show dev lo | grep -q 169.254.169.254
        python3 -c 'import socket, time
s = socket.create_server((\"169.254.169.254\", 80)); time.sleep(60)' & silent=\$!
        sleep 0.5
        began=\$SECONDS
        systemctl restart mission-control-machine.service
        kill \$silent
        cat /run/mission-control/machine.env
        ((SECONDS - began < 11))
        (( \$(grep -c =unknown\$ /run/mission-control/machine.env) == 3 ))"
}

# A second namespace plays the network outside.
make_outside() {
    inside "ip netns add outside
        ip link add inner type veth peer name outer netns outside
        ip address add 10.9.0.1/24 dev inner; ip link set inner up
        ip -n outside address add 10.9.0.2/24 dev outer; ip -n outside link set outer up
        for port in 22 8080; do
            systemd-run --quiet --unit=listener-\$port python3 -m http.server \$port
        done"
    until_true 20 "curl -fs -o /dev/null http://10.9.0.1:8080 && curl -fs -o /dev/null http://10.9.0.1:22"
}

outside_reaches() {
    inside "ip netns exec outside curl -s -o /dev/null --max-time 3 --connect-timeout 1 http://10.9.0.1:$1"
}

only_ssh_is_open() {
    outside_reaches 22
    fails outside_reaches 8080
}

metadata_is_for_root() {
    inside "curl -fsS --max-time 2 http://169.254.169.254/metadata/v1/id"
    fails inside "runuser -u mission-control -- curl -fs --max-time 2 http://169.254.169.254/metadata/v1/id"
}

upgrades_by_themselves() {
    inside "systemctl is-enabled mission-control-upgrade.timer nftables.service $UNIT
        systemctl is-active mission-control-upgrade.timer nftables.service
        apt-config dump | grep -x 'APT::Periodic::Unattended-Upgrade \"1\";'"
}

# release COMMAND: a new release, whose program COMMAND made out of "$program".
release() {
    inside "directory=\$(mktemp -d); cd /srv/release; archive=\$(echo *.tar.gz)
        tar -xzf \$archive -C \$directory; program=\$directory/usr/local/bin/mission-control-runtime
        $1
        tar -czf \$archive -C \$directory usr; sha256sum \$archive >SHA256SUMS; rm -rf \$directory"
}

good_release_is_applied() {
    local before
    before=$(invocation)
    release "cp \$program /srv/good; echo >>\$program"
    inside "systemctl start mission-control-upgrade.service"
    [[ $(invocation) != "$before" ]]
    fails inside "cmp -s /srv/good /usr/local/bin/mission-control-runtime"
    inside "curl -fs -o /dev/null $RUNTIME/health"
}

bad_release_is_taken_back() {
    local kept
    kept=$(inside "sha256sum </usr/local/bin/mission-control-runtime")
    release "printf '#!/bin/sh\nexit 70\n' >\$program"
    fails inside "systemctl start mission-control-upgrade.service"
    [[ $(inside "sha256sum </usr/local/bin/mission-control-runtime") == "$kept" ]]
    until_true 20 "curl -fs -o /dev/null $RUNTIME/health"
    # The next look leaves it alone.
    inside "systemctl start mission-control-upgrade.service"
}

tampered_release_is_refused() {
    inside "cd /srv/release; sed -i 's/^..../0000/' SHA256SUMS"
    fails inside "systemctl start mission-control-upgrade.service"
    inside "curl -fs -o /dev/null $RUNTIME/health"
}

first_installation_is_made_up_for() {
    inside "systemctl disable --now $UNIT; rm /var/lib/mission-control/tried
        cd /srv/release; sha256sum *.tar.gz >SHA256SUMS; systemctl reset-failed"
    release "cp /srv/good \$program"
    inside "systemctl start mission-control-upgrade.service; systemctl is-enabled $UNIT
        curl -fs -o /dev/null $RUNTIME/health"
}

hung_runtime_is_replaced() {
    inside "mkdir -p /run/systemd/system/$UNIT.d
        printf '[Service]\nWatchdogSec=2s\n' >/run/systemd/system/$UNIT.d/watchdog.conf
        systemctl daemon-reload; systemctl restart $UNIT
        kill -STOP \$(systemctl show -P MainPID $UNIT)"
    until_true 30 "((\$(systemctl show -P NRestarts $UNIT) > 0)) && curl -fs -o /dev/null $RUNTIME/health"
}

# An agent is at work for longer than the watchdog's time while the runtime is being stopped.
stop_is_orderly() {
    inside "curl -fsS -d '{\"gateway\": [{\"latency_ms\": 5000}]}' $SANDBOX/sandbox/faults
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
    if ! engine "the boot of a Droplet"; then finish && return; fi
    check "the user data is made" render --native file:///srv/release
    check "a machine is built" build_machine
    boot_machine "$work/user-data"
    check "cloud-init sets it up" booted
    if ((failed > 0)); then finish; fi
    check "the runtime serves" runtime_serves
    check "it has a user of its own" has_its_user
    check "the machine is known by its metadata" knows_machine
    check "secrets are files of mode 0600 and nowhere else" secrets_are_kept
    check "the network outside is there" make_outside
    check "nothing but SSH is open" only_ssh_is_open
    check "root alone may ask for metadata" metadata_is_for_root
    check "upgrades come by themselves" upgrades_by_themselves
    check "a second setup changes nothing" setup_is_idempotent
    check "a good release is applied" good_release_is_applied
    check "a bad release is taken back" bad_release_is_taken_back
    check "a tampered release is refused" tampered_release_is_refused
    check "a first installation is made up for" first_installation_is_made_up_for
    check "a hung runtime is replaced" hung_runtime_is_replaced
    check "a stop waits for the agent at work" stop_is_orderly
    check "metadata is not waited for" metadata_is_not_waited_for
    finish
}

main "$@"
