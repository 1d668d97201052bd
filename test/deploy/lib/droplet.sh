# A test Droplet: a machine set up by the user data of one variant, and the checks that apply to every
# variant. Source this file after checks.sh, do not run it.
# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR source=machine.sh
. "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

readonly ACCOUNT=k57dr0p1et0000000000000000000000
readonly UNIT=mission-control-runtime.service
readonly SANDBOX=http://127.0.0.1:3210 RUNTIME=http://127.0.0.1:3001

# render ARGUMENT...: renders the user data; the arguments say where the runtime comes from.
render() {
    echo gateway_secret >"$work/gateway_token"
    echo "mc_service_${ACCOUNT}_machine_secret" |
        scripts/render-cloud-init.sh --account "$ACCOUNT" --convex-url "$SANDBOX" "$@" \
            --gateway-url "$SANDBOX" --gateway-token-file "$work/gateway_token" \
            --output "$work/user-data"
}

# make_signing_key: prints the public half of a new key; releases are signed on the machine, too.
make_signing_key() {
    minisign -G -f -W -p "$work/release.pub" -s "$work/release.key" >/dev/null
    sed -n 2p "$work/release.pub"
}

# The board requests that version of the runtime, whatever OpenClaw's is.
request_upgrade() {
    machine_exec "curl -fsS -d '{\"openclaw\": \"\", \"runtime\": \"$1\"}' $SANDBOX/sandbox/upgrade"
}

# Waits until the last upgrade in the board's history has that status.
wait_for_history() {
    machine_wait_until 240 "[[ \$(curl -fsS '$SANDBOX/sandbox/state?tables=runtimes' | python3 -c '
import json, sys
print((json.load(sys.stdin)[\"runtimes\"][0].get(\"upgradeHistory\") or [{}])[-1].get(\"status\"))') == $1 ]]" ||
        machine_exec "curl -sS '$SANDBOX/sandbox/state?tables=runtimes'
            journalctl -n 40 --no-pager -u mission-control-upgrade -u $UNIT; exit 1"
}

runs_version() {
    machine_wait_until 20 "curl -fs $RUNTIME/version | grep -q '\"runtimeServiceVersion\":\"$1\"'"
}

# machine_wait_until LIMIT_S COMMAND: repeats COMMAND on the machine until it succeeds; fails on timeout.
machine_wait_until() {
    machine_exec "for try in \$(seq $(($1 * 10))); do if $2; then exit; fi; sleep 0.1; done; exit 1"
}

runtime_serves() {
    machine_wait_until 20 "curl -fs $RUNTIME/health | grep -q '\"status\": \"healthy\"'" ||
        machine_exec "curl -sS $RUNTIME/health; journalctl -n 30 --no-pager -u $UNIT; exit 1"
}

# The id and the address come from the metadata service, which has no region.
metadata_is_used() {
    machine_exec "curl -fsS $RUNTIME/version" | tee /dev/stderr | grep -q '"dropletId":"4711".*"region":"unknown"'
    machine_exec "grep -x DROPLET_IP=203.0.113.7 /run/mission-control/machine.env"
}

secrets_are_kept() {
    machine_exec "[[ \$(stat -c %a /etc/mission-control/*_token | sort -u) == 600 ]]
        [[ \$(stat -c %a /etc/mission-control/runtime.env) == 600 ]]
        journalctl >/tmp/journal; ps axww >/tmp/processes"
    fails machine_exec "grep -rlE 'machine_secret|gateway_secret' /etc/systemd/system/mission* /usr/local \
        /tmp/journal /tmp/processes /proc/\$(systemctl show -P MainPID $UNIT)/environ"
}

# Prints everything that a setup changes.
machine_state() {
    machine_exec "find /etc /usr/local -type f ! -name '*.gz' -print0 | sort -z | xargs -0 sha256sum
        find /etc/systemd -type l -printf '%p %l\n' | sort
        stat -c '%n %U %a' /etc/mission-control/*
        nft list ruleset
        systemctl show -P InvocationID $UNIT"
}

setup_is_idempotent() {
    machine_state >"$work/before"
    machine_exec /usr/local/sbin/mission-control-setup
    machine_state >"$work/after"
    (($(wc -l <"$work/before") > 50))
    diff "$work/before" "$work/after"
}

invocation() {
    machine_exec "systemctl show -P InvocationID $UNIT"
}
