# Functions shared by the scripts that run docker-compose.runtime.yml. Source it after lib.sh.
# shellcheck shell=bash

readonly PROFILE=${PROFILE-} BUILD=${BUILD:-1}
export COMPOSE_FILE=${COMPOSE_FILE:-docker-compose.runtime.yml}
export DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0}
export COMPOSE_DOCKER_CLI_BUILD=${COMPOSE_DOCKER_CLI_BUILD:-0}
services=()

compose() {
    docker compose ${PROFILE:+--profile "$PROFILE"} "$@"
}

# select_services: sets services to those of $PROFILE. Compose counts the service "runtime" to every
# profile, but the demo brings its own runtime, which needs no account.
select_services() {
    if [[ -n $PROFILE ]] && [[ $'\n'$(compose config --profiles)$'\n' != *$'\n'"$PROFILE"$'\n'* ]]; then
        warn "$(basename "$0"): unknown profile \"$PROFILE\""
        return 1
    fi
    mapfile -t services < <(compose config --services)
    # shellcheck disable=SC2034
    if [[ $PROFILE == sandbox ]]; then services=(sandbox sandbox-runtime); fi
}

# check_tokens: fails if .env has a token that the Compose file does not pass on, because containers get
# theirs from files.
check_tokens() {
    local name
    for name in SERVICE_TOKEN OPENCLAW_GATEWAY_TOKEN; do
        grep -qsE "^[[:space:]]*(export[[:space:]]+)?$name=[[:space:]]*[^[:space:]#]" "$(dirname "${COMPOSE_FILE%%:*}")/.env" || continue
        warn "$(basename "$0"): $name in .env does not reach the runtime: put it into a file that user 10001" \
            "can read, and set ${name}_HOST_FILE to its path instead (docs/docker-compose.md, Tokens)"
        return 1
    done
}

# check_settings: checks that the Compose files are valid and the runtime gets an account id; if not, says
# how to fix it.
check_settings() {
    compose config --quiet || return
    select_services || return
    [[ $PROFILE == sandbox ]] && return
    check_tokens || return
    [[ $'\n'$(compose config --format json | json_flatten) == \
        *$'\n'services.runtime.environment.ACCOUNT_ID?(_FILE)$'\t'[!$'\n']* ]] && return
    warn "$(basename "$0"): ACCOUNT_ID is not set for the runtime; if there is no .env yet:" \
        "cp .env.example .env, then fill in ACCOUNT_ID, CONVEX_URL and SERVICE_TOKEN_HOST_FILE"
    return 1
}
