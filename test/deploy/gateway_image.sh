#!/usr/bin/env bash
# Builds the gateway's image and runs the profile openclaw of docker-compose.runtime.yml with it: the
# gateway's privileges, secrets and state, and that the runtime reaches it. The sandbox is the backend, a
# stub is the model provider. Needs DEPLOY_ENGINE, the command of a container engine, and npm's registry;
# passes with a note otherwise. Environment: as test/deploy/lib/containers.sh, and
#   GATEWAY_IMAGE   an image to test instead of building one
#   GATEWAY_BASE    base image instead of the Dockerfile's: a Debian with or without Node

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/containers.sh
. "$(dirname "$0")/lib/containers.sh"

readonly STOP_LIMIT_S=20
release=$(sed -n 's/^ARG OPENCLAW_VERSION=//p' "$ROOT/openclaw/Dockerfile")
readonly release
readonly KEPT_FILE=/home/openclaw/workspace/jarvis/kept
readonly given_image=${GATEWAY_IMAGE-} gateway_image=${GATEWAY_IMAGE:-mission-control-openclaw:test}
base=${GATEWAY_BASE-}
gateway=

clean_up() {
    [[ -z ${COMPOSE_FILE-} ]] || make_down >/dev/null 2>&1 || true
    remove_work_dir
}

# If the registry is behind a proxy with its own CA, npm in the build must trust the same CA as npm here.
make_base() {
    mkdir "$work/base"
    cp "$NODE_EXTRA_CA_CERTS" "$work/base/authorities.pem"
    printf '%s\n' "FROM ${base:-$(sed -n 's/^ARG BASE=//p' "$ROOT/openclaw/Dockerfile")}" 'COPY authorities.pem /etc/authorities.pem' \
        'ENV NODE_EXTRA_CA_CERTS=/etc/authorities.pem npm_config_cafile=/etc/authorities.pem' \
        >"$work/base/Dockerfile"
    docker build -t "$gateway_image-base" "$work/base"
    base=$gateway_image-base
}

build_gateway() {
    local options=()
    [[ -z $given_image ]] || return 0
    read -ra options <<<"${DOCKER_BUILD_OPTIONS-}"
    if [[ -n ${NODE_EXTRA_CA_CERTS-} ]]; then make_base; fi
    docker build "${options[@]}" ${base:+--build-arg "BASE=$base"} \
        -t "$gateway_image" "$ROOT/openclaw"
}

check_declarations() {
    expect_contains "$(docker run --rm --entrypoint openclaw "$gateway_image" --version)" "$release"
    expect_equal openclaw "$(inspect "$gateway_image" '{{.Config.User}}')" user
    expect_equal '{"/home/openclaw/.openclaw":{},"/home/openclaw/workspace":{}}' \
        "$(inspect "$gateway_image" '{{json .Config.Volumes}}')" volumes
    expect_equal '["/opt/openclaw/start-openclaw.sh"]' \
        "$(inspect "$gateway_image" '{{json .Config.Entrypoint}}')" "entry point"
    expect_lacks "$(docker history --no-trunc "$gateway_image")" SERVICE_TOKEN
}

# The profile as shipped, with test settings, a backend and a model provider.
make_project() {
    sed -e "s/^ACCOUNT_ID=.*/ACCOUNT_ID=$SANDBOX_ACCOUNT/" \
        -e "s/^HEALTH_PORT=.*/HEALTH_PORT=$HEALTH_PORT/" \
        -e 's,^CONVEX_URL=.*,CONVEX_URL=http://backend:3210,' \
        "$ROOT/.env.example" >"$work/project/.env"
    printf '%s\n' OPENCLAW_AGENTS=jarvis,friday OPENCLAW_MODEL=fake/echo \
        OPENCLAW_FALLBACK_AGENT=main "OPENCLAW_VERSION=$release" >>"$work/project/.env"
    printf '%s\n' "$SANDBOX_TOKEN" >"$work/project/service_token"
    echo SERVICE_TOKEN_HOST_FILE=./service_token >>"$work/project/.env"
    cp "$ROOT"/test/gateway/{provider,make-template}.mjs "$work/project/"
    cp "$ROOT/openclaw/openclaw.template.json" "$work/project/template-in.json"
    docker run --rm -v "$work/project:/project:ro" --entrypoint node "$gateway_image" \
        /project/make-template.mjs /project/template-in.json http://provider:8080 \
        /home/openclaw/.openclaw/gateway.log >"$work/template.json"
    mv "$work/template.json" "$work/project/"
    chmod a+r "$work"/project/*
    cat >"$work/project/override.yml" <<OVERRIDE
services:
  runtime:
    depends_on: [backend]
  openclaw-gateway:
    environment:
      OPENCLAW_CONFIG_TEMPLATE: /template.json
      OPENCLAW_OFFLINE: 1
      OPENCLAW_SKIP_CRON: 1
      OPENCLAW_TELEMETRY: 0
    volumes: ["./template.json:/template.json:ro"]
  backend:
    image: $SANDBOX_IMAGE
    entrypoint: [/usr/local/bin/mission-control-sandbox]
    command: [--demo, --host, 0.0.0.0]
    healthcheck:
      test: [CMD, bash, -c, ": <>/dev/tcp/127.0.0.1/3210"]
      interval: 1s
    tmpfs: ["/var/lib/mission-control-runtime"]
    ports: ["127.0.0.1:$SANDBOX_PORT:3210"]
  provider:
    image: $gateway_image
    entrypoint: [node, /provider.mjs, 0.0.0.0, "8080"]
    healthcheck:
      test: [CMD, curl, -fsS, -o, /dev/null, "http://127.0.0.1:8080/calls"]
      interval: 1s
    tmpfs: [/home/openclaw/.openclaw, /home/openclaw/workspace]
    volumes: ["./provider.mjs:/provider.mjs:ro"]
OVERRIDE
    COMPOSE_FILE+=:$work/project/override.yml
}

check_gateway_starts() {
    PROFILE=openclaw DAEMON=1 BUILD=0 "$ROOT/scripts/runtime-docker-up.sh"
    is_healthy "$gateway"
}

# gateway_exec COMMAND: runs COMMAND in the gateway's container, as its user.
gateway_exec() {
    docker exec "$gateway" bash -euo pipefail -c "$1"
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

# Prints the pids of the gateway and its descendants, without those that "docker exec" starts.
# shellcheck disable=SC2016
readonly OWN_PROCESSES='ps -eo pid=,ppid= | awk "
    { parent[\$1] = \$2 }
    END { for (id in parent) { at = id; while (at > 1) at = parent[at]; if (at == 1) print id } }"'

# Neither in the container's settings nor in the environment or arguments of its processes.
check_no_service_token() {
    expect_lacks "$(docker inspect "$gateway")" "$SANDBOX_TOKEN"
    expect_lacks "$(docker inspect "$gateway")" SERVICE_TOKEN
    gateway_exec "for id in \$($OWN_PROCESSES); do cat /proc/\$id/environ /proc/\$id/cmdline; done |
        tr '\\0' '\\n'" >"$work/seen"
    grep -x OPENCLAW_STATE_DIR=/home/openclaw/.openclaw "$work/seen"
    expect_no_match "SERVICE_TOKEN|ACCOUNT_ID|CONVEX_URL|OPENCLAW_GATEWAY_TOKEN|$SANDBOX_TOKEN" "$work/seen"
    # grep exits with 1 if nothing matches; any other status means that it failed.
    expect_equal 1 "$(gateway_exec "grep -rlF $SANDBOX_TOKEN /home/openclaw || echo \$?")"
}

breaker_is_closed() {
    network_request host GET "$HEALTH_PORT" /health | json_flatten | grep -x $'gateway.state\topen'
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
    check "the project is created" make_project
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
