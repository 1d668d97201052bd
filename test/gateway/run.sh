#!/usr/bin/env bash
# Runs the runtime with a real OpenClaw gateway, installed from npm, whose model provider is a
# stand-in. The sandbox is only the backend here.
#
# Usage: test/gateway/run.sh [-h]
#
# Needs the programs in BUILD (build), which make all makes, and npm with a registry; without these
# it says that it was skipped. The installation is kept in build/gateway. Each case says ok or FAIL;
# the last line counts them, and the status is 1 when one failed.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"
BUILD=$(realpath "${BUILD:-$ROOT/build}")
# shellcheck source=test/gateway/world.sh
. "$ROOT/test/gateway/world.sh"

readonly REPLY_LIMIT_S=60
passed=0
failed=0

# case_of NAME COMMAND...: says and counts how COMMAND went.
case_of() {
    local name=$1 began=$SECONDS
    shift
    why=
    if "$@"; then
        passed=$((passed + 1))
        say "ok    $name ($((SECONDS - began)) s)"
    else
        failed=$((failed + 1))
        say "FAIL  $name ($((SECONDS - began)) s)${why:+: $why}"
        show_logs
    fi
}

# because WORDS...: the reason of a failure; fails.
because() {
    why="$*"
    return 1
}

show_logs() {
    local name
    for name in gateway runtime provider; do
        [[ -s $directory/$name.log ]] || continue
        warn "--- the end of the $name's log:"
        tail -n 20 "$directory/$name.log" >&2
    done
}

# post AGENT: a message in a task of its own; sets task and notification.
post() {
    local answer
    answer=$(http_request POST "$sandbox_port" /sandbox/seed '{"tasks":[{"title":"Look"}]}')
    task=$(json_get tasks.0.id <<<"$answer")
    answer=$(http_request POST "$sandbox_port" /sandbox/message \
        "{\"task\":\"$task\",\"content\":\"@$1 please look\"}")
    notification=$(json_get notifications.0 <<<"$answer")
    [[ -n $notification ]] || because "the message notified nobody"
}

# The replies to the notification, a line each.
replies() {
    http_request GET "$sandbox_port" "/sandbox/state?tables=messages&task=$task" | json_flatten |
        awk -F '\t' -v wanted="$notification" '
            $1 ~ /\.content$/ { content = $2 }
            $1 ~ /\.sourceNotificationId$/ && $2 == wanted { print content }'
}

is_answered() {
    [[ -n $(replies) ]]
}

# One reply, which is what the model said.
expect_reply() {
    local found
    wait_until "$REPLY_LIMIT_S" is_answered || because "no reply within $REPLY_LIMIT_S s" || return
    found=$(replies)
    [[ $found == "Echo of $notification,"* && $found != *$'\n'* ]] ||
        because "the thread holds: $found"
}

# expect_calls COUNT: how often the model was asked for the notification.
expect_calls() {
    local found
    found=$(calls_for "$notification" | wc -l)
    ((found == $1)) || because "the model was asked $found times, not $1"
}

# expect_reason PATTERN: the gate is shut and says why.
expect_reason() {
    wait_until "$REPLY_LIMIT_S" health_says gateway.reason "$1" ||
        because "the reason in /health is: $(health gateway.reason)"
    health_says gateway.state shut || because "the gate is $(health gateway.state)"
}

# In flight: the model has the call and does not answer yet.
wait_for_call() {
    http_request GET "$provider_port" "/wait?notification=$notification" >/dev/null || because "the model was not asked"
}

test_merge_config() {
    node --test "$ROOT"/openclaw/*.test.mjs >"$directory/merge-config.log" 2>&1 ||
        because "$(grep -m 3 -E '^not ok|✖' "$directory/merge-config.log" | tr '\n' ' ')"
}

# The start script switches the endpoint on, so that it can be off only in a gateway that was
# started in another way.
start_gateway_without_endpoint() {
    node "$ROOT/openclaw/merge-config.mjs" >/dev/null
    node -e 'const fs = require("fs"), file = process.argv[1];
        const config = JSON.parse(fs.readFileSync(file, "utf8"));
        config.gateway.http.endpoints.responses.enabled = false;
        fs.writeFileSync(file, JSON.stringify(config));' "$HOME/.openclaw/openclaw.json"
    start_gateway openclaw gateway run
}

test_endpoint_off() {
    start_gateway_without_endpoint
    start_runtime
    post jarvis || return
    ready_gateway || because "the gateway is not ready" || return
    expect_reason "*404*" && expect_calls 0 && health_says status degraded
}

test_endpoint_on_again() {
    stop_gateway
    start_gateway
    ready_gateway || because "the gateway is not ready" || return
    expect_reply && expect_calls 1
}

test_delivery() {
    post jarvis && expect_reply && expect_calls 1 || return
    [[ $(calls_for "$notification") == "agent:jarvis:"*" answered" ]] ||
        because "the session was: $(calls_for "$notification")"
}

test_heartbeat() {
    hide_agents false
    http_request GET "$sandbox_port" \
        "/sandbox/wait?action=updateAgentHeartbeat&calls=1&timeout_ms=30000" |
        json_get met | grep -q true || because "no agent was reported online" || return
    hide_agents true
    wait_until "$START_LIMIT_S" health_says gateway.sessions 0 || because "agents are still woken"
}

# Hidden agents are not woken, which would count as calls of the model.
hide_agents() {
    http_request POST "$sandbox_port" /sandbox/settings "{\"hide_agents\":$1}" >/dev/null
}

test_unknown_agent() {
    post vision && expect_reply && expect_calls 1 || return
    [[ $(calls_for "$notification") == "agent:main:vision:"*" answered" ]] ||
        because "the session was: $(calls_for "$notification")"
}

# Another agent's message does not wait for it.
test_long_run() {
    local slow_task slow_notification
    set_mode 12000 0
    post jarvis && wait_for_call || return
    slow_task=$task slow_notification=$notification
    set_mode 0 0
    post friday && expect_reply || return
    task=$slow_task notification=$slow_notification
    [[ -z $(replies) ]] || because "the long run was not long" || return
    expect_reply && expect_calls 1
}

test_provider_fails_once() {
    set_mode 0 1
    post jarvis && expect_reply && expect_calls 2
}

test_wrong_token() {
    stop_runtime || because "the runtime ended with status $?" || return
    start_runtime OPENCLAW_GATEWAY_TOKEN=not-the-token
    post jarvis && expect_reason "*401*" && expect_calls 0 || return
    stop_runtime || because "the runtime ended with status $?" || return
    start_runtime
    expect_reply && expect_calls 1
}

# A gateway that is asked to end lets its runs end; what comes meanwhile waits for the next one.
test_orderly_stop() {
    set_mode 5000 0
    post jarvis && wait_for_call || return
    kill -TERM "$gateway_pid"
    set_mode 0 0
    expect_reply && expect_calls 1 || return
    wait_until "$STOP_LIMIT_S" has_ended "$gateway_pid" || because "the gateway goes on" || return
    post friday
    expect_reason "*onnect*" && expect_calls 0
}

has_ended() {
    ! kill -0 "$1" 2>/dev/null
}

test_supervised() {
    stop_gateway
    stop_runtime || because "the runtime ended with status $?" || return
    start_runtime OPENCLAW_GATEWAY_COMMAND="$ROOT/openclaw/start-openclaw.sh"
    expect_reply && expect_calls 1
}

# The gateway runs such a turn again by itself, so the model may be asked more often than twice.
test_killed_in_mid_run() {
    local child
    child=$(health gateway.process.pid)
    set_mode 20000 0
    post jarvis && wait_for_call || return
    kill -KILL "$child"
    set_mode 0 0
    expect_reply || return
    health_says gateway.process.restarts 1 ||
        because "the gateway was started again $(health gateway.process.restarts) times"
}

test_stop_ends_gateway() {
    stop_runtime || because "the runtime ended with status $?" || return
    ! port_is_open "$gateway_port" || because "the gateway is still there"
}

# In the order in which they were answered, each notification has one reply.
test_each_reply_once() {
    local doubled
    doubled=$(http_request GET "$sandbox_port" "/sandbox/state?tables=messages" | json_flatten |
        sed -n 's/.*\.sourceNotificationId\t//p' | sort | uniq -d)
    [[ -z $doubled ]] || because "replied to twice: $doubled"
}

test_no_secret_in_logs() {
    local leaks
    leaks=$(grep -lFe "$gateway_token" -e "$service_token" -r "$directory" --include='*.log' || true)
    [[ -z $leaks ]] || because "a token stands in $leaks"
}

run_cases() {
    case_of "the configuration's tests" test_merge_config
    case_of "a gateway with its responses endpoint off is waited for" test_endpoint_off
    case_of "the start script switches it on, and what waited is delivered" test_endpoint_on_again
    case_of "a message is delivered and answered in its agent's session" test_delivery
    case_of "an agent is woken and reported online" test_heartbeat
    case_of "an agent that the gateway lacks runs as the fallback agent" test_unknown_agent
    case_of "a long run is waited for and holds up nobody else" test_long_run
    case_of "a run that the model provider refused is tried again" test_provider_fails_once
    case_of "a wrong token asks no agent, and the right one delivers" test_wrong_token
    case_of "a gateway that is asked to end lets its run end" test_orderly_stop
    case_of "run by the runtime it answers what waited" test_supervised
    case_of "killed in mid-run it is started again, and the message answered" test_killed_in_mid_run
    case_of "it ends with the runtime" test_stop_ends_gateway
    case_of "no notification was replied to twice" test_each_reply_once
    case_of "no log holds a token" test_no_secret_in_logs
}

main() {
    reject_arguments "$@"
    [[ -x $BUILD/mission-control-runtime ]] || die "there is no runtime in $BUILD: make all"
    if gateway_is_in_reach; then
        install_gateway
        trap tear_down_world EXIT
        trap 'exit 130' INT TERM HUP
        set_up_world
        hide_agents true
        http_request POST "$sandbox_port" /sandbox/seed \
            '{"agents":[{"slug":"jarvis"},{"slug":"friday"},{"slug":"vision"}]}' >/dev/null
        run_cases
    fi
    say "$passed passed, $failed failed"
    ((failed == 0))
}

main "$@"
