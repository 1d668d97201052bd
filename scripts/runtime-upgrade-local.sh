#!/usr/bin/env bash
# Upgrades the containers of docker-compose.runtime.yml to images built from this checkout, or pulled
# from a registry, and rolls back to the previous images if the new containers do not become healthy.
#
# Usage: scripts/runtime-upgrade-local.sh [-h]
#
# Exits with 0 if the new images are running, with 1 if the previous ones are or nothing is.
#
# Environment variables (default):
#   PROFILE ()                empty, openclaw or sandbox
#   BUILD (1)                 1: build the images; 0: pull RUNTIME_IMAGE and GATEWAY_IMAGE
#   UPGRADE_TIMEOUT_S (120)   time for each new container to become healthy
#   COMPOSE_FILE, DOCKER_BUILDKIT, COMPOSE_DOCKER_CLI_BUILD, DOCKER
#                             see scripts/runtime-docker-up.sh

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=compose-lib.sh
. "$(dirname "$0")/compose-lib.sh"

readonly UPGRADE_TIMEOUT_S=${UPGRADE_TIMEOUT_S:-120}
# Per service: the id of the running image, and the name by which Compose refers to its image.
declare -A previous_id=() image_name=()

read_image_names() {
    local service config
    config=$(compose config --format json)
    for service in "${services[@]}"; do
        image_name[$service]=$(json_get "services.$service.image" <<<"$config")
    done
}

# Tags the running images, since "docker image prune" removes untagged ones once no container uses them.
tag_previous_images() {
    local service container
    for service in "${services[@]}"; do
        container=$(compose ps -q "$service")
        [[ -n $container ]] || continue
        previous_id[$service]=$(docker inspect -f '{{.Image}}' "$container")
        docker tag "${previous_id[$service]}" "mission-control-previous:$service"
    done
}

build_or_pull() {
    if [[ $BUILD != 0 ]]; then compose build "${services[@]}"; else compose pull "${services[@]}"; fi
}

# health_of SERVICE: healthy, starting or unhealthy; the container state if it has no health check.
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

# wait_until_healthy SERVICE: fails on timeout, or at once if the service is unhealthy or has exited.
wait_until_healthy() {
    local deadline_s=$((SECONDS + UPGRADE_TIMEOUT_S)) health
    while health=$(health_of "$1"); do
        case $health in
        healthy | running) return 0 ;;
        unhealthy | exited | dead | missing) break ;;
        esac
        ((SECONDS < deadline_s)) || break
        sleep 1
    done
    warn "$1 is $health. Its last log lines:"
    compose logs --no-color --no-log-prefix --tail 20 "$1" >&2
    return 1
}

start_and_wait() {
    local service
    compose up --no-build -d "${services[@]}" || return 1
    for service in "${services[@]}"; do
        wait_until_healthy "$service" || return 1
    done
}

roll_back() {
    local service
    ((${#previous_id[@]} > 0)) || die "the new containers are not healthy, and there is no previous image to roll back to"
    warn "Rolling back to the previous images."
    for service in "${!previous_id[@]}"; do
        docker tag "${previous_id[$service]}" "${image_name[$service]}"
    done
    start_and_wait || die "rollback failed: the previous images did not become healthy either; see make docker-logs"
    die "upgrade failed; rolled back to the previous images, which are healthy"
}

main() {
    reject_arguments "$@"
    cd "$ROOT"
    has_container_engine >&2 || exit 1
    check_settings || die "nothing changed; for troubleshooting see docs/docker-compose.md"
    read_image_names
    tag_previous_images
    build_or_pull || die "no new image; the running containers were left alone"
    start_and_wait || roll_back
    say "Upgraded, healthy: ${services[*]}"
}

main "$@"
