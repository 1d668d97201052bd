#!/usr/bin/env bash
# Upgrades the containers of docker-compose.runtime.yml to images built from this checkout, or pulled
# from a registry, and rolls back to the previous images if the new containers do not become healthy.
#
# Usage: scripts/runtime-upgrade-local.sh [-h | --if-requested]
#
# If the board has requested an upgrade, the runtime has left the request in its volume: then the image of
# the requested version is pulled (BUILD=0), and images whose runtime is another version are rolled back.
# The runtime tells the board how it ended. --if-requested does nothing without a request.
#
# Exits with 0 if the new images are running, with 1 if the previous ones are or nothing is.
#
# Environment variables (default):
#   PROFILE ()                empty, openclaw or sandbox
#   BUILD (1)                 1: build the images; 0: pull RUNTIME_IMAGE and GATEWAY_IMAGE. A requested
#                             version replaces the tag of RUNTIME_IMAGE
#   UPGRADE_TIMEOUT_S (120)   time for each new container to become healthy
#   COMPOSE_FILE, DOCKER_BUILDKIT, COMPOSE_DOCKER_CLI_BUILD, DOCKER
#                             see scripts/runtime-docker-up.sh

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=compose-lib.sh
. "$(dirname "$0")/compose-lib.sh"

readonly UPGRADE_TIMEOUT_S=${UPGRADE_TIMEOUT_S:-120}
# Limits of a build, of a pull, and of stopping and starting containers.
readonly BUILD_LIMIT_S=3600 PULL_LIMIT_S=900 START_LIMIT_S=600 EXEC_LIMIT_S=30
# The board's request, if there is one: when it was made, and the versions.
initiated="" target="" openclaw_target=""
# Per service: the id of the running image, and the name by which Compose refers to its image.
declare -A previous_id=() image_name=()

# limit SECONDS COMMAND...: runs a function of lib.sh or compose-lib.sh; docker is stopped after that time.
limit() {
    DOCKER="timeout $1 ${DOCKER:-docker}" "${@:2}"
}

# in_runtime COMMAND [ARGUMENT...]: runs a bash command in the runtime's container.
in_runtime() {
    limit "$EXEC_LIMIT_S" compose exec -T runtime bash -c "$@"
}

# Takes the request out of the volume, so that it is obeyed once.
take_request() {
    local request
    [[ " ${services[*]} " == *" runtime "* ]] || return 0
    # shellcheck disable=SC2016 # expanded in the container
    request=$(in_runtime 'cd "$STATE_DIR" && head -c 4096 upgrade-request.json && rm upgrade-request.json' \
        2>/dev/null </dev/null) || return 0
    initiated=$(json_get initiatedAt <<<"$request")
    target=$(json_get targetRuntimeVersion <<<"$request")
    openclaw_target=$(json_get targetOpenclawVersion <<<"$request")
    if [[ $target == unknown ]]; then target=""; fi
    [[ $initiated =~ ^[0-9]+$ ]] || die "upgrade-request.json is not a request"
    [[ $target =~ ^([A-Za-z0-9][A-Za-z0-9._+-]{0,63})?$ ]] ||
        fail_request failed "the requested runtime version is not a version"
    say "The board has requested runtime ${target:-(any)}, OpenClaw ${openclaw_target:-(any)}."
}

write_result() {
    # shellcheck disable=SC2016
    in_runtime 'umask 077 && cd "$STATE_DIR" && cat >upgrade-result.json.new &&
        mv -fT upgrade-result.json.new upgrade-result.json' \
        <<<"{\"initiatedAt\":$initiated,\"status\":\"$1\",\"error\":$(json_string "$2")}"
}

# fail_request STATUS REASON: leaves the result for the runtime, if there was a request, and exits.
fail_request() {
    [[ -z $initiated ]] || wait_until "$EXEC_LIMIT_S" write_result "$1" "$2" ||
        warn "the result could not be left for the runtime; the board will show that the upgrade timed out"
    die "$2"
}

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

# Pulls the requested version under its own tag and gives it the name that Compose uses.
pull_requested() {
    local service name=${image_name[runtime]%@*}
    if [[ ${name##*/} == *:* ]]; then name=${name%:*}; fi
    limit "$PULL_LIMIT_S" docker pull "$name:$target" || return
    for service in "${services[@]}"; do
        [[ $service == runtime ]] || limit "$PULL_LIMIT_S" compose pull "$service" || return
    done
    docker tag "$name:$target" "${image_name[runtime]}"
}

build_or_pull() {
    if [[ $BUILD != 0 ]]; then
        limit "$BUILD_LIMIT_S" compose build "${services[@]}"
    elif [[ -n $target ]]; then
        pull_requested
    else
        limit "$PULL_LIMIT_S" compose pull "${services[@]}"
    fi
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
    limit "$START_LIMIT_S" compose up --no-build -d "${services[@]}" || return 1
    for service in "${services[@]}"; do
        wait_until_healthy "$service" || return 1
    done
}

running_version() {
    in_runtime "$(declare -f http_request); http_request GET \"\$HEALTH_PORT\" /version" </dev/null |
        json_get runtimeServiceVersion
}

# Healthy containers of another version are not what the board has requested.
is_requested_version() {
    local running
    [[ -n $target ]] || return 0
    running=$(running_version) || running=unknown
    [[ $running == "$target" ]] && return
    reason="the new images have runtime $running, not the requested $target"
    warn "$reason"
    return 1
}

roll_back() {
    local service
    reason=${reason:-"the new containers did not become healthy"}
    ((${#previous_id[@]} > 0)) || die "the new containers are not healthy, and there is no previous image to roll back to"
    warn "Rolling back to the previous images."
    for service in "${!previous_id[@]}"; do
        docker tag "${previous_id[$service]}" "${image_name[$service]}"
    done
    start_and_wait || die "rollback failed: the previous images did not become healthy either; see make docker-logs"
    [[ -z $initiated ]] || fail_request rolled_back "$reason; rolled back to the previous images"
    die "upgrade failed; rolled back to the previous images, which are healthy"
}

main() {
    local only_if_requested="" reason=""
    if [[ ${1-} == --if-requested ]]; then only_if_requested=1 && shift; fi
    reject_arguments "$@"
    cd "$ROOT"
    has_container_engine >&2 || exit 1
    check_settings || die "nothing changed; for troubleshooting see docs/docker-compose.md"
    take_request
    if [[ -n $only_if_requested && -z $initiated ]]; then return; fi
    read_image_names
    tag_previous_images
    build_or_pull || fail_request failed "no new image; the running containers were left alone"
    { start_and_wait && is_requested_version; } || roll_back
    say "Upgraded, healthy: ${services[*]}"
    case $openclaw_target in
    "" | unknown) ;;
    *) say "The board also requested OpenClaw $openclaw_target: see OPENCLAW_VERSION in .env." ;;
    esac
}

main "$@"
