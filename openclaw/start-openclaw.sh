#!/usr/bin/env bash
# Starts the OpenClaw gateway with a configuration that fits the environment.
#
# Usage: start-openclaw.sh
#
# Settings are environment variables; docs/gateway.md lists them. Ends with the gateway's status;
# with 0 when a gateway already answers on the port; with 78 when the configuration is wrong.

set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly HERE
readonly EX_UNAVAILABLE=69
# The account's secrets are the runtime's, although one .env file may serve both.
readonly NOT_FOR_AGENTS=(SERVICE_TOKEN SERVICE_TOKEN_FILE CONVEX_URL ACCOUNT_ID ACCOUNT_ID_FILE
    OPENCLAW_GATEWAY_TOKEN OPENCLAW_GATEWAY_TOKEN_FILE OPENCLAW_GATEWAY_URL)

say() {
    printf 'start-openclaw: %s\n' "$*" >&2
}

# gateway_answers PORT: whether a gateway is there already.
gateway_answers() {
    local line
    { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
    printf 'GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
    while IFS= read -r -t 3 line <&3 || [[ -n $line ]]; do
        if [[ $line == *'"ok":true'* ]]; then return 0; fi
    done
    exec 3>&-
    return 1
}

# The directory of the package that the command belongs to; its reader of configurations is used.
package_dir() {
    local command
    command=$(command -v openclaw) || {
        say "there is no openclaw in PATH: npm install -g openclaw"
        exit "$EX_UNAVAILABLE"
    }
    dirname "$(readlink -f "$command")"
}

# A browser that was killed leaves these, which name a machine that may no longer exist, and the
# next one would take its profile for one in use. The gateway's own locks need no such help.
remove_browser_locks() {
    local browsers=${OPENCLAW_STATE_DIR:-$HOME/.openclaw}/browser
    [[ -d $browsers ]] || return 0
    find "$browsers" \( -name SingletonLock -o -name SingletonSocket -o -name SingletonCookie \) \
        -delete
}

# models.mjs says why it must not have the other one.
use_one_name_of_vercels_key() {
    if [[ -n ${AI_GATEWAY_API_KEY-} ]]; then
        export VERCEL_AI_GATEWAY_API_KEY=${VERCEL_AI_GATEWAY_API_KEY:-$AI_GATEWAY_API_KEY}
    fi
    unset AI_GATEWAY_API_KEY
}

# As the first process of a container it has to take care of processes that lost their parent.
become_gateway() {
    local command=(openclaw gateway run)
    if (($$ == 1)) && command -v tini >/dev/null; then command=(tini -- "${command[@]}"); fi
    exec "${command[@]}"
}

main() {
    local port
    umask 077
    OPENCLAW_PACKAGE_DIR=$(package_dir)
    export OPENCLAW_PACKAGE_DIR
    port=$(node "$HERE/merge-config.mjs" --print-port)
    if gateway_answers "$port"; then
        say "a gateway already answers on port $port"
        return
    fi
    node "$HERE/merge-config.mjs"
    remove_browser_locks
    use_one_name_of_vercels_key
    unset "${NOT_FOR_AGENTS[@]}" OPENCLAW_PACKAGE_DIR
    cd "$HOME"
    become_gateway
}

main
