#!/usr/bin/env bash
# Builds the images of docker-compose.runtime.yml and starts them.
#
# Usage: scripts/runtime-docker-up.sh [-h]
#
# Variables of the environment:
#   PROFILE                   empty, the default: the runtime alone; openclaw: with a gateway; sandbox:
#                             the demo instead
#   DAEMON                    1: in the background, back when all are healthy; 0, the default: in the
#                             foreground until Ctrl-C
#   BUILD                     1, the default: builds first; 0: takes the images that are there
#   PRUNE_ON_FAIL             1, the default: when a build fails, empties the engine's build cache and
#                             builds once more; 0: does not
#   COMPOSE_FILE              docker-compose.runtime.yml; several with ':' between them
#   DOCKER_BUILDKIT, COMPOSE_DOCKER_CLI_BUILD
#                             0, the default: the older builder; 1: BuildKit
#   DOCKER                    docker; e.g. "sudo -E docker"

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=compose-lib.sh
. "$(dirname "$0")/compose-lib.sh"

readonly DAEMON=${DAEMON:-0} PRUNE_ON_FAIL=${PRUNE_ON_FAIL:-1}

# fail WORDS...: with what usually helps.
fail() {
    warn "$(basename "$0"): $*"
    warn "What the containers say: make docker-logs. How they are: make docker-ps."
    warn "docs/docker-compose.md has a table of what goes wrong and what helps."
    exit 1
}

build() {
    compose build "${services[@]}" && return
    [[ $PRUNE_ON_FAIL == 1 ]] || return 1
    warn "The build failed; emptying the build cache and trying once more."
    docker builder prune -f >&2
    compose build "${services[@]}"
}

say_where() {
    say "Everything is healthy."
    if [[ $PROFILE == sandbox ]]; then
        say "The board (write to an agent): http://127.0.0.1:${SANDBOX_PORT:-3210}/"
        say "The runtime's health:          http://127.0.0.1:${SANDBOX_HEALTH_PORT:-3002}/health"
    else
        say "The runtime's health: http://$(compose port runtime "$(health_port)")/health"
    fi
}

# The port as Compose takes it out of .env or the environment.
health_port() {
    compose config --format json | json_get services.runtime.ports.0.target
}

main() {
    case ${1-} in
    "") ;;
    -h | --help) usage && return ;;
    *) die_usage "$1" ;;
    esac
    cd "$ROOT"
    has_engine >&2 || exit 1
    check_settings || fail "nothing was started"
    if [[ $BUILD != 0 ]]; then build || fail "the build failed"; fi
    if [[ $DAEMON != 1 ]]; then
        compose up --no-build "${services[@]}"
        return
    fi
    compose up --no-build -d --wait "${services[@]}" || fail "not everything became healthy"
    say_where
}

main "$@"
