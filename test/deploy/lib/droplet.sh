# A Droplet of the tests: a machine that has been set up by the user data of one variant, and what
# has to hold whichever it is. Sourced after checks.sh, never run.
# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR source=machine.sh
. "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

readonly ACCOUNT=k57dr0p1et0000000000000000000000
readonly UNIT=mission-control-runtime.service
readonly SANDBOX=http://127.0.0.1:3210 RUNTIME=http://127.0.0.1:3001

# render ARGUMENT...: the user data, with the arguments that tell where the runtime comes from.
render() {
    echo gateway_secret >"$work/gateway_token"
    echo "mc_service_${ACCOUNT}_machine_secret" |
        scripts/render-cloud-init.sh --account "$ACCOUNT" --convex-url "$SANDBOX" "$@" \
            --gateway-url "$SANDBOX" --gateway-token-file "$work/gateway_token" \
            --output "$work/user-data"
}

# until_true LIMIT_S COMMAND: on the machine, until COMMAND succeeds.
until_true() {
    inside "for try in \$(seq $(($1 * 10))); do if $2; then exit; fi; sleep 0.1; done; exit 1"
}

runtime_serves() {
    until_true 20 "curl -fs $RUNTIME/health | grep -q '\"status\": \"healthy\"'" ||
        inside "curl -sS $RUNTIME/health; journalctl -n 30 --no-pager -u $UNIT; exit 1"
}

# From the metadata service, which knows no region.
knows_machine() {
    inside "curl -fsS $RUNTIME/version" | tee /dev/stderr | grep -q '"dropletId":"4711".*"region":"unknown"'
    inside "grep -x DROPLET_IP=203.0.113.7 /run/mission-control/machine.env"
}

secrets_are_kept() {
    inside "[[ \$(stat -c %a /etc/mission-control/*_token | sort -u) == 600 ]]
        [[ \$(stat -c %a /etc/mission-control/runtime.env) == 600 ]]
        journalctl >/tmp/journal; ps axww >/tmp/processes"
    fails inside "grep -rlE 'machine_secret|gateway_secret' /etc/systemd/system/mission* /usr/local \
        /tmp/journal /tmp/processes /proc/\$(systemctl show -P MainPID $UNIT)/environ"
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

invocation() {
    inside "systemctl show -P InvocationID $UNIT"
}
