#!/usr/bin/env bash
# Starts the OpenClaw gateway with a configuration derived from the environment.
#
# Usage: start-openclaw.sh
#
# Settings are environment variables, listed in docs/gateway.md. Exits with the gateway's status, with 0
# if a gateway already responds on the port, with 78 if the configuration is invalid.

set -euo pipefail

# The memory of the gateway and of its agents holds tokens, which a core dump would write to disk.
ulimit -c 0

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly HERE
readonly EX_UNAVAILABLE=69
# The runtime's secrets and settings, which may share an .env file with the gateway, and the gateway token,
# which is in the configuration.
readonly HIDDEN_FROM_AGENTS=(SERVICE_TOKEN SERVICE_TOKEN_FILE CONVEX_URL ACCOUNT_ID ACCOUNT_ID_FILE
    OPENCLAW_GATEWAY_TOKEN OPENCLAW_GATEWAY_TOKEN_FILE OPENCLAW_GENERATED_TOKEN_FILE
    OPENCLAW_GATEWAY_URL)

say() {
    printf 'start-openclaw: %s\n' "$*" >&2
}

# gateway_responds PORT: whether a gateway is already running there.
gateway_responds() {
    local line
    { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
    printf 'GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
    while IFS= read -r -t 3 line <&3 || [[ -n $line ]]; do
        if [[ $line == *'"ok":true'* ]]; then return 0; fi
    done
    exec 3>&-
    return 1
}

# The directory of the openclaw package; merge-config.mjs uses the JSON5 parser in it.
package_dir() {
    local command
    command=$(command -v openclaw) || {
        say "openclaw not found in PATH; run npm install -g openclaw"
        exit "$EX_UNAVAILABLE"
    }
    dirname "$(readlink -f "$command")"
}

# A killed browser leaves lock files naming a host that may no longer exist, and the next browser would
# consider the profile in use. The gateway cleans up its own locks.
remove_browser_locks() {
    local browsers=${OPENCLAW_STATE_DIR:-$HOME/.openclaw}/browser
    [[ -d $browsers ]] || return 0
    find "$browsers" \( -name SingletonLock -o -name SingletonSocket -o -name SingletonCookie \) \
        -delete
}

# A Kubernetes Service named "openclaw-gateway" sets the variable to its address; the gateway also reads it.
ignore_service_link() {
    if [[ ${OPENCLAW_GATEWAY_PORT-} =~ ^(tcp|udp|sctp):// ]]; then
        say "OPENCLAW_GATEWAY_PORT $OPENCLAW_GATEWAY_PORT is ignored: Kubernetes sets it to the address of a Service"
        unset OPENCLAW_GATEWAY_PORT
    fi
}

# Renames Vercel's key; models.mjs explains why the gateway must not see AI_GATEWAY_API_KEY.
rename_vercel_key() {
    if [[ -n ${AI_GATEWAY_API_KEY-} ]]; then
        export VERCEL_AI_GATEWAY_API_KEY=${VERCEL_AI_GATEWAY_API_KEY:-$AI_GATEWAY_API_KEY}
    fi
    unset AI_GATEWAY_API_KEY
}

# The gateway includes files outside its configuration's directory only if it is told so.
permit_agents_file() {
    local file directory
    file=$(node "$HERE/merge-config.mjs" --print-agents-file)
    directory=$(dirname "$file")
    if [[ -n $file && :${OPENCLAW_INCLUDE_ROOTS-}: != *:"$directory":* ]]; then
        OPENCLAW_INCLUDE_ROOTS=${OPENCLAW_INCLUDE_ROOTS:+$OPENCLAW_INCLUDE_ROOTS:}$directory
        export OPENCLAW_INCLUDE_ROOTS
    fi
}

# As PID 1 of a container it must reap orphaned processes, hence tini.
exec_gateway() {
    local command=(openclaw gateway run)
    if (($$ == 1)) && command -v tini >/dev/null; then command=(tini -- "${command[@]}"); fi
    exec "${command[@]}"
}

main() {
    local port
    umask 077
    ignore_service_link
    OPENCLAW_PACKAGE_DIR=$(package_dir)
    export OPENCLAW_PACKAGE_DIR
    port=$(node "$HERE/merge-config.mjs" --print-port)
    if gateway_responds "$port"; then
        say "a gateway already responds on port $port"
        return
    fi
    node "$HERE/merge-config.mjs"
    permit_agents_file
    remove_browser_locks
    rename_vercel_key
    unset "${HIDDEN_FROM_AGENTS[@]}" OPENCLAW_PACKAGE_DIR
    cd "$HOME"
    exec_gateway
}

main
