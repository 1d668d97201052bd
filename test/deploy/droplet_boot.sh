#!/usr/bin/env bash
# Boots a machine with the user data of the native variant, in a container with systemd, and looks
# at what came of it. Needs DEPLOY_ENGINE, the command of a container engine; DEPLOY_BASE may name
# another base image than debian:bookworm-slim.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"
# shellcheck source-path=SCRIPTDIR source=lib/machine.sh
. "$(dirname "$0")/lib/machine.sh"

readonly ACCOUNT=k57dr0p1et0000000000000000000000
readonly UNIT=mission-control-runtime.service
readonly SANDBOX=http://127.0.0.1:3210 RUNTIME=http://127.0.0.1:3001

render() {
    local name=gateway_secret
    echo "$name" >"$work/gateway_token"
    echo "mc_service_${ACCOUNT}_machine_secret" |
        scripts/render-cloud-init.sh --account "$ACCOUNT" --convex-url "$SANDBOX" \
            --native file:///srv/release --gateway-url "$SANDBOX" \
            --gateway-token-file "$work/gateway_token" --output "$work/user-data"
}

# until_true LIMIT_S COMMAND: on the machine, until COMMAND succeeds.
until_true() {
    inside "for try in \$(seq $(($1 * 10))); do if $2; then exit; fi; sleep 0.1; done; exit 1"
}

runtime_serves() {
    until_true 20 "curl -fs $RUNTIME/health | grep -q '\"status\": \"healthy\"'" ||
        inside "curl -sS $RUNTIME/health; journalctl -n 30 --no-pager -u $UNIT; exit 1"
    inside "[[ \$(ps -o user= -p \$(systemctl show -P MainPID $UNIT)) == mission* ]]"
}

# From the metadata service, which knows no region.
knows_machine() {
    inside "curl -fsS $RUNTIME/version" | tee /dev/stderr | grep -q '"dropletId":"4711".*"region":"unknown"'
    inside "grep -x DROPLET_IP=203.0.113.7 /run/mission-control/machine.env"
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

secrets_are_kept() {
    inside "[[ \$(stat -c %a /etc/mission-control/*_token | sort -u) == 600 ]]
        [[ \$(stat -c %a /etc/mission-control/runtime.env) == 600 ]]
        journalctl >/tmp/journal; ps axww >/tmp/processes"
    fails inside "grep -rlE 'machine_secret|gateway_secret' /etc/systemd/system/mission* /usr/local \
        /tmp/journal /tmp/processes /proc/\$(systemctl show -P MainPID $UNIT)/environ"
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

# Everything that a setup changes, in one text.
machine_state() {
    inside "find /etc /usr/local -type f ! -name '*.gz' -print0 | sort -z | xargs -0 sha256sum
        find /etc/systemd -type l -printf '%p %l\n' | sort
        stat -c '%n %U %a' /etc/mission-control/*
        nft list ruleset
        systemctl show -P InvocationID $UNIT"
}

setup_is_idempotent() {
    machine_state >"$work/before"
    inside /usr/local/sbin/mission-control-setup
    machine_state >"$work/after"
    (($(wc -l <"$work/before") > 50))
    diff "$work/before" "$work/after"
}

# release COMMAND: a new release, whose program COMMAND made out of "$program".
release() {
    inside "folder=\$(mktemp -d); cd /srv/release; archive=\$(echo *.tar.gz)
        tar -xzf \$archive -C \$folder; program=\$folder/usr/local/bin/mission-control-runtime
        $1
        tar -czf \$archive -C \$folder usr; sha256sum \$archive >SHA256SUMS; rm -rf \$folder"
}

invocation() {
    inside "systemctl show -P InvocationID $UNIT"
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
    check "the user data is made" render
    check "a machine is built" build_machine
    boot_machine "$work/user-data"
    check "cloud-init sets it up" booted
    if ((failed > 0)); then finish; fi
    check "the runtime serves, as a user of its own" runtime_serves
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
    check "a hung runtime is replaced" hung_runtime_is_replaced
    check "a stop waits for the agent at work" stop_is_orderly
    check "metadata is not waited for" metadata_is_not_waited_for
    finish
}

main "$@"
