# Functions shared by the tests of images and Compose files. Source this file, do not run it.
# shellcheck shell=bash
#
# Environment: DOCKER, or else DEPLOY_ENGINE, is the container engine's command (docker);
# DOCKER_BUILD_OPTIONS are passed to docker build, e.g. --network=host; MISSION_CONTROL_IMAGE is an
# image to test instead of building one, MISSION_CONTROL_SANDBOX_IMAGE that of the demo.

# shellcheck source-path=SCRIPTDIR source=checks.sh
. "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

export DOCKER=${DOCKER:-${DEPLOY_ENGINE:-docker}}
readonly BASE_IMAGE=debian:bookworm-slim
IMAGE=${MISSION_CONTROL_IMAGE:-mission-control-runtime:test}
SANDBOX_IMAGE=${MISSION_CONTROL_SANDBOX_IMAGE:-mission-control-sandbox:test}
# The account that the sandbox serves by default.
# shellcheck disable=SC2034
readonly SANDBOX_ACCOUNT=k57sandb0x0000000000000000000000
# shellcheck disable=SC2034
readonly SANDBOX_TOKEN=mc_service_${SANDBOX_ACCOUNT}_sandbox_secret_for_local_use_only

# skip_without_engine: prints the totals and exits if no container engine is available.
skip_without_engine() {
    local reason
    if ! reason=$(has_container_engine); then
        say "skipped: $reason"
        finish
        exit
    fi
}

# Builds the runtime's image and the demo's, unless they are given.
build_image() {
    local options=()
    read -ra options <<<"${DOCKER_BUILD_OPTIONS-}"
    [[ -n ${MISSION_CONTROL_IMAGE-} ]] || docker build "${options[@]}" -t "$IMAGE" "$ROOT"
    [[ -n ${MISSION_CONTROL_SANDBOX_IMAGE-} ]] ||
        docker build "${options[@]}" --target sandbox -t "$SANDBOX_IMAGE" "$ROOT"
}

# inspect CONTAINER_OR_IMAGE TEMPLATE
inspect() {
    docker inspect -f "$2" "$1"
}

is_healthy() {
    [[ $(inspect "$1" '{{.State.Health.Status}}') == healthy ]]
}

# network_request NETWORK METHOD PORT PATH [BODY]: as http_request in scripts/lib.sh, but from inside one
# of the engine's networks; the engine may run on another machine.
network_request() {
    local network=$1
    shift
    { declare -f http_request && echo "http_request \"\$@\""; } |
        docker run --rm -i --network "$network" "$BASE_IMAGE" bash -s -- "$@"
}

# --- A Compose project in a directory of its own, without a .env ---

# use_project: unsets the caller's settings for Compose, so they do not leak into the test's project.
use_project() {
    unset "${!COMPOSE_@}" "${!OPENCLAW_@}" "${!SERVICE_TOKEN@}" "${!GATEWAY_@}" \
        STOP_GRACE_PERIOD ANTHROPIC_API_KEY OPENAI_API_KEY PROFILE BUILD DAEMON PRUNE_ON_FAIL
    local first_port=$((20000 + RANDOM % 20000))
    export COMPOSE_PROJECT_NAME=mission-control-test-$$
    export SANDBOX_PORT=$first_port SANDBOX_HEALTH_PORT=$((first_port + 1))
    export GATEWAY_PORT=$((first_port + 2)) RUNTIME_IMAGE=$IMAGE SANDBOX_IMAGE
    export HEALTH_PORT=$((first_port + 3))
    mkdir "$work/project"
    cp "$ROOT/docker-compose.runtime.yml" "$work/project/"
    export COMPOSE_FILE=$work/project/docker-compose.runtime.yml
    { docker volume ls -q && echo none; } >"$work/volumes"
}

# compose PROFILE ARGUMENT...: docker compose with that profile, or with none if it is empty.
compose() {
    local profile=$1
    shift
    docker compose ${profile:+--profile "$profile"} "$@"
}

# container SERVICE: prints its container's name.
container() {
    echo "$COMPOSE_PROJECT_NAME-$1-1"
}

make_down() {
    make -s --no-print-directory -C "$ROOT" COMPOSE_FILE="$COMPOSE_FILE" docker-down VOLUMES=1
}

# message_is_answered PORT: whether a message on the sandbox's board there gets its agent's reply.
message_is_answered() {
    local task notification
    task=$(network_request host GET "$1" "/sandbox/state?tables=tasks" | json_get tasks.0._id)
    notification=$(network_request host POST "$1" /sandbox/message \
        "{\"task\":\"$task\",\"content\":\"@jarvis please look\"}" | json_get notifications.0)
    expect_contains "$(network_request host GET "$1" "/sandbox/wait?undelivered=0&replies=1&timeout_ms=30000")" '"met":true'
    expect_contains "$(network_request host GET "$1" "/sandbox/state?tables=messages&task=$task" | json_flatten)" \
        "sourceNotificationId	$notification"
}

# is_hardened SERVICE: whether it runs read-only, unprivileged and with limits.
is_hardened() {
    local name
    name=$(container "$1")
    expect_equal true "$(inspect "$name" '{{.HostConfig.ReadonlyRootfs}}')" read-only
    expect_equal '["ALL"]' "$(inspect "$name" '{{json .HostConfig.CapDrop}}')" "dropped"
    expect_equal null "$(inspect "$name" '{{json .HostConfig.CapAdd}}')" "added"
    expect_equal false "$(inspect "$name" '{{.HostConfig.Privileged}}')" privileged
    expect_equal '["no-new-privileges:true"]' "$(inspect "$name" '{{json .HostConfig.SecurityOpt}}')"
    expect_equal "512 536870912 536870912 2000000000" "$(inspect "$name" \
        '{{.HostConfig.PidsLimit}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}}')"
    expect_equal '{"max-file":"5","max-size":"10m"}' \
        "$(inspect "$name" '{{json .HostConfig.LogConfig.Config}}')" "log"
    expect_equal unless-stopped "$(inspect "$name" '{{.HostConfig.RestartPolicy.Name}}')" restart
    expect_contains "$(inspect "$name" '{{json .HostConfig.Tmpfs}}')" noexec
    expect_equal 10001:10001 "$(inspect "$name" '{{.Config.User}}')" user
}

# left_behind: prints the containers, volumes and networks that remain of the project.
left_behind() {
    docker ps -a -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"
    docker volume ls -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"
    docker network ls -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"
    # Anonymous volumes of the image's VOLUME carry no label.
    docker volume ls -q --filter dangling=true | grep -xE '[0-9a-f]{64}' | grep -vxFf "$work/volumes"
}

check_nothing_remains() {
    make_down
    expect_equal "" "$(left_behind || true)" "left behind"
}
