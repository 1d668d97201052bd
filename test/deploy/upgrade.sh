#!/usr/bin/env bash
# Tests the profile openclaw of docker-compose.runtime.yml with the sandbox as its gateway, and upgrades to
# good and bad images. Passes with a note if no container engine is available. The environment variables
# are those of test/deploy/lib/containers.sh.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/containers.sh
. "$(dirname "$0")/lib/containers.sh"

readonly TOKEN=$SANDBOX_TOKEN
readonly KEY=sk-provider-key-of-the-test
readonly UPGRADE_IMAGE=mission-control-runtime:upgrade-$$

# Those of the upgrades, and those that a rollback left without a name, which carry the label of this run.
remove_images() {
    docker rmi -f "$UPGRADE_IMAGE" mission-control-previous:runtime
    docker images -q --filter "label=run=$$" | sort -u | xargs -r "$DOCKER" rmi -f
}

check_no_image_remains() {
    remove_images
    expect_equal "" "$(docker images -a -q --filter "label=run=$$")" "images"
    expect_equal "" "$(docker images -q mission-control-previous)" "previous images"
}

clean_up() {
    [[ -z ${COMPOSE_FILE-} ]] || make_down >/dev/null 2>&1 || true
    remove_images >/dev/null 2>&1 || true
    remove_work_dir
}

# The sandbox, in the gateway's container, is both backend and gateway; the token is in a file.
make_env() {
    sed -e "s/^ACCOUNT_ID=.*/ACCOUNT_ID=$SANDBOX_ACCOUNT/" -e "s/^HEALTH_PORT=.*/HEALTH_PORT=$HEALTH_PORT/" \
        -e 's,^CONVEX_URL=.*,CONVEX_URL=http://openclaw-gateway:18789,' \
        "$ROOT/.env.example" >"$work/project/.env"
    printf '%s\n' HEALTH_CHECK_INTERVAL=1000 SERVICE_TOKEN_HOST_FILE=./service_token OPENCLAW_GATEWAY_TOKEN_HOST_FILE=./gateway_token \
        "ANTHROPIC_API_KEY=$KEY" >>"$work/project/.env"
    # The sandbox's own, as its gateway takes no other.
    echo local >"$work/project/gateway_token"
    printf '%s\n' "$TOKEN" >"$work/project/service_token"
    cat >"$work/project/sandbox.yml" <<OVERRIDE
services:
  openclaw-gateway:
    image: $SANDBOX_IMAGE
    entrypoint: [/usr/local/bin/mission-control-sandbox]
    command: [--demo, --host, 0.0.0.0, --port, "18789"]
    healthcheck:
      test: [CMD, bash, -c, ": <>/dev/tcp/127.0.0.1/18789"]
      interval: 1s
OVERRIDE
    COMPOSE_FILE+=:$work/project/sandbox.yml
}

check_openclaw_starts() {
    PROFILE=openclaw DAEMON=1 BUILD=0 "$ROOT/scripts/runtime-docker-up.sh" | tee "$work/up.log"
    expect_contains "$(cat "$work/up.log")" "http://127.0.0.1:$HEALTH_PORT/health"
    wait_until 30 reports_healthy
}

reports_healthy() {
    network_request host GET "$HEALTH_PORT" /health | grep -F '"status": "healthy"'
}

check_stop_timeouts() {
    local settings name
    name=$(container runtime)
    settings=$(docker exec "$name" mission-control-runtime --check-config)
    expect_contains "$settings" $'\nOPENCLAW_REQUEST_TIMEOUT_MS=300000 '
    expect_contains "$settings" $'\nSHUTDOWN_GRACE_MS=305000 '
    expect_equal 320 "$(inspect "$name" '{{.Config.StopTimeout}}')" "seconds before it is killed"
}

check_token_in_file() {
    local settings
    settings=$(docker exec "$(container runtime)" mission-control-runtime --check-config)
    expect_contains "$settings" $'\nSERVICE_TOKEN=***  # SERVICE_TOKEN_FILE'
    expect_lacks "$(docker inspect "$(container runtime)")" "$TOKEN"
    expect_lacks "$(docker inspect "$(container openclaw-gateway)")" "$TOKEN"
    expect_contains "$(docker inspect "$(container openclaw-gateway)")" "$KEY"
    expect_lacks "$(docker logs "$(container runtime)" 2>&1)" "$TOKEN"
}

# release_in_use: prints the label of the image that the runtime's container uses.
release_in_use() {
    inspect "$(inspect "$(container runtime)" '{{.Image}}')" '{{index .Config.Labels "release"}}'
}

# upgrade_to LABEL LINE...: upgrades to the image plus these Dockerfile lines.
upgrade_to() {
    local label=$1
    shift
    mkdir -p "$work/project/next"
    printf '%s\n' "FROM $IMAGE" "LABEL release=$label run=$$" "$@" >"$work/project/next/Dockerfile"
    PROFILE="" UPGRADE_TIMEOUT_S=20 "$ROOT/scripts/runtime-upgrade-local.sh" 2>&1
}

prepare_upgrades() {
    export RUNTIME_IMAGE=$UPGRADE_IMAGE
    printf 'services:\n  runtime:\n    build:\n      context: ./next\n' >"$work/project/next.yml"
    COMPOSE_FILE+=:$work/project/next.yml
}

check_upgrade() {
    upgrade_to good
    expect_equal good "$(release_in_use)" "in use"
    is_healthy "$(container runtime)"
    # Its state is still there.
    docker exec "$(container runtime)" test -e /var/lib/mission-control-runtime/kept
}

# rolls_back LINE...: an upgrade with these lines fails and is rolled back.
rolls_back() {
    fails upgrade_to bad "$@" >"$work/upgrade.log"
    expect_contains "$(cat "$work/upgrade.log")" "rolled back to the previous images, which are healthy"
    expect_equal good "$(release_in_use)" "in use"
    is_healthy "$(container runtime)"
    # The next start uses it as well.
    expect_equal good "$(inspect "$UPGRADE_IMAGE" '{{index .Config.Labels "release"}}')" "by name"
}

check_failed_build() {
    fails upgrade_to bad 'COPY not-there /' >"$work/upgrade.log"
    expect_contains "$(cat "$work/upgrade.log")" "the running containers were left alone"
    expect_equal good "$(release_in_use)" "in use"
    is_healthy "$(container runtime)"
}

# request_upgrade VERSION: the board requests it, and the runtime leaves the request in its volume.
request_upgrade() {
    network_request host POST "$GATEWAY_PORT" /sandbox/upgrade "{\"openclaw\":\"\",\"runtime\":\"$1\"}"
    wait_until 60 docker exec "$(container runtime)" \
        grep -F "$1" /var/lib/mission-control-runtime/upgrade-request.json
}

# history_ends_with STATUS [WORDS]: whether the board's last upgrade has that status and reason.
history_ends_with() {
    local history
    history=$(network_request host GET "$GATEWAY_PORT" "/sandbox/state?tables=runtimes" |
        json_flatten | grep -F upgradeHistory)
    expect_equal "$1" "$(sed -n 's/.*\.status\t//p' <<<"$history" | tail -n 1)" status
    [[ -z ${2-} ]] || expect_contains "$(sed -n 's/.*\.error\t//p' <<<"$history" | tail -n 1)" "$2"
}

requested_version_is_installed() {
    request_upgrade 0.3.0
    upgrade_to requested 'ENV RUNTIME_VERSION=0.3.0'
    expect_equal requested "$(release_in_use)" "in use"
    wait_until 60 history_ends_with success
}

broken_version_is_rolled_back() {
    request_upgrade 0.4.0
    fails upgrade_to bad 'ENV RUNTIME_VERSION=0.4.0' 'HEALTHCHECK --interval=1s --retries=1 CMD ["/bin/false"]'
    expect_equal requested "$(release_in_use)" "in use"
    wait_until 60 history_ends_with rolled_back "the new containers did not become healthy"
}

other_version_is_rolled_back() {
    request_upgrade 0.5.0
    fails upgrade_to bad 'ENV RUNTIME_VERSION=0.4.9'
    expect_equal requested "$(release_in_use)" "in use"
    wait_until 60 history_ends_with rolled_back "the new images have runtime 0.4.9, not the requested 0.5.0"
}

# As the timer does it: nothing without a request.
nothing_is_requested() {
    local before
    before=$(inspect "$(container runtime)" '{{.Id}}')
    expect_equal "" "$(PROFILE="" "$ROOT/scripts/runtime-upgrade-local.sh" --if-requested 2>&1)"
    expect_equal "$before" "$(inspect "$(container runtime)" '{{.Id}}')" "container"
}

test_runtime() {
    make_env
    check "the script starts runtime and gateway" check_openclaw_starts
    check "the runtime is hardened" is_hardened runtime
    check "agent runs may take 300 s, and shutdown longer" check_stop_timeouts
    check "the service token is read from a file and visible nowhere else" check_token_in_file
    check "a message is answered through the profile's gateway" message_is_answered "$GATEWAY_PORT"
    prepare_upgrades
    check "a file is put into the state directory" docker exec "$(container runtime)" \
        touch /var/lib/mission-control-runtime/kept
    check "an upgrade replaces the image and keeps the state" check_upgrade
    check "an image that never becomes healthy is rolled back" rolls_back \
        'HEALTHCHECK --interval=1s --retries=1 CMD ["/bin/false"]'
    check "an image that exits at once is rolled back" rolls_back 'ENTRYPOINT ["/bin/false"]'
    check "an image that cannot be built changes nothing" check_failed_build
    check "the version that the board requests is installed" requested_version_is_installed
    check "a requested version that is broken is rolled back" broken_version_is_rolled_back
    check "images of another version than the requested one are rolled back" other_version_is_rolled_back
    check "--if-requested does nothing without a request" nothing_is_requested
    check "docker-down VOLUMES=1 leaves nothing behind" check_nothing_remains
    check "no image of the test is left behind" check_no_image_remains
}

test_upgrade() {
    check "the image is built" build_image
    if all_passed; then test_runtime; fi
}

trap clean_up EXIT
skip_without_engine
use_project
test_upgrade
finish
