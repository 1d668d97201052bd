#!/usr/bin/env bash
# Builds the images of docker-compose.runtime.yml and starts them.
#
# Usage: scripts/runtime-docker-up.sh [-h]
#
# Environment variables (default):
#   PROFILE ()                empty: the runtime alone; openclaw: the runtime and a gateway; sandbox: the
#                             demo
#   DAEMON (0)                0: run in the foreground until Ctrl-C; 1: run in the background and return
#                             once every container is healthy
#   BUILD (1)                 1: build the images first; 0: use existing images
#   PRUNE_ON_FAIL (1)         1: if a build fails, prune the build cache and retry once
#   COMPOSE_FILE (docker-compose.runtime.yml)
#                             Compose files, separated by ':'
#   DOCKER_BUILDKIT, COMPOSE_DOCKER_CLI_BUILD (0)
#                             0: the legacy builder; 1: BuildKit
#   DOCKER (docker)           the docker command, e.g. "sudo -E docker"

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=compose-lib.sh
. "$(dirname "$0")/compose-lib.sh"

readonly DAEMON=${DAEMON:-0} PRUNE_ON_FAIL=${PRUNE_ON_FAIL:-1}

# fail MESSAGE...: reports the failure and where to look next.
fail() {
    warn "$(basename "$0"): $*"
    warn "Container state: make docker-ps. Container logs: make docker-logs."
    warn "Troubleshooting: docs/docker-compose.md."
    exit 1
}

build() {
    compose build "${services[@]}" && return
    [[ $PRUNE_ON_FAIL == 1 ]] || return 1
    warn "Build failed; pruning the build cache and retrying once."
    docker builder prune -f >&2
    compose build "${services[@]}"
}

print_urls() {
    say "All containers are healthy."
    if [[ $PROFILE == sandbox ]]; then
        say "Board (write to an agent): http://127.0.0.1:${SANDBOX_PORT:-3210}/"
        say "Runtime health:            http://127.0.0.1:${SANDBOX_HEALTH_PORT:-3002}/health"
    else
        say "Runtime health: http://$(compose port runtime "$(health_port)")/health"
    fi
}

# The health port as Compose resolves it from .env and the environment.
health_port() {
    compose config --format json | json_get services.runtime.ports.0.target
}

main() {
    reject_arguments "$@"
    cd "$ROOT"
    has_container_engine >&2 || exit 1
    check_settings || fail "nothing started"
    if [[ $BUILD != 0 ]]; then build || fail "build failed"; fi
    if [[ $DAEMON != 1 ]]; then
        compose up --no-build "${services[@]}"
        return
    fi
    compose up --no-build -d --wait "${services[@]}" || fail "not all containers became healthy"
    print_urls
}

main "$@"
