# What the tests of the profile openclaw share: the gateway's image and a project with it, in which the
# sandbox is the backend and a stub the model provider. Source this file, do not run it. Environment: as
# containers.sh, DEPLOY_ENGINE for has_engine, and
#   GATEWAY_IMAGE   an image to test instead of building one
#   GATEWAY_BASE    base image instead of the Dockerfile's: a Debian with or without Node
# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR source=containers.sh
. "$(dirname "${BASH_SOURCE[0]}")/containers.sh"

release=$(sed -n 's/^ARG OPENCLAW_VERSION=//p' "$ROOT/openclaw/Dockerfile")
readonly release
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

# make_project RELOAD BACKEND_OPTION...: the profile as shipped, with test settings, a model provider, and a
# sandbox with these options as the backend. RELOAD is the gateway's gateway.reload.mode.
make_project() {
    local reload=$1 options
    shift
    options=$(printf ', %s' "$@")
    sed -e "s/^ACCOUNT_ID=.*/ACCOUNT_ID=$SANDBOX_ACCOUNT/" \
        -e "s/^HEALTH_PORT=.*/HEALTH_PORT=$HEALTH_PORT/" \
        -e 's,^CONVEX_URL=.*,CONVEX_URL=http://backend:3210,' \
        "$ROOT/.env.example" >"$work/project/.env"
    printf '%s\n' OPENCLAW_MODEL=fake/echo "OPENCLAW_VERSION=$release" >>"$work/project/.env"
    printf '%s\n' "$SANDBOX_TOKEN" >"$work/project/service_token"
    echo SERVICE_TOKEN_HOST_FILE=./service_token >>"$work/project/.env"
    cp "$ROOT"/test/gateway/{provider,make-template}.mjs "$work/project/"
    cp "$ROOT/openclaw/openclaw.template.json" "$work/project/template-in.json"
    docker run --rm -v "$work/project:/project:ro" --entrypoint node "$gateway_image" \
        /project/make-template.mjs /project/template-in.json http://provider:8080 \
        /home/openclaw/.openclaw/gateway.log "$reload" >"$work/template.json"
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
    command: [--host, 0.0.0.0$options]
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
