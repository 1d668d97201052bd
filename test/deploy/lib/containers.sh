# What the tests of images and of Compose files share. Sourced, never run.
# shellcheck shell=bash
#
# Variables of the environment: DOCKER, or DEPLOY_ENGINE, is the command if it is not docker;
# DOCKER_BUILD_OPTIONS is for docker build, e.g. --network=host; MISSION_CONTROL_IMAGE is an image to
# test instead of building one.

# shellcheck source-path=SCRIPTDIR source=checks.sh
. "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

export DOCKER=${DOCKER:-${DEPLOY_ENGINE:-docker}}
readonly BASE_IMAGE=debian:bookworm-slim
IMAGE=${MISSION_CONTROL_IMAGE:-mission-control-runtime:test}
# The account that the sandbox serves if nobody says otherwise.
# shellcheck disable=SC2034
readonly SANDBOX_ACCOUNT=k57sandb0x0000000000000000000000
# shellcheck disable=SC2034
readonly SANDBOX_TOKEN=mc_service_${SANDBOX_ACCOUNT}_sandbox_secret_for_local_use_only

# skip_without_engine: ends the test, with what has passed so far, where there is no engine.
skip_without_engine() {
    local reason
    if ! reason=$(has_container_engine); then
        say "skipped: $reason"
        finish
        exit
    fi
}

build_image() {
    local options=()
    [[ -z ${MISSION_CONTROL_IMAGE-} ]] || return 0
    read -ra options <<<"${DOCKER_BUILD_OPTIONS-}"
    docker build "${options[@]}" -t "$IMAGE" "$ROOT"
}

# inspect CONTAINER_OR_IMAGE TEMPLATE
inspect() {
    docker inspect -f "$2" "$1"
}

is_healthy() {
    [[ $(inspect "$1" '{{.State.Health.Status}}') == healthy ]]
}

# ask NETWORK METHOD PORT PATH [BODY]: as http_request in scripts/lib.sh, but from inside a network of the
# engine, which need not be on this machine.
ask() {
    local network=$1
    shift
    { declare -f http_request && echo "http_request \"\$@\""; } |
        docker run --rm -i --network "$network" "$BASE_IMAGE" bash -s -- "$@"
}

# --- A project of Compose, in a directory of its own that has no .env ---

# use_project: what the caller has set for containers of his own does not reach those of the test.
use_project() {
    unset "${!COMPOSE_@}" "${!OPENCLAW_@}" "${!SERVICE_TOKEN@}" "${!GATEWAY_@}" RUNTIME_ENV_FILE \
        STOP_GRACE_PERIOD ANTHROPIC_API_KEY OPENAI_API_KEY PROFILE BUILD DAEMON PRUNE_ON_FAIL
    local first_port=$((20000 + RANDOM % 20000))
    export COMPOSE_PROJECT_NAME=mission-control-test-$$
    export SANDBOX_PORT=$first_port SANDBOX_HEALTH_PORT=$((first_port + 1))
    export GATEWAY_PORT=$((first_port + 2)) RUNTIME_IMAGE=$IMAGE
    export HEALTH_PORT=$((first_port + 3))
    mkdir "$work/project"
    cp "$ROOT/docker-compose.runtime.yml" "$work/project/"
    export COMPOSE_FILE=$work/project/docker-compose.runtime.yml
    { docker volume ls -q && echo none; } >"$work/volumes"
}

# compose PROFILE ARGUMENT...: PROFILE may be empty.
compose() {
    local profile=$1
    shift
    docker compose ${profile:+--profile "$profile"} "$@"
}

# container SERVICE: its name.
container() {
    echo "$COMPOSE_PROJECT_NAME-$1-1"
}

make_down() {
    make -s --no-print-directory -C "$ROOT" COMPOSE_FILE="$COMPOSE_FILE" docker-down VOLUMES=1
}

# message_is_answered PORT: a message posted on the board there gets its agent's reply.
message_is_answered() {
    local task notification
    task=$(ask host GET "$1" "/sandbox/state?tables=tasks" | json_get tasks.0._id)
    notification=$(ask host POST "$1" /sandbox/message \
        "{\"task\":\"$task\",\"content\":\"@jarvis please look\"}" | json_get notifications.0)
    holds "$(ask host GET "$1" "/sandbox/wait?undelivered=0&replies=1&timeout_ms=30000")" '"met":true'
    holds "$(ask host GET "$1" "/sandbox/state?tables=messages&task=$task" | json_flatten)" \
        "sourceNotificationId	$notification"
}

# is_hardened SERVICE
is_hardened() {
    local name
    name=$(container "$1")
    equal true "$(inspect "$name" '{{.HostConfig.ReadonlyRootfs}}')" read-only
    equal '["ALL"]' "$(inspect "$name" '{{json .HostConfig.CapDrop}}')" "dropped"
    equal null "$(inspect "$name" '{{json .HostConfig.CapAdd}}')" "added"
    equal false "$(inspect "$name" '{{.HostConfig.Privileged}}')" privileged
    equal '["no-new-privileges:true"]' "$(inspect "$name" '{{json .HostConfig.SecurityOpt}}')"
    equal "512 536870912 2000000000" \
        "$(inspect "$name" '{{.HostConfig.PidsLimit}} {{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}')"
    equal '{"max-file":"5","max-size":"10m"}' \
        "$(inspect "$name" '{{json .HostConfig.LogConfig.Config}}')" "log"
    equal unless-stopped "$(inspect "$name" '{{.HostConfig.RestartPolicy.Name}}')" restart
    holds "$(inspect "$name" '{{json .HostConfig.Tmpfs}}')" noexec
    equal 10001:10001 "$(inspect "$name" '{{.Config.User}}')" user
}

# left_behind: what the engine still has of the project.
left_behind() {
    docker ps -a -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"
    docker volume ls -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"
    docker network ls -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"
    # Those of the image's VOLUME have no label.
    docker volume ls -q --filter dangling=true | grep -xE '[0-9a-f]{64}' | grep -vxFf "$work/volumes"
}

check_nothing_stays() {
    make_down
    equal "" "$(left_behind || true)" "left behind"
}
