#!/usr/bin/env bash
# Starts every profile of docker-compose.runtime.yml and looks at what comes up, what it may do, and
# what is left behind; upgrades, with an image that works and with some that do not. Where no
# container engine answers it says so and passes. The variables that it obeys are named in
# test/deploy/lib/containers.sh.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/containers.sh
. "$(dirname "$0")/lib/containers.sh"

readonly ACCOUNT=$SANDBOX_ACCOUNT TOKEN=$SANDBOX_TOKEN
readonly KEY=sk-provider-key-of-the-test
readonly UPGRADE_IMAGE=mission-control-runtime:upgrade-$$
first_port=$((20000 + RANDOM % 20000))
export COMPOSE_PROJECT_NAME=mission-control-test-$$
export SANDBOX_PORT=$first_port SANDBOX_HEALTH_PORT=$((first_port + 1))
export GATEWAY_PORT=$((first_port + 2))
readonly HEALTH_PORT=$((first_port + 3))
export RUNTIME_IMAGE=$IMAGE

# compose PROFILE ARGUMENT...: on the copy of the file in the test's own folder.
compose() {
    local profile=$1
    shift
    docker compose --profile "$profile" "$@"
}

container() {
    echo "$COMPOSE_PROJECT_NAME-$1-1"
}

run_make() {
    make -s --no-print-directory -C "$ROOT" COMPOSE_FILE="$COMPOSE_FILE" "$@"
}

clean_up() {
    run_make docker-down VOLUMES=1 >/dev/null 2>&1 || true
    docker rmi -f "$UPGRADE_IMAGE" mission-control-previous:runtime >/dev/null 2>&1 || true
    rm -rf "$work"
}

# The copy has no .env, whatever there is in the repository.
make_project() {
    mkdir "$work/project"
    cp "$ROOT/docker-compose.runtime.yml" "$work/project/"
    export COMPOSE_FILE=$work/project/docker-compose.runtime.yml
}

# The sandbox plays the backend and the gateway, in the gateway's place; the token is in a file.
make_env() {
    sed -e "s/^ACCOUNT_ID=.*/ACCOUNT_ID=$ACCOUNT/" -e "s/^HEALTH_PORT=.*/HEALTH_PORT=$HEALTH_PORT/" \
        -e 's,^CONVEX_URL=.*,CONVEX_URL=http://openclaw-gateway:18789,' \
        "$ROOT/.env.example" >"$work/project/.env"
    printf 'SERVICE_TOKEN_HOST_FILE=./service_token\nANTHROPIC_API_KEY=%s\n' "$KEY" \
        >>"$work/project/.env"
    printf '%s\n' "$TOKEN" >"$work/project/service_token"
    cat >"$work/project/stand-in.yml" <<STAND_IN
services:
  openclaw-gateway:
    image: $IMAGE
    entrypoint: [/usr/local/bin/mission-control-sandbox]
    command: [--demo, --host, 0.0.0.0, --port, "18789"]
    healthcheck:
      test: [CMD, bash, -c, ": <>/dev/tcp/127.0.0.1/18789"]
      interval: 1s
STAND_IN
    COMPOSE_FILE+=:$work/project/stand-in.yml
}

# --- Before anything is started ---

check_wants_env() {
    local profile
    for profile in runtime openclaw; do
        refuses compose "$profile" config >"$work/config.log" 2>&1
        holds "$(cat "$work/config.log")" "$work/project/.env not found"
        refuses env PROFILE="$profile" "$ROOT/scripts/runtime-docker-up.sh" \
            >"$work/up.log" 2>&1
        holds "$(cat "$work/up.log")" "cp .env.example .env"
    done
}

# services_of ARGUMENT...: those that Compose would start.
services_of() {
    docker compose "$@" config --services | sort | paste -sd ' '
}

check_sandbox_wants_nothing() {
    compose sandbox config --quiet
    equal "sandbox sandbox-runtime" "$(services_of --profile sandbox)"
}

# With .env.example as .env, Compose starts the runtime when nobody names a profile.
check_default_profile() {
    cp "$ROOT/.env.example" "$work/project/.env"
    equal runtime "$(services_of)" "without a profile"
    equal "openclaw-gateway runtime" "$(services_of --profile openclaw)" "openclaw"
    equal "sandbox sandbox-runtime" "$(services_of --profile sandbox)" "sandbox"
    rm "$work/project/.env"
}

check_unknown_profile() {
    refuses env PROFILE=nonsense "$ROOT/scripts/runtime-docker-up.sh" >"$work/up.log" 2>&1
    holds "$(cat "$work/up.log")" "there is no profile nonsense"
}

# settings_of SERVICE: as Compose would start it in the profile openclaw.
settings_of() {
    compose openclaw config --format json | json_flat | grep "^services\.$1\."
}

check_gateway_sees_no_token() {
    local runtime gateway
    printf 'SERVICE_TOKEN=%s\nOPENCLAW_GATEWAY_TOKEN=%s\nOPENAI_API_KEY=%s\n' \
        "$TOKEN" gateway-token "$KEY" >"$work/project/.env"
    runtime=$(settings_of runtime)
    gateway=$(settings_of openclaw-gateway)
    holds "$runtime" "environment.SERVICE_TOKEN	$TOKEN"
    lacks "$gateway" SERVICE_TOKEN
    lacks "$gateway" "$TOKEN"
    holds "$gateway" "environment.OPENCLAW_GATEWAY_TOKEN	gateway-token"
    holds "$gateway" "environment.OPENAI_API_KEY	$KEY"
}

# gateway_url_with LINE: what the runtime is told when .env holds that line.
gateway_url_with() {
    printf '%s\n' "$1" >"$work/project/.env"
    settings_of runtime | sed -n 's/^services\.runtime\.environment\.OPENCLAW_GATEWAY_URL\t//p'
}

check_gateway_url() {
    equal http://openclaw-gateway:18789 "$(gateway_url_with '')" "not set"
    equal http://other:1 "$(gateway_url_with OPENCLAW_GATEWAY_URL=http://other:1)" "set"
    equal "" "$(gateway_url_with OPENCLAW_GATEWAY_URL=)" "set to nothing"
    rm "$work/project/.env"
}

# --- The demo ---

check_sandbox_comes_up() {
    compose sandbox up --no-build -d --wait
    holds "$(ask host GET "$SANDBOX_PORT" /)" "<title>"
    holds "$(ask host GET "$SANDBOX_HEALTH_PORT" /health)" '"status": "healthy"'
}

sandbox() {
    ask host "$1" "$SANDBOX_PORT" "/sandbox/$2" "${3-}"
}

# message_is_answered PORT: a message posted on the board there gets its agent's reply.
message_is_answered() {
    local task notification
    task=$(ask host GET "$1" "/sandbox/state?tables=tasks" | json_get tasks.0._id)
    notification=$(ask host POST "$1" /sandbox/message \
        "{\"task\":\"$task\",\"content\":\"@jarvis please look\"}" | json_get notifications.0)
    holds "$(ask host GET "$1" "/sandbox/wait?undelivered=0&replies=1&timeout_ms=30000")" '"met":true'
    holds "$(ask host GET "$1" "/sandbox/state?tables=messages&task=$task" | json_flat)" \
        "sourceNotificationId	$notification"
}

check_local_ports_only() {
    local name
    for name in sandbox sandbox-runtime; do
        holds "$(inspect "$(container "$name")" '{{json .HostConfig.PortBindings}}')" \
            '"HostIp":"127.0.0.1"'
    done
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

is_restarted() {
    (($(inspect "$1" '{{.RestartCount}}') > 0)) && is_healthy "$1"
}

check_restart_request() {
    local name
    name=$(container sandbox-runtime)
    sandbox POST restart '{}'
    wait_until 60 is_restarted "$name"
    holds "$(docker logs "$name" 2>&1)" "Shutting down... (asked for by the backend)"
    equal 1 "$(inspect "$name" '{{.RestartCount}}')" restarts
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
    run_make docker-down VOLUMES=1
    equal "" "$(left_behind || true)" "left behind"
}

# --- The runtime, with a stand-in for the gateway ---

check_openclaw_comes_up() {
    PROFILE=openclaw DAEMON=1 BUILD=0 "$ROOT/scripts/runtime-docker-up.sh" | tee "$work/up.log"
    holds "$(cat "$work/up.log")" "http://127.0.0.1:$HEALTH_PORT/health"
    holds "$(ask host GET "$HEALTH_PORT" /health)" '"status": "healthy"'
}

check_time_to_stop() {
    local settings name
    name=$(container runtime)
    settings=$(docker exec "$name" mission-control-runtime --check-config)
    holds "$settings" $'\nOPENCLAW_REQUEST_TIMEOUT_MS=300000 '
    holds "$settings" $'\nSHUTDOWN_GRACE_MS=305000 '
    equal 320 "$(inspect "$name" '{{.Config.StopTimeout}}')" "seconds before it is killed"
}

check_token_in_file() {
    local settings
    settings=$(docker exec "$(container runtime)" mission-control-runtime --check-config)
    holds "$settings" $'\nSERVICE_TOKEN=***  # SERVICE_TOKEN_FILE'
    lacks "$(docker inspect "$(container runtime)")" "$TOKEN"
    lacks "$(docker inspect "$(container openclaw-gateway)")" "$TOKEN"
    holds "$(docker inspect "$(container openclaw-gateway)")" "$KEY"
    lacks "$(docker logs "$(container runtime)" 2>&1)" "$TOKEN"
}

# marked: the upgrade image that the runtime's container was made of says this of itself.
marked() {
    inspect "$(inspect "$(container runtime)" '{{.Image}}')" '{{index .Config.Labels "marked"}}'
}

# upgrade_to MARK LINE...: upgrades to what is built of these lines on top of the image.
upgrade_to() {
    local mark=$1
    shift
    mkdir -p "$work/project/next"
    printf '%s\n' "FROM $IMAGE" "LABEL marked=$mark" "$@" >"$work/project/next/Dockerfile"
    PROFILE=runtime UPGRADE_TIMEOUT_S=20 "$ROOT/scripts/runtime-upgrade-local.sh" 2>&1
}

prepare_upgrades() {
    export RUNTIME_IMAGE=$UPGRADE_IMAGE
    printf 'services:\n  runtime:\n    build:\n      context: ./next\n' >"$work/project/next.yml"
    COMPOSE_FILE+=:$work/project/next.yml
}

check_upgrade() {
    upgrade_to good
    equal good "$(marked)" "in use"
    is_healthy "$(container runtime)"
    # What it keeps is still there.
    docker exec "$(container runtime)" test -e /var/lib/mission-control-runtime/kept
}

# goes_back LINE...: an upgrade to that fails, and what was there before is in use again.
goes_back() {
    refuses upgrade_to bad "$@" >"$work/upgrade.log"
    holds "$(cat "$work/upgrade.log")" "previous images are in use again and healthy"
    equal good "$(marked)" "in use"
    is_healthy "$(container runtime)"
    # The next start takes it, too.
    equal good "$(inspect "$UPGRADE_IMAGE" '{{index .Config.Labels "marked"}}')" "by name"
}

check_failed_build() {
    refuses upgrade_to bad 'RUN ["/bin/false"]' >"$work/upgrade.log"
    holds "$(cat "$work/upgrade.log")" "what was running goes on"
    equal good "$(marked)" "in use"
    is_healthy "$(container runtime)"
}

test_demo() {
    check "profiles that need a .env say so" check_wants_env
    check "the demo needs none" check_sandbox_wants_nothing
    check "without a profile it is the runtime" check_default_profile
    check "a profile that is not there is said" check_unknown_profile
    check "the gateway is told its keys, and not SERVICE_TOKEN" check_gateway_sees_no_token
    check "OPENCLAW_GATEWAY_URL is right unless somebody sets it" check_gateway_url
    check "the demo comes up, with board and health on the host" check_sandbox_comes_up
    check "its ports are published on the loopback address alone" check_local_ports_only
    check "its runtime is hardened" is_hardened sandbox-runtime
    check "its sandbox is hardened" is_hardened sandbox
    check "a message is answered" message_is_answered "$SANDBOX_PORT"
    check "a restart asked for on the board restarts the container" check_restart_request
    check "after docker-down with VOLUMES=1 nothing stays" check_nothing_stays
}

test_runtime() {
    make_env
    check "runtime and gateway come up by the script" check_openclaw_comes_up
    check "the runtime is hardened" is_hardened runtime
    check "agent runs may last 300 s, and a stop longer" check_time_to_stop
    check "the service token comes out of a file, and nobody else sees it" check_token_in_file
    check "a message is answered through the profile's gateway" message_is_answered "$GATEWAY_PORT"
    prepare_upgrades
    check "something is kept" docker exec "$(container runtime)" \
        touch /var/lib/mission-control-runtime/kept
    check "an upgrade replaces the image and keeps the state" check_upgrade
    check "an image that is never healthy is taken back" goes_back \
        'HEALTHCHECK --interval=1s --retries=1 CMD ["/bin/false"]'
    check "an image that ends at once is taken back" goes_back 'ENTRYPOINT ["/bin/false"]'
    check "an image that cannot be built changes nothing" check_failed_build
    check "after docker-down with VOLUMES=1 nothing stays" check_nothing_stays
}

run() {
    work=$(mktemp -d)
    trap clean_up EXIT
    docker volume ls -q >"$work/volumes"
    echo none >>"$work/volumes"
    make_project
    check "the image is built" build_image
    if ((failed > 0)); then return; fi
    test_demo
    test_runtime
}

skip_without_engine
run
conclude
