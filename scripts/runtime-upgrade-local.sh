#!/usr/bin/env bash
# Brings the containers of docker-compose.runtime.yml to the present sources, or to the images that
# a registry has, and goes back to the previous images when they do not become healthy.
#
# Usage: scripts/runtime-upgrade-local.sh [-h]
#
# The status is 0 when the new images are in use, 1 when the previous ones are or nothing runs.
#
# Variables of the environment:
#   PROFILE                   empty (the default), openclaw or sandbox
#   BUILD                     1, the default: builds; 0: pulls RUNTIME_IMAGE and GATEWAY_IMAGE
#   UPGRADE_TIMEOUT_S         how long the new containers may take to become healthy; 120
#   COMPOSE_FILE, DOCKER_BUILDKIT, COMPOSE_DOCKER_CLI_BUILD, DOCKER
#                             as for scripts/runtime-docker-up.sh

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=compose-lib.sh
. "$(dirname "$0")/compose-lib.sh"

readonly UPGRADE_TIMEOUT_S=${UPGRADE_TIMEOUT_S:-120}
# By service: the image that is in use, and the name under which Compose looks for it.
declare -A previous=() image_name=()

read_image_names() {
    local service config
    config=$(compose config --format json)
    for service in "${services[@]}"; do
        image_name[$service]=$(json_get "services.$service.image" <<<"$config")
    done
}

# Without a name of its own an image that no container uses any more may be swept away.
keep_previous() {
    local service container
    for service in "${services[@]}"; do
        container=$(compose ps -q "$service")
        [[ -n $container ]] || continue
        previous[$service]=$(docker inspect -f '{{.Image}}' "$container")
        docker tag "${previous[$service]}" "$(previous_name "$service")"
    done
}

previous_name() {
    echo "mission-control-previous:$1"
}

fetch() {
    if [[ $BUILD != 0 ]]; then compose build "${services[@]}"; else compose pull "${services[@]}"; fi
}

# health_of SERVICE: healthy, starting, unhealthy, or what state it is in if nobody checks.
health_of() {
    local container
    container=$(compose ps -a -q "$1")
    if [[ -z $container ]]; then
        echo missing
    else
        docker inspect -f '{{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}' \
            "$container"
    fi
}

# wait_for SERVICE: until it is healthy; at once no more when it is found to be unhealthy.
wait_for() {
    local deadline_s=$((SECONDS + UPGRADE_TIMEOUT_S)) health
    while health=$(health_of "$1"); do
        case $health in
        healthy | running) return 0 ;;
        unhealthy | exited | dead | missing) break ;;
        esac
        ((SECONDS < deadline_s)) || break
        sleep 1
    done
    warn "$1 is $health. Its last words:"
    compose logs --no-color --no-log-prefix --tail 20 "$1" >&2
    return 1
}

start_and_wait() {
    local service
    compose up --no-build -d "${services[@]}" || return 1
    for service in "${services[@]}"; do
        wait_for "$service" || return 1
    done
}

roll_back() {
    local service
    ((${#previous[@]} > 0)) || die "the new containers are not healthy, and there were none before"
    warn "Going back to the previous images."
    for service in "${!previous[@]}"; do
        docker tag "${previous[$service]}" "${image_name[$service]}"
    done
    start_and_wait || die "the previous images do not become healthy either: make docker-logs"
    die "the upgrade failed; the previous images are in use again and healthy"
}

main() {
    case ${1-} in
    "") ;;
    -h | --help) usage && return ;;
    *) die_usage "$1" ;;
    esac
    cd "$ROOT"
    has_engine >&2 || exit 1
    check_settings || die "nothing was changed; docs/docker-compose.md has what helps"
    read_image_names
    keep_previous
    fetch || die "there is no new image; what was running goes on"
    start_and_wait || roll_back
    say "Upgraded: ${services[*]} healthy."
}

main "$@"
