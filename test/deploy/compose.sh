#!/usr/bin/env bash
# Tests the profiles of docker-compose.runtime.yml and the demo: what they need, start, permit and leave
# behind. Passes with a note if no container engine is available. The environment variables are those of
# test/deploy/lib/containers.sh.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/containers.sh
. "$(dirname "$0")/lib/containers.sh"

clean_up() {
    [[ -z ${COMPOSE_FILE-} ]] || make_down >/dev/null 2>&1 || true
    remove_work_dir
}

# --- scripts/runtime-docker-up.sh, with a stub as the engine ---

# The stub records its arguments and answers with the settings of a runtime that has an account. One build
# fails for each line of the file builds-to-fail; "up" fails if the file start-fails exists.
make_stub() {
    cat >"$work/docker" <<'STUB'
#!/usr/bin/env bash
cd "$(dirname "$0")" || exit
echo "$*" >>calls
case $* in
*" build "*)
    [[ ! -s builds-to-fail ]] && exit
    sed -i 1d builds-to-fail
    exit 1
    ;;
*" config --services") echo runtime ;;
*" config --format json") echo '{"services": {"runtime": {"environment": {"ACCOUNT_ID": "k57abc"}}}}' ;;
*" up "*) [[ ! -e start-fails ]] ;;
esac
STUB
    chmod +x "$work/docker"
}

# calls_with VARIABLE=VALUE...: runs the script with these and prints the engine calls that it made.
calls_with() {
    rm -f "$work/calls"
    env DOCKER="$work/docker" PROFILE="" "$@" "$ROOT/scripts/runtime-docker-up.sh" \
        >"$work/up.log" 2>&1
    local status=$?
    grep -vE ' (config|version|port)|^version' "$work/calls" |
        sed 's/^compose //' | paste -sd ,
    return "$status"
}

check_build_is_retried_once() {
    seq 1 >"$work/builds-to-fail"
    expect_equal "build runtime,builder prune -f,build runtime,up --no-build runtime" "$(calls_with BUILD=1)" "one fails"
    seq 2 >"$work/builds-to-fail"
    fails calls_with BUILD=1 >"$work/actual"
    expect_equal "build runtime,builder prune -f,build runtime" "$(head -n 1 "$work/actual")" "two fail"
    seq 1 >"$work/builds-to-fail"
    fails calls_with PRUNE_ON_FAIL=0 >"$work/actual"
    expect_equal "build runtime" "$(head -n 1 "$work/actual")" "without pruning"
    rm "$work/builds-to-fail"
}

# A start interrupted by Ctrl-C fails as well, so it must not be retried.
check_start_is_not_retried() {
    touch "$work/start-fails"
    fails calls_with DAEMON=0 >"$work/actual"
    expect_equal "build runtime,up --no-build runtime" "$(head -n 1 "$work/actual")" "in the foreground"
    fails calls_with DAEMON=1 BUILD=0 >"$work/actual"
    expect_equal "up --no-build -d --wait runtime" "$(head -n 1 "$work/actual")" "in the background"
    expect_contains "$(cat "$work/up.log")" "docs/docker-compose.md"
    rm "$work/start-fails"
}

# --- Before anything starts ---

# The scripts refuse to start a runtime without an account.
check_account_is_required() {
    local profile script
    for profile in "" openclaw; do
        for script in runtime-docker-up.sh runtime-upgrade-local.sh; do
            fails env PROFILE="$profile" "$ROOT/scripts/$script" >"$work/up.log" 2>&1
            expect_contains "$(cat "$work/up.log")" "cp .env.example .env"
        done
    done
}

# services_of ARGUMENT...: prints the services that Compose would start.
services_of() {
    docker compose "$@" config --services | sort | paste -sd ' '
}

check_profiles() {
    expect_equal runtime "$(services_of)" "without a profile"
    expect_equal "openclaw-gateway runtime" "$(services_of --profile openclaw)" "openclaw"
    expect_equal "runtime sandbox sandbox-runtime" "$(services_of --profile sandbox)" "sandbox"
    expect_equal "openclaw-gateway runtime" "$(COMPOSE_PROFILES=openclaw services_of)" "COMPOSE_PROFILES"
}

check_unknown_profile() {
    fails env PROFILE=nonsense "$ROOT/scripts/runtime-docker-up.sh" >"$work/up.log" 2>&1
    expect_contains "$(cat "$work/up.log")" 'unknown profile "nonsense"'
}

# settings_of SERVICE: prints its settings in the profile openclaw.
settings_of() {
    compose openclaw config --format json | json_flatten | grep "^services\.$1\."
}

# Whatever .env says, the runtime's container has no token and no key, and the gateway's no SERVICE_TOKEN.
check_secrets_are_apart() {
    local runtime gateway key
    printf '%s\n' "SERVICE_TOKEN=$SANDBOX_TOKEN" OPENCLAW_GATEWAY_TOKEN=gw-secret \
        {OPENAI,ANTHROPIC,AI_GATEWAY,VERCEL_AI_GATEWAY}_API_KEY=sk-key >"$work/project/.env"
    runtime=$(settings_of runtime)
    gateway=$(settings_of openclaw-gateway)
    for key in "$SANDBOX_TOKEN" gw-secret; do
        expect_lacks "$runtime" "$key"
        expect_lacks "$gateway" "$key"
    done
    expect_lacks "$runtime" sk-key
    expect_lacks "$runtime" API_KEY
    expect_lacks "$gateway" SERVICE_TOKEN
    for key in OPENAI ANTHROPIC AI_GATEWAY VERCEL_AI_GATEWAY; do
        expect_contains "$gateway" "environment.${key}_API_KEY	sk-key"
    done
}

# A token in .env would be ignored, which the scripts say before anything starts.
check_token_in_env_is_refused() {
    local name script
    for name in SERVICE_TOKEN OPENCLAW_GATEWAY_TOKEN; do
        printf 'ACCOUNT_ID=k57abc\n%s=x\n' "$name" >"$work/project/.env"
        for script in runtime-docker-up.sh runtime-upgrade-local.sh; do
            fails env PROFILE=openclaw "$ROOT/scripts/$script" >"$work/up.log" 2>&1
            expect_contains "$(cat "$work/up.log")" "set ${name}_HOST_FILE"
        done
    done
    rm "$work/project/.env"
}

# Runtime and gateway share the workspaces at one path, and nothing else but the token: not the state
# directory, which holds the key of the agents' API. The profile sync needs no setting and can be off.
check_profiles_are_shared() {
    local runtime gateway settings
    runtime=$(settings_of runtime)
    gateway=$(settings_of openclaw-gateway)
    for settings in "$runtime" "$gateway"; do
        expect_contains "$settings" "environment.OPENCLAW_PROFILE_SYNC	true"
        expect_contains "$settings" "environment.OPENCLAW_WORKSPACE_ROOT	/home/openclaw/workspace"
        expect_contains "$settings" \
            "environment.OPENCLAW_AGENTS_FILE	/home/openclaw/workspace/mission-control-agents.json"
        expect_contains "$settings" "source	openclaw-workspace"
        expect_contains "$settings" "target	/home/openclaw/workspace"
    done
    expect_equal "/home/openclaw/workspace /run/mission-control" \
        "$(comm -12 <(volume_targets "$runtime") <(volume_targets "$gateway") | paste -sd ' ')" "shared volumes"
    expect_contains "$gateway" "environment.OPENCLAW_INCLUDE_ROOTS	/home/openclaw/workspace"
    expect_lacks "$gateway" runtime-state
    expect_lacks "$gateway" /var/lib/mission-control-runtime
    expect_lacks "$gateway" SERVICE_TOKEN
    echo OPENCLAW_PROFILE_SYNC=false >"$work/project/.env"
    expect_contains "$(settings_of runtime)" "environment.OPENCLAW_PROFILE_SYNC	false"
    expect_contains "$(settings_of openclaw-gateway)" "environment.OPENCLAW_PROFILE_SYNC	false"
    rm "$work/project/.env"
}

# volume_targets SETTINGS: prints where a service has named volumes, sorted.
volume_targets() {
    awk -F '\t' '
        $1 ~ /\.type$/ { is_volume = $2 == "volume" }
        $1 ~ /\.target$/ && is_volume { print $2 }' <<<"$1" | sort
}

# The two containers find the same file, a random one in their volume or the given one.
check_gateway_token_is_shared() {
    local runtime gateway settings
    runtime=$(settings_of runtime)
    gateway=$(settings_of openclaw-gateway)
    for settings in "$runtime" "$gateway"; do
        expect_contains "$settings" "OPENCLAW_GENERATED_TOKEN_FILE	/run/mission-control/gateway_token"
        expect_contains "$settings" "OPENCLAW_GATEWAY_TOKEN_FILE	"$'\n'
    done
    echo OPENCLAW_GATEWAY_TOKEN_HOST_FILE=./token >"$work/project/.env"
    for settings in "$(settings_of runtime)" "$(settings_of openclaw-gateway)"; do
        expect_contains "$settings" "OPENCLAW_GATEWAY_TOKEN_FILE	/run/mission-control-host/gateway_token"
        expect_contains "$settings" "source	$work/project/token"
    done
    rm "$work/project/.env"
}

# The started container: neither its settings nor its processes' arguments have a token or a key.
check_runtime_shows_no_secret() {
    local name
    name=$(container runtime)
    printf '%s\n' "ACCOUNT_ID=$SANDBOX_ACCOUNT" CONVEX_URL=http://sandbox:3210 "HEALTH_PORT=$HEALTH_PORT" \
        SERVICE_TOKEN_HOST_FILE=./service_token OPENAI_API_KEY=sk-key-of-the-test >"$work/project/.env"
    printf '%s\n' "$SANDBOX_TOKEN" >"$work/project/service_token"
    compose "" up --no-build -d --wait
    docker exec "$name" cat /run/mission-control/gateway_token >"$work/gateway_token"
    grep -qxE '[0-9a-f]{64}' "$work/gateway_token"
    docker inspect "$name" >"$work/inspected"
    docker exec "$name" cat /proc/1/cmdline >>"$work/inspected"
    # Not even the runtime's own user may read it.
    fails docker exec "$name" cat /proc/1/environ
    expect_no_match "$SANDBOX_TOKEN|sk-key-of-the-test|API_KEY|$(cat "$work/gateway_token")" "$work/inspected"
    expect_equal "600 10001" "$(docker exec "$name" stat -c '%a %u' /run/mission-control/gateway_token)"
    docker exec "$name" mission-control-runtime --check-config | grep -F 'OPENCLAW_GATEWAY_TOKEN=***'
}

# The next container finds the token that the first one made.
check_gateway_token_is_kept() {
    compose "" up --no-build -d --wait --force-recreate
    expect_equal "$(cat "$work/gateway_token")" \
        "$(docker exec "$(container runtime)" cat /run/mission-control/gateway_token)" "token"
    compose "" rm -f -s -v runtime
    rm "$work/project/.env"
}

# Its first check comes after 2 s, not after 10.
check_start_is_fast() {
    local began_ms
    compose sandbox stop sandbox-runtime
    began_ms=$(now_ms)
    compose sandbox up --no-build -d --wait sandbox-runtime
    echo "healthy within $(($(now_ms) - began_ms)) ms"
    (($(now_ms) - began_ms < 8000))
}

# gateway_url_with LINE: prints the runtime's gateway URL with that line in .env.
gateway_url_with() {
    printf '%s\n' "$1" >"$work/project/.env"
    settings_of runtime | sed -n 's/^services\.runtime\.environment\.OPENCLAW_GATEWAY_URL\t//p'
}

check_gateway_url() {
    expect_equal http://openclaw-gateway:18789 "$(gateway_url_with '')" "not set"
    expect_equal http://other:1 "$(gateway_url_with OPENCLAW_GATEWAY_URL=http://other:1)" "set"
    expect_equal "" "$(gateway_url_with OPENCLAW_GATEWAY_URL=)" "set to nothing"
    rm "$work/project/.env"
}

# --- The demo ---

check_sandbox_starts() {
    PROFILE=sandbox DAEMON=1 BUILD=0 "$ROOT/scripts/runtime-docker-up.sh"
    expect_equal "sandbox sandbox-runtime" "$(compose sandbox ps -a --services | sort | paste -sd ' ')"
    expect_contains "$(sandbox GET info)" '"backend":"v1"'
    demo_answers
}

demo_answers() {
    expect_contains "$(network_request host GET "$SANDBOX_PORT" /)" "<title>"
    expect_contains "$(network_request host GET "$SANDBOX_HEALTH_PORT" /health)" '"status": "healthy"'
}

has_restarted_twice() {
    (($(inspect "$1" '{{.RestartCount}}') > 1))
}

# Without a .env the project's own runtime reports what is missing and restarts; the demo still works.
check_runtime_without_settings() {
    local name
    name=$(container runtime)
    compose sandbox up --no-build -d
    wait_until 60 has_restarted_twice "$name"
    docker logs "$name" >"$work/runtime.log" 2>&1
    expect_contains "$(cat "$work/runtime.log")" "ACCOUNT_ID is missing"
    expect_contains "$(cat "$work/runtime.log")" "CONVEX_URL is missing"
    expect_contains "$(cat "$work/runtime.log")" "SERVICE_TOKEN is missing"
    demo_answers
    compose sandbox rm -f -s -v runtime
}

# With an account but no gateway, it logs which gateway is unreachable and which setting changes it.
check_runtime_without_gateway() {
    local name
    name=$(container runtime)
    printf '%s\n' "$SANDBOX_TOKEN" >"$work/project/service_token"
    printf '%s\n' "ACCOUNT_ID=$SANDBOX_ACCOUNT" SERVICE_TOKEN_HOST_FILE=./service_token \
        CONVEX_URL=http://sandbox:3210 "HEALTH_PORT=$HEALTH_PORT" >"$work/project/.env"
    compose "" up --no-build -d --wait
    wait_until 30 reports_no_gateway "$name"
    docker logs "$name" 2>&1 | grep "gateway unavailable, sends paused"
    compose "" rm -f -s -v runtime
    rm "$work/project/.env"
}

reports_no_gateway() {
    docker logs "$1" 2>&1 | grep -E "gateway unavailable, sends paused: .*openclaw-gateway.*OPENCLAW_GATEWAY_URL"
}

sandbox() {
    network_request host "$1" "$SANDBOX_PORT" "/sandbox/$2" "${3-}"
}

check_ports_are_local() {
    local name
    for name in sandbox sandbox-runtime; do
        expect_contains "$(inspect "$(container "$name")" '{{json .HostConfig.PortBindings}}')" \
            '"HostIp":"127.0.0.1"'
    done
}

# The runtime reaps them itself (test/integration/supervisor_test.c).
check_sandbox_has_an_init() {
    expect_equal true "$(inspect "$(container sandbox)" '{{.HostConfig.Init}}')" "init of the sandbox"
}

has_restarted() {
    (($(inspect "$1" '{{.RestartCount}}') > 0)) && is_healthy "$1"
}

check_restart_request() {
    local name
    name=$(container sandbox-runtime)
    sandbox POST restart '{}'
    wait_until 60 has_restarted "$name"
    expect_contains "$(docker logs "$name" 2>&1)" "Shutting down... (requested by the backend)"
    expect_equal 1 "$(inspect "$name" '{{.RestartCount}}')" restarts
}

test_demo() {
    check "the scripts require an account" check_account_is_required
    check "every profile includes the runtime" check_profiles
    check "an unknown profile is reported" check_unknown_profile
    check "keys reach the gateway alone, and tokens are in no setting" check_secrets_are_apart
    check "a token in .env is refused by the scripts" check_token_in_env_is_refused
    check "runtime and gateway share the file of the token" check_gateway_token_is_shared
    check "they share the workspaces, and never the state directory" check_profiles_are_shared
    check "OPENCLAW_GATEWAY_URL has a default that can be overridden" check_gateway_url
    check "the demo starts, with board and health port on the host" check_sandbox_starts
    check "its ports are published on loopback only" check_ports_are_local
    check "its sandbox has an init, which reaps orphans" check_sandbox_has_an_init
    check "its runtime is hardened" is_hardened sandbox-runtime
    check "its sandbox is hardened" is_hardened sandbox
    check "a message is answered" message_is_answered "$SANDBOX_PORT"
    check "its runtime is healthy soon after a start" check_start_is_fast
    check "docker inspect of the runtime shows no token and no key" check_runtime_shows_no_secret
    check "the gateway's token is made once" check_gateway_token_is_kept
    check "a runtime without settings reports what is missing" check_runtime_without_settings
    check "a runtime without a gateway names the setting" check_runtime_without_gateway
    check "a restart request on the board restarts the container" check_restart_request
    check "docker-down VOLUMES=1 leaves nothing behind" check_nothing_remains
}

test_start_script() {
    make_stub
    check "a failed build is retried once with an empty cache" check_build_is_retried_once
    check "a failed start is not retried" check_start_is_not_retried
}

test_compose() {
    check "the image is built" build_image
    if all_passed; then test_demo; fi
}

trap clean_up EXIT
test_start_script
skip_without_engine
use_project
test_compose
finish
