#!/usr/bin/env bash
# Builds the gateway's image and runs the profile openclaw of docker-compose.runtime.yml with it: what
# the gateway may do, what it sees and keeps, and that the runtime reaches it. The sandbox is the
# backend, and a stand-in the model provider. Needs DEPLOY_ENGINE, the command of a container engine,
# and npm's registry; else it says so and passes. Other variables: test/deploy/lib/containers.sh, and
#   GATEWAY_IMAGE   an image to test instead of building one
#   GATEWAY_BASE    what it is built on, instead of the Dockerfile's: a Debian with or without Node

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/containers.sh
. "$(dirname "$0")/lib/containers.sh"

readonly STOP_LIMIT_S=20
release=$(sed -n 's/^ARG OPENCLAW_VERSION=//p' "$ROOT/openclaw/Dockerfile")
readonly release
readonly KEPT=/home/openclaw/workspace/jarvis/kept
readonly given_image=${GATEWAY_IMAGE-} gateway_image=${GATEWAY_IMAGE:-mission-control-openclaw:test}
base=${GATEWAY_BASE-}
gateway=

clean_up() {
    [[ -z ${COMPOSE_FILE-} ]] || make_down >/dev/null 2>&1 || true
    forget_work
}

# Where a proxy with an authority of its own stands before the registry, npm in the build has to
# trust what npm here trusts.
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
    holds "$(docker run --rm --entrypoint openclaw "$gateway_image" --version)" "$release"
    equal openclaw "$(inspect "$gateway_image" '{{.Config.User}}')" user
    equal '{"/home/openclaw/.openclaw":{},"/home/openclaw/workspace":{}}' \
        "$(inspect "$gateway_image" '{{json .Config.Volumes}}')" volumes
    equal '["/opt/openclaw/start-openclaw.sh"]' \
        "$(inspect "$gateway_image" '{{json .Config.Entrypoint}}')" "entry point"
    hides "$(docker history --no-trunc "$gateway_image")" SERVICE_TOKEN
}

# The profile as it is, with settings for the test, a backend and a model provider.
make_project() {
    sed -e "s/^ACCOUNT_ID=.*/ACCOUNT_ID=$SANDBOX_ACCOUNT/" \
        -e "s/^SERVICE_TOKEN=.*/SERVICE_TOKEN=$SANDBOX_TOKEN/" \
        -e "s/^HEALTH_PORT=.*/HEALTH_PORT=$HEALTH_PORT/" \
        -e 's,^CONVEX_URL=.*,CONVEX_URL=http://backend:3210,' \
        "$ROOT/.env.example" >"$work/project/.env"
    printf '%s\n' OPENCLAW_AGENTS=jarvis,friday OPENCLAW_MODEL=fake/echo \
        OPENCLAW_FALLBACK_AGENT=main "OPENCLAW_VERSION=$release" >>"$work/project/.env"
    cp "$ROOT"/test/gateway/{provider,make-template}.mjs "$work/project/"
    cp "$ROOT/openclaw/openclaw.template.json" "$work/project/template-in.json"
    docker run --rm -v "$work/project:/project:ro" --entrypoint node "$gateway_image" \
        /project/make-template.mjs /project/template-in.json http://provider:8080 \
        /home/openclaw/.openclaw/gateway.log >"$work/template.json"
    mv "$work/template.json" "$work/project/"
    chmod a+r "$work"/project/*
    cat >"$work/project/around.yml" <<AROUND
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
    image: $IMAGE
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
AROUND
    COMPOSE_FILE+=:$work/project/around.yml
}

check_comes_up() {
    PROFILE=openclaw DAEMON=1 BUILD=0 "$ROOT/scripts/runtime-docker-up.sh"
    is_healthy "$gateway"
}

# of_gateway COMMAND: in the gateway's container, as its user.
of_gateway() {
    docker exec "$gateway" bash -euo pipefail -c "$1"
}

check_rights() {
    equal '["ALL"]' "$(inspect "$gateway" '{{json .HostConfig.CapDrop}}')" dropped
    equal null "$(inspect "$gateway" '{{json .HostConfig.CapAdd}}')" added
    equal '["no-new-privileges:true"]' "$(inspect "$gateway" '{{json .HostConfig.SecurityOpt}}')"
    holds "$(of_gateway 'cat /proc/1/status')" $'Uid:\t10001\t10001'
    holds "$(of_gateway 'cat /proc/1/status')" $'CapBnd:\t0000000000000000'
    holds "$(of_gateway 'cat /proc/1/status')" $'NoNewPrivs:\t1'
    equal 262144 "$(of_gateway 'df --output=size /dev/shm | tail -n 1 | tr -d " "')" "KiB of /dev/shm"
}

# The process ids of the gateway and its children; what "docker exec" starts is none of them.
# shellcheck disable=SC2016
readonly OWN_PROCESSES='ps -eo pid=,ppid= | awk "
    { parent[\$1] = \$2 }
    END { for (id in parent) { at = id; while (at > 1) at = parent[at]; if (at == 1) print id } }"'

# Neither from outside nor in the environment or the arguments of any of its processes.
check_no_service_token() {
    hides "$(docker inspect "$gateway")" "$SANDBOX_TOKEN"
    hides "$(docker inspect "$gateway")" SERVICE_TOKEN
    of_gateway "for id in \$($OWN_PROCESSES); do cat /proc/\$id/environ /proc/\$id/cmdline; done |
        tr '\\0' '\\n'" >"$work/seen"
    grep -x OPENCLAW_STATE_DIR=/home/openclaw/.openclaw "$work/seen"
    lacks "SERVICE_TOKEN|ACCOUNT_ID|CONVEX_URL|OPENCLAW_GATEWAY_TOKEN|$SANDBOX_TOKEN" "$work/seen"
    # 1 is that nothing was found; any other status, that it could not be looked for.
    equal 1 "$(of_gateway "grep -rlF $SANDBOX_TOKEN /home/openclaw || echo \$?")"
}

gate_is_open() {
    ask host GET "$HEALTH_PORT" /health | json_flatten | grep -x $'gateway.state\topen'
}

check_runtime_reaches_it() {
    wait_until 60 gate_is_open
    holds "$(docker exec "$(container runtime)" mission-control-runtime --check-config)" \
        $'\nOPENCLAW_GATEWAY_URL=http://openclaw-gateway:18789 '
    docker exec "$(container runtime)" mission-control-runtime doctor
    ask host GET "$HEALTH_PORT" /version
    equal "$release" "$(ask host GET "$HEALTH_PORT" /version | json_get openclawVersion)"
}

# As an agent's tool would start it: with the settings that the gateway has for it.
check_browser() {
    # shellcheck disable=SC2016
    of_gateway 'config=$HOME/.openclaw/openclaw.json
        jq -e ".browser.enabled and .browser.headless and .browser.noSandbox" "$config"
        mapfile -t extra < <(jq -r ".browser.extraArgs[]" "$config")
        timeout 60 "$(jq -r .browser.executablePath "$config")" --headless --no-sandbox "${extra[@]}" \
            --user-data-dir="$(mktemp -d)" --dump-dom \
            "data:text/html,<script>document.write(6*7)</script>" | grep -F 42'
}

# On a busy machine the command gives up before the browser is there.
check_gateway_starts_browser() {
    # shellcheck disable=SC2016
    of_gateway 'OPENCLAW_GATEWAY_TOKEN=$(jq -r .gateway.auth.token "$HOME/.openclaw/openclaw.json")
        export OPENCLAW_GATEWAY_TOKEN
        for try in 1 2 3; do if timeout 90 openclaw browser start; then break; fi; done
        pgrep -f remote-debugging-port
        timeout 90 openclaw browser stop'
}

# What it was asked and answered before is in the same volumes.
check_volumes_survive() {
    local before
    of_gateway "echo kept >$KEPT"
    before=$(of_gateway 'cat ~/.openclaw/openclaw.json | sha256sum; ls ~/.openclaw/agents/jarvis')
    compose openclaw rm -f -s -v openclaw-gateway
    compose openclaw up --no-build -d --wait --no-deps openclaw-gateway
    equal kept "$(of_gateway "cat $KEPT")"
    equal "$before" \
        "$(of_gateway 'cat ~/.openclaw/openclaw.json | sha256sum; ls ~/.openclaw/agents/jarvis')"
    wait_until 60 gate_is_open
    message_is_answered "$SANDBOX_PORT"
}

check_idle_stop() {
    local began_ms
    equal 340 "$(inspect "$gateway" '{{.Config.StopTimeout}}')" "seconds before it is killed"
    began_ms=$(now_ms)
    compose openclaw stop openclaw-gateway
    echo "stopped within $(($(now_ms) - began_ms)) ms"
    equal 0 "$(inspect "$gateway" '{{.State.ExitCode}}')" "exit status"
    (($(now_ms) - began_ms < STOP_LIMIT_S * 1000))
}

test_profile() {
    gateway=$(container openclaw-gateway)
    check "it declares its user, volumes and start script, and is the pinned release" check_declarations
    check "the project is made" make_project
    COMPOSE_FILE=$work/project/docker-compose.runtime.yml:$work/project/around.yml
    export GATEWAY_IMAGE=$gateway_image
    check "runtime and gateway come up" check_comes_up
    if ! all_passed; then docker logs "$gateway" 2>&1 | tail -n 30 && return; fi
    check "it has neither root nor capabilities, and shared memory" check_rights
    check "it does not see SERVICE_TOKEN" check_no_service_token
    check "the runtime reaches it without a setting" check_runtime_reaches_it
    check "a message is answered" message_is_answered "$SANDBOX_PORT"
    check "Chromium runs there" check_browser
    check "the gateway starts it" check_gateway_starts_browser
    check "its volumes outlive the container" check_volumes_survive
    check "idle, it stops within $STOP_LIMIT_S s" check_idle_stop
    check "after docker-down with VOLUMES=1 nothing stays" check_nothing_stays
}

run() {
    check "the runtime's image is built" build_image
    check "the gateway's image is built" build_gateway
    if all_passed; then test_profile; fi
}

if ! engine "the gateway's image"; then finish && exit; fi
skip_without_engine
if [[ -z $given_image ]] && ! offered "the gateway's image" "openclaw@$release"; then finish && exit; fi
trap clean_up EXIT
use_project
run
finish
