#!/usr/bin/env bash
# Builds the gateway's image and runs the profile openclaw of docker-compose.runtime.yml with it: the
# gateway's privileges, secrets and state, and that the runtime reaches it. The sandbox is the backend, a
# stub is the model provider. Needs DEPLOY_ENGINE, the command of a container engine, and npm's registry;
# passes with a note otherwise. The environment variables are those of test/deploy/lib/gateway.sh.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/gateway.sh
. "$(dirname "$0")/lib/gateway.sh"

readonly STOP_LIMIT_S=20
readonly KEPT_FILE=/home/openclaw/workspace/jarvis/kept

check_declarations() {
    expect_contains "$(docker run --rm --entrypoint openclaw "$gateway_image" --version)" "$release"
    expect_equal openclaw "$(inspect "$gateway_image" '{{.Config.User}}')" user
    expect_equal '{"/home/openclaw/.openclaw":{},"/home/openclaw/workspace":{}}' \
        "$(inspect "$gateway_image" '{{json .Config.Volumes}}')" volumes
    expect_equal '["/opt/openclaw/start-openclaw.sh"]' \
        "$(inspect "$gateway_image" '{{json .Config.Entrypoint}}')" "entry point"
    expect_lacks "$(docker history --no-trunc "$gateway_image")" SERVICE_TOKEN
}

make_demo_project() {
    make_project off --demo
    printf '%s\n' OPENCLAW_AGENTS=jarvis,friday OPENCLAW_FALLBACK_AGENT=main >>"$work/project/.env"
}

check_privileges() {
    expect_equal '["ALL"]' "$(inspect "$gateway" '{{json .HostConfig.CapDrop}}')" dropped
    expect_equal null "$(inspect "$gateway" '{{json .HostConfig.CapAdd}}')" added
    expect_equal '["no-new-privileges:true"]' "$(inspect "$gateway" '{{json .HostConfig.SecurityOpt}}')"
    expect_contains "$(gateway_exec 'cat /proc/1/status')" $'Uid:\t10001\t10001'
    expect_contains "$(gateway_exec 'cat /proc/1/status')" $'CapBnd:\t0000000000000000'
    expect_contains "$(gateway_exec 'cat /proc/1/status')" $'NoNewPrivs:\t1'
    expect_equal 262144 "$(gateway_exec 'df --output=size /dev/shm | tail -n 1 | tr -d " "')" "KiB of /dev/shm"
}

check_runtime_reaches_gateway() {
    wait_until 60 breaker_is_closed
    expect_contains "$(docker exec "$(container runtime)" mission-control-runtime --check-config)" \
        $'\nOPENCLAW_GATEWAY_URL=http://openclaw-gateway:18789 '
    docker exec "$(container runtime)" mission-control-runtime doctor
    network_request host GET "$HEALTH_PORT" /version
    expect_equal "$release" "$(network_request host GET "$HEALTH_PORT" /version | json_get openclawVersion)"
}

# Starts it as an agent's tool would, with the gateway's settings.
check_browser() {
    # shellcheck disable=SC2016
    gateway_exec 'config=$HOME/.openclaw/openclaw.json
        jq -e ".browser.enabled and .browser.headless and .browser.noSandbox" "$config"
        mapfile -t extra < <(jq -r ".browser.extraArgs[]" "$config")
        timeout 60 "$(jq -r .browser.executablePath "$config")" --headless --no-sandbox "${extra[@]}" \
            --user-data-dir="$(mktemp -d)" --dump-dom \
            "data:text/html,<script>document.write(6*7)</script>" | grep -F 42'
}

# Retried, since on a busy machine the command times out before the browser is up.
check_gateway_starts_browser() {
    # shellcheck disable=SC2016
    gateway_exec 'OPENCLAW_GATEWAY_TOKEN=$(jq -r .gateway.auth.token "$HOME/.openclaw/openclaw.json")
        export OPENCLAW_GATEWAY_TOKEN
        for try in 1 2 3; do if timeout 90 openclaw browser start; then break; fi; done
        pgrep -f remote-debugging-port
        timeout 90 openclaw browser stop'
}

# Configuration, agents and workspace are in the volumes.
check_volumes_survive() {
    local before
    gateway_exec "echo kept >$KEPT_FILE"
    before=$(gateway_exec 'cat ~/.openclaw/openclaw.json | sha256sum; ls ~/.openclaw/agents/jarvis')
    compose openclaw rm -f -s -v openclaw-gateway
    compose openclaw up --no-build -d --wait --no-deps openclaw-gateway
    expect_equal kept "$(gateway_exec "cat $KEPT_FILE")"
    expect_equal "$before" \
        "$(gateway_exec 'cat ~/.openclaw/openclaw.json | sha256sum; ls ~/.openclaw/agents/jarvis')"
    wait_until 60 breaker_is_closed
    message_is_answered "$SANDBOX_PORT"
}

check_idle_stop() {
    local began_ms
    expect_equal 340 "$(inspect "$gateway" '{{.Config.StopTimeout}}')" "seconds before it is killed"
    began_ms=$(now_ms)
    compose openclaw stop openclaw-gateway
    echo "stopped within $(($(now_ms) - began_ms)) ms"
    expect_equal 0 "$(inspect "$gateway" '{{.State.ExitCode}}')" "exit status"
    (($(now_ms) - began_ms < STOP_LIMIT_S * 1000))
}

test_profile() {
    gateway=$(container openclaw-gateway)
    check "it declares user, volumes and entry point, and is the pinned release" check_declarations
    check "the project is created" make_demo_project
    COMPOSE_FILE=$work/project/docker-compose.runtime.yml:$work/project/override.yml
    export GATEWAY_IMAGE=$gateway_image
    check "runtime and gateway start" check_gateway_starts
    if ! all_passed; then docker logs "$gateway" 2>&1 | tail -n 30 && return; fi
    check "it has no root, no capabilities, and enough shared memory" check_privileges
    check "SERVICE_TOKEN is not visible to it" check_no_service_token
    check "the runtime reaches it by default" check_runtime_reaches_gateway
    check "a message is answered" message_is_answered "$SANDBOX_PORT"
    check "Chromium runs in it" check_browser
    check "the gateway starts Chromium" check_gateway_starts_browser
    check "its volumes survive the container" check_volumes_survive
    check "it stops within $STOP_LIMIT_S s when idle" check_idle_stop
    check "docker-down VOLUMES=1 leaves nothing behind" check_nothing_remains
}

test_image() {
    check "the runtime's image is built" build_image
    check "the gateway's image is built" build_gateway
    if all_passed; then test_profile; fi
}

if ! has_engine "the gateway's image"; then finish && exit; fi
skip_without_engine
if [[ -z $given_image ]] && ! has_npm_package "the gateway's image" "openclaw@$release"; then finish && exit; fi
trap clean_up EXIT
use_project
test_image
finish
