#!/usr/bin/env bash
# What each profile of docker-compose.runtime.yml wants, and the demo: what comes up, what it may do,
# and what is left behind. Where no container engine answers it says so and passes. The variables that
# it obeys are named in test/deploy/lib/containers.sh.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/containers.sh
. "$(dirname "$0")/lib/containers.sh"

clean_up() {
    [[ -z ${COMPOSE_FILE-} ]] || make_down >/dev/null 2>&1 || true
    forget_work
}

# --- The script that starts them, on a stand-in for the engine ---

# The stand-in notes what it is asked for, and tells the settings of a runtime with an account. So many
# builds fail as the file "builds-to-fail" has lines, and the start does when there is a file
# "start-fails".
make_stand_in() {
    cat >"$work/docker" <<'STAND_IN'
#!/usr/bin/env bash
cd "$(dirname "$0")" || exit
echo "$*" >>asked
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
STAND_IN
    chmod +x "$work/docker"
}

# asked VARIABLE=VALUE...: runs the script with these, and prints what it did to the engine.
asked() {
    rm -f "$work/asked"
    env DOCKER="$work/docker" PROFILE="" "$@" "$ROOT/scripts/runtime-docker-up.sh" \
        >"$work/up.log" 2>&1
    local status=$?
    grep -vE ' (config|version|port)|^version' "$work/asked" |
        sed 's/^compose //' | paste -sd ,
    return "$status"
}

check_build_is_tried_twice() {
    seq 1 >"$work/builds-to-fail"
    equal "build runtime,builder prune -f,build runtime,up --no-build runtime" "$(asked BUILD=1)" "one fails"
    seq 2 >"$work/builds-to-fail"
    fails asked BUILD=1 >"$work/did"
    equal "build runtime,builder prune -f,build runtime" "$(head -n 1 "$work/did")" "two fail"
    seq 1 >"$work/builds-to-fail"
    fails asked PRUNE_ON_FAIL=0 >"$work/did"
    equal "build runtime" "$(head -n 1 "$work/did")" "without pruning"
    rm "$work/builds-to-fail"
}

# A start that was ended by Ctrl-C fails, too.
check_start_is_tried_once() {
    touch "$work/start-fails"
    fails asked DAEMON=0 >"$work/did"
    equal "build runtime,up --no-build runtime" "$(head -n 1 "$work/did")" "in the foreground"
    fails asked DAEMON=1 BUILD=0 >"$work/did"
    equal "up --no-build -d --wait runtime" "$(head -n 1 "$work/did")" "in the background"
    holds "$(cat "$work/up.log")" "docs/docker-compose.md"
    rm "$work/start-fails"
}

# --- Before anything is started ---

# The scripts do not even start a runtime that is told no account.
check_wants_account() {
    local profile script
    for profile in "" openclaw; do
        for script in runtime-docker-up.sh runtime-upgrade-local.sh; do
            fails env PROFILE="$profile" "$ROOT/scripts/$script" >"$work/up.log" 2>&1
            holds "$(cat "$work/up.log")" "cp .env.example .env"
        done
    done
}

# services_of ARGUMENT...: those that Compose would start.
services_of() {
    docker compose "$@" config --services | sort | paste -sd ' '
}

check_profiles() {
    equal runtime "$(services_of)" "without a profile"
    equal "openclaw-gateway runtime" "$(services_of --profile openclaw)" "openclaw"
    equal "runtime sandbox sandbox-runtime" "$(services_of --profile sandbox)" "sandbox"
    equal "openclaw-gateway runtime" "$(COMPOSE_PROFILES=openclaw services_of)" "COMPOSE_PROFILES"
}

check_unknown_profile() {
    fails env PROFILE=nonsense "$ROOT/scripts/runtime-docker-up.sh" >"$work/up.log" 2>&1
    holds "$(cat "$work/up.log")" 'unknown profile "nonsense"'
}

# settings_of SERVICE: as Compose would start it in the profile openclaw.
settings_of() {
    compose openclaw config --format json | json_flatten | grep "^services\.$1\."
}

check_gateway_sees_no_token() {
    local runtime gateway
    printf 'SERVICE_TOKEN=%s\nOPENCLAW_GATEWAY_TOKEN=%s\nOPENAI_API_KEY=%s\n' \
        "$SANDBOX_TOKEN" gateway-token sk-key >"$work/project/.env"
    runtime=$(settings_of runtime)
    gateway=$(settings_of openclaw-gateway)
    holds "$runtime" "environment.SERVICE_TOKEN	$SANDBOX_TOKEN"
    hides "$gateway" SERVICE_TOKEN
    hides "$gateway" "$SANDBOX_TOKEN"
    holds "$gateway" "environment.OPENCLAW_GATEWAY_TOKEN	gateway-token"
    holds "$gateway" "environment.OPENAI_API_KEY	sk-key"
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
    PROFILE=sandbox DAEMON=1 BUILD=0 "$ROOT/scripts/runtime-docker-up.sh"
    equal "sandbox sandbox-runtime" "$(compose sandbox ps -a --services | sort | paste -sd ' ')"
    demo_answers
}

demo_answers() {
    holds "$(ask host GET "$SANDBOX_PORT" /)" "<title>"
    holds "$(ask host GET "$SANDBOX_HEALTH_PORT" /health)" '"status": "healthy"'
}

is_started_again() {
    (($(inspect "$1" '{{.RestartCount}}') > 1))
}

# Without a .env, the runtime that always belongs to it says what it misses; the demo does not mind.
check_runtime_without_settings() {
    local name
    name=$(container runtime)
    compose sandbox up --no-build -d
    wait_until 60 is_started_again "$name"
    docker logs "$name" >"$work/runtime.log" 2>&1
    holds "$(cat "$work/runtime.log")" "ACCOUNT_ID is missing"
    holds "$(cat "$work/runtime.log")" "CONVEX_URL is missing"
    holds "$(cat "$work/runtime.log")" "SERVICE_TOKEN is missing"
    demo_answers
    compose sandbox rm -f -s -v runtime
}

# With an account and no gateway, it says which one it does not find, and where to tell it another.
check_runtime_without_gateway() {
    local name
    name=$(container runtime)
    printf '%s\n' "ACCOUNT_ID=$SANDBOX_ACCOUNT" "SERVICE_TOKEN=$SANDBOX_TOKEN" \
        CONVEX_URL=http://sandbox:3210 "HEALTH_PORT=$HEALTH_PORT" >"$work/project/.env"
    compose "" up --no-build -d --wait
    wait_until 30 says_no_gateway "$name"
    docker logs "$name" 2>&1 | grep "No agent is asked for now"
    compose "" rm -f -s -v runtime
    rm "$work/project/.env"
}

says_no_gateway() {
    docker logs "$1" 2>&1 | grep -E "No agent is asked for now: .*openclaw-gateway.*OPENCLAW_GATEWAY_URL"
}

sandbox() {
    ask host "$1" "$SANDBOX_PORT" "/sandbox/$2" "${3-}"
}

check_local_ports_only() {
    local name
    for name in sandbox sandbox-runtime; do
        holds "$(inspect "$(container "$name")" '{{json .HostConfig.PortBindings}}')" \
            '"HostIp":"127.0.0.1"'
    done
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

test_demo() {
    check "the scripts want an account for the runtime" check_wants_account
    check "the runtime is always there, and profiles add to it" check_profiles
    check "an unknown profile is reported" check_unknown_profile
    check "the gateway is told its keys, and not SERVICE_TOKEN" check_gateway_sees_no_token
    check "OPENCLAW_GATEWAY_URL is right unless somebody sets it" check_gateway_url
    check "the demo comes up, with board and health on the host" check_sandbox_comes_up
    check "its ports are published on the loopback address alone" check_local_ports_only
    check "its runtime is hardened" is_hardened sandbox-runtime
    check "its sandbox is hardened" is_hardened sandbox
    check "a message is answered" message_is_answered "$SANDBOX_PORT"
    check "a runtime without settings beside it says what it misses" check_runtime_without_settings
    check "a runtime without a gateway says so, and what to set" check_runtime_without_gateway
    check "a restart asked for on the board restarts the container" check_restart_request
    check "after docker-down with VOLUMES=1 nothing stays" check_nothing_stays
}

test_script() {
    make_stand_in
    check "a build that fails is tried once more, on an empty cache" check_build_is_tried_twice
    check "a start that fails is not tried again" check_start_is_tried_once
}

run() {
    check "the image is built" build_image
    if all_passed; then test_demo; fi
}

trap clean_up EXIT
test_script
skip_without_engine
use_project
run
finish
