#!/usr/bin/env bash
# Builds the image and tests its contents, privileges and behaviour. Passes with a note if no container
# engine is available. The environment variables are those of test/deploy/lib/containers.sh.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/containers.sh
. "$(dirname "$0")/lib/containers.sh"

readonly SIZE_LIMIT_BYTES=100000000
readonly STOP_LIMIT_S=15
readonly NAME=mission-control-image-test-$$
readonly HARDENED=(--read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges)

clean_up() {
    docker rm -f -v "$NAME" "$NAME-sandbox" >/dev/null 2>&1 || true
    docker volume rm "$NAME" >/dev/null 2>&1 || true
    remove_work_dir
}

check_version() {
    expect_contains "$(docker run --rm "$IMAGE" --version)" "mission-control-runtime $(cat "$ROOT/VERSION")"
    expect_equal "$(cat "$ROOT/VERSION")" \
        "$(inspect "$IMAGE" '{{index .Config.Labels "org.opencontainers.image.version"}}')"
    expect_equal mission-control-runtime "$(in_image 'cd /usr/local/bin && echo *')" "programs"
    expect_contains "$(docker run --rm "$SANDBOX_IMAGE" --help)" "usage: mission-control-sandbox"
}

check_size() {
    local size_bytes
    size_bytes=$(inspect "$IMAGE" '{{.Size}}')
    echo "$size_bytes bytes"
    ((size_bytes < SIZE_LIMIT_BYTES))
}

check_declarations() {
    local label
    for label in title description version; do
        [[ -n $(inspect "$IMAGE" "{{index .Config.Labels \"org.opencontainers.image.$label\"}}") ]]
    done
    expect_equal 10001:10001 "$(inspect "$IMAGE" '{{.Config.User}}')" user
    expect_equal SIGTERM "$(inspect "$IMAGE" '{{.Config.StopSignal}}')" signal
    expect_equal '["CMD","/usr/local/bin/mission-control-runtime","healthcheck"]' \
        "$(inspect "$IMAGE" '{{json .Config.Healthcheck.Test}}')" "health check"
    expect_equal '{"/var/lib/mission-control-runtime":{}}' \
        "$(inspect "$IMAGE" '{{json .Config.Volumes}}')" volumes
    expect_contains "$(inspect "$IMAGE" '{{json .Config.Env}}')" '"HEALTH_HOST=0.0.0.0"'
    expect_contains "$(inspect "$IMAGE" '{{json .Config.Env}}')" \
        '"STATE_DIR=/var/lib/mission-control-runtime"'
}

in_image() {
    docker run --rm --entrypoint bash "$IMAGE" -c "$1"
}

check_stripped() {
    # A stripped program has no symbol table section.
    in_image '! grep -q "\.symtab" /usr/local/bin/mission-control-*'
}

check_no_build_tools() {
    fails in_image 'command -v gcc make pkg-config curl || test -e /source'
    in_image 'test -s /etc/ssl/certs/ca-certificates.crt'
}

# Program and health check are exec'ed by path, so the image works without a shell.
check_no_shell() {
    printf 'FROM %s\nUSER 0\nRUN ["rm", "/bin/sh", "/bin/bash", "/bin/dash"]\nUSER 10001\n' \
        "$IMAGE" | docker build -q -t "$NAME" -
    docker run --rm "$NAME" --version
    fails docker run --rm --entrypoint sh "$NAME" -c true
    docker run --rm --network none -e ACCOUNT_ID=k57abc -e SERVICE_TOKEN=mc_service_k57abc_x \
        -e CONVEX_URL=http://127.0.0.1:9 "$NAME" healthcheck >"$work/no-shell.log" 2>&1 &&
        return 1
    docker rmi "$NAME"
    expect_contains "$(cat "$work/no-shell.log")" "http://127.0.0.1:3001/health"
}

check_missing_settings() {
    local status=0
    docker run --rm "$IMAGE" >"$work/missing.log" 2>&1 || status=$?
    expect_equal 78 "$status" status
    expect_contains "$(cat "$work/missing.log")" "ACCOUNT_ID is missing"
    expect_contains "$(cat "$work/missing.log")" "CONVEX_URL is missing"
    expect_contains "$(cat "$work/missing.log")" "SERVICE_TOKEN is missing"
}

start_sandbox() {
    docker run -d --name "$NAME-sandbox" --network none "${HARDENED[@]}" --no-healthcheck \
        "$SANDBOX_IMAGE" --demo
}

# Both containers share the sandbox's network namespace, so no host port is needed.
start_runtime() {
    docker run -d --name "$NAME" --network "container:$NAME-sandbox" "${HARDENED[@]}" \
        --health-interval 1s -v "$NAME:/var/lib/mission-control-runtime" \
        -e ACCOUNT_ID="$SANDBOX_ACCOUNT" -e SERVICE_TOKEN="$SANDBOX_TOKEN" \
        -e CONVEX_URL=http://127.0.0.1:3210 -e OPENCLAW_GATEWAY_URL=http://127.0.0.1:3210 \
        -e DELIVERY_INTERVAL=1000 "$IMAGE"
}

check_starts() {
    start_sandbox
    wait_until 20 network_request "container:$NAME-sandbox" GET 3210 /sandbox/info
    start_runtime
    wait_until 60 is_healthy "$NAME"
}

sandbox() {
    network_request "container:$NAME-sandbox" "$1" 3210 "/sandbox/$2" "${3-}"
}

check_no_root() {
    expect_equal "10001 10001" "$(docker exec "$NAME" bash -c 'echo $(id -u) $(id -g)')"
    expect_contains "$(docker exec "$NAME" cat /proc/1/status)" $'NoNewPrivs:\t1'
    expect_contains "$(docker exec "$NAME" cat /proc/1/status)" $'CapEff:\t0000000000000000'
}

check_read_only() {
    fails docker exec "$NAME" touch /etc/written
    fails docker exec "$NAME" touch /usr/local/bin/written
    docker exec "$NAME" touch /var/lib/mission-control-runtime/written
    docker exec "$NAME" rm /var/lib/mission-control-runtime/written
}

# delivers COUNT: whether that many more notifications are answered.
delivers() {
    local before
    before=$(sandbox GET stats | json_get delivered)
    sandbox POST load "{\"notifications\":$1,\"agents\":1}"
    expect_contains "$(sandbox GET "wait?delivered=$((before + $1))&timeout_ms=30000")" '"met":true'
}

# exits_cleanly COMMAND...: whether the runtime, stopped with COMMAND, exits cleanly and in time.
exits_cleanly() {
    local began_ms
    began_ms=$(now_ms)
    "$@"
    expect_equal 0 "$(inspect "$NAME" '{{.State.ExitCode}}')" "exit status"
    expect_equal exited "$(inspect "$NAME" '{{.State.Status}}')" state
    expect_contains "$(docker logs "$NAME" 2>&1)" "Shutdown complete"
    (($(now_ms) - began_ms < STOP_LIMIT_S * 1000))
}

# A held run has a record in the spool, which survives the kill. A new container on the same volume loads
# it.
check_state_survives() {
    local notification
    sandbox POST faults '{"gateway":[{"name":"held","action":"hold","times":1}]}'
    notification=$(sandbox POST load '{"notifications":1,"agents":1}' |
        json_get notifications.0.id)
    expect_contains "$(sandbox GET "wait?held=1&timeout_ms=20000")" '"met":true'
    docker kill "$NAME"
    docker rm "$NAME"
    sandbox POST settings '{"gateway_draining":true}'
    start_runtime
    wait_until 60 is_healthy "$NAME"
    expect_contains "$(docker exec "$NAME" mission-control-runtime spool list)" "$notification"
    sandbox POST settings '{"gateway_draining":false}'
    sandbox POST faults/clear '{}'
    expect_contains "$(sandbox GET "wait?undelivered=0&timeout_ms=60000")" '"met":true'
}

test_image() {
    check "the image is built, and its tests pass" build_image
    if ! all_passed; then return; fi
    check "it has the program in this version, and no other; the demo has both" check_version
    check "it is smaller than $((SIZE_LIMIT_BYTES / 1000000)) MB" check_size
    check "it declares user, signal, health check, volume and settings" check_declarations
    check "its programs are stripped" check_stripped
    check "it has CA certificates but no build tools" check_no_build_tools
    check "it needs no shell" check_no_shell
    check "without settings it names them and exits with 78" check_missing_settings
    check "it becomes healthy read-only and without capabilities" check_starts
    check "it is not root and cannot become root" check_no_root
    check "it can write only to its state directory" check_read_only
    check "it delivers notifications" delivers 5
    check "its state survives the container" check_state_survives
    check "SIGTERM stops it in time with status 0" exits_cleanly docker stop -t "$STOP_LIMIT_S" "$NAME"
}

skip_without_engine
trap clean_up EXIT
test_image
finish
