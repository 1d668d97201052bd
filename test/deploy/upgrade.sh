#!/usr/bin/env bash
# The profile openclaw of docker-compose.runtime.yml, with the sandbox in the gateway's place, and
# upgrades: to an image that works and to some that do not. Where no container engine answers it says
# so and passes. The variables that it obeys are named in test/deploy/lib/containers.sh.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/containers.sh
. "$(dirname "$0")/lib/containers.sh"

readonly TOKEN=$SANDBOX_TOKEN
readonly KEY=sk-provider-key-of-the-test
readonly UPGRADE_IMAGE=mission-control-runtime:upgrade-$$

clean_up() {
    [[ -z ${COMPOSE_FILE-} ]] || make_down >/dev/null 2>&1 || true
    docker rmi -f "$UPGRADE_IMAGE" mission-control-previous:runtime >/dev/null 2>&1 || true
    forget_work
}

# The sandbox plays the backend and the gateway, in the gateway's place; the token is in a file.
make_env() {
    sed -e "s/^ACCOUNT_ID=.*/ACCOUNT_ID=$SANDBOX_ACCOUNT/" -e "s/^HEALTH_PORT=.*/HEALTH_PORT=$HEALTH_PORT/" \
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
    hides "$(docker inspect "$(container runtime)")" "$TOKEN"
    hides "$(docker inspect "$(container openclaw-gateway)")" "$TOKEN"
    holds "$(docker inspect "$(container openclaw-gateway)")" "$KEY"
    hides "$(docker logs "$(container runtime)" 2>&1)" "$TOKEN"
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
    PROFILE="" UPGRADE_TIMEOUT_S=20 "$ROOT/scripts/runtime-upgrade-local.sh" 2>&1
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
    fails upgrade_to bad "$@" >"$work/upgrade.log"
    holds "$(cat "$work/upgrade.log")" "rolled back to the previous images, which are healthy"
    equal good "$(marked)" "in use"
    is_healthy "$(container runtime)"
    # The next start takes it, too.
    equal good "$(inspect "$UPGRADE_IMAGE" '{{index .Config.Labels "marked"}}')" "by name"
}

check_failed_build() {
    fails upgrade_to bad 'COPY not-there /' >"$work/upgrade.log"
    holds "$(cat "$work/upgrade.log")" "the running containers were left alone"
    equal good "$(marked)" "in use"
    is_healthy "$(container runtime)"
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
    check "the image is built" build_image
    if all_passed; then test_runtime; fi
}

trap clean_up EXIT
skip_without_engine
use_project
run
finish
