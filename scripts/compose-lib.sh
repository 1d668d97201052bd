# What the scripts share that start docker-compose.runtime.yml. Sourced after lib.sh, never run.
# shellcheck shell=bash

readonly PROFILE=${PROFILE-} BUILD=${BUILD:-1}
export COMPOSE_FILE=${COMPOSE_FILE:-docker-compose.runtime.yml}
export DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0}
export COMPOSE_DOCKER_CLI_BUILD=${COMPOSE_DOCKER_CLI_BUILD:-0}
services=()

compose() {
    docker compose ${PROFILE:+--profile "$PROFILE"} "$@"
}

# read_services: sets services to those that PROFILE stands for. The runtime belongs to all profiles,
# but the demo has one of its own, which needs no account.
read_services() {
    if [[ -n $PROFILE ]] && [[ $'\n'$(compose config --profiles)$'\n' != *$'\n'"$PROFILE"$'\n'* ]]; then
        warn "$(basename "$0"): there is no profile $PROFILE"
        return 1
    fi
    mapfile -t services < <(compose config --services)
    # shellcheck disable=SC2034
    if [[ $PROFILE == sandbox ]]; then services=(sandbox sandbox-runtime); fi
}

# check_settings: whether the Compose files are right, and the runtime is told its account; else
# says what to do.
check_settings() {
    compose config --quiet || return
    read_services || return
    [[ $PROFILE == sandbox ]] && return
    [[ $'\n'$(compose config --format json | json_flat) == \
        *$'\n'services.runtime.environment.ACCOUNT_ID?(_FILE)$'\t'[!$'\n']* ]] && return
    warn "$(basename "$0"): the runtime is told no ACCOUNT_ID; if there is no .env:" \
        "cp .env.example .env, and fill in ACCOUNT_ID, CONVEX_URL and SERVICE_TOKEN"
    return 1
}
