#!/usr/bin/env bash
# Tests the runtime with a real OpenClaw gateway from npm, whose model provider is a stub. The sandbox is
# only the backend, first as version 0, then as version 1, with agents that use tools, and at last with
# agents that appear on the board and go.
#
# Usage: test/gateway/run.sh [v0 | v1 | tools | profiles] [-h]
#
# With v0 or v1 only the cases of that version run, with tools those in which agents use tools, with profiles
# those in which they appear and go. Needs the
# programs in BUILD (build), built by make all, curl, and npm with access to a registry; skipped otherwise.
# The installation is kept in build/gateway. Prints ok or FAIL for each case and the totals at the end;
# exits with 1 if one failed.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"
BUILD=$(realpath "${BUILD:-$ROOT/build}")
# shellcheck source=test/gateway/harness.sh
. "$ROOT/test/gateway/harness.sh"
# shellcheck source=test/gateway/v1.sh
. "$ROOT/test/gateway/v1.sh"
# shellcheck source=test/gateway/tools.sh
. "$ROOT/test/gateway/tools.sh"

# shellcheck source=test/gateway/profiles.sh
. "$ROOT/test/gateway/profiles.sh"

readonly REPLY_LIMIT_S=60
passed=0
failed=0

# run_case TITLE COMMAND...: runs COMMAND, reports and counts the result.
run_case() {
    local title=$1 began=$SECONDS
    shift
    reason=
    if "$@"; then
        passed=$((passed + 1))
        say "ok    $title ($((SECONDS - began)) s)"
    else
        failed=$((failed + 1))
        say "FAIL  $title ($((SECONDS - began)) s)${reason:+: $reason}"
        show_logs
    fi
}

# failure REASON...: sets the reason of a failure; fails.
failure() {
    reason="$*"
    return 1
}

show_logs() {
    local name
    for name in gateway runtime provider; do
        [[ -s $directory/$name.log ]] || continue
        warn "--- last lines of the $name's log:"
        tail -n 20 "$directory/$name.log" >&2
    done
}

# post_message AGENT: posts a message to AGENT in a new task; sets task and notification.
post_message() {
    local answer
    answer=$(http_request POST "$sandbox_port" /sandbox/seed '{"tasks":[{"title":"Look"}]}')
    task=$(json_get tasks.0.id <<<"$answer")
    answer=$(http_request POST "$sandbox_port" /sandbox/message \
        "{\"task\":\"$task\",\"content\":\"@$1 please look\"}")
    notification=$(json_get notifications.0 <<<"$answer")
    [[ -n $notification ]] || failure "the message created no notification"
}

# replies: prints the replies to the notification, one per line.
replies() {
    http_request GET "$sandbox_port" "/sandbox/state?tables=messages&task=$task" | json_flatten |
        awk -F '\t' -v wanted="$notification" '
            $1 ~ /\.content$/ { content = $2 }
            $1 ~ /\.sourceNotificationId$/ && $2 == wanted { print content }'
}

is_answered() {
    [[ -n $(replies) ]]
}

# expect_reply: exactly one reply arrives, and it is the model's.
expect_reply() {
    local found
    wait_until "$REPLY_LIMIT_S" is_answered || failure "no reply within $REPLY_LIMIT_S s" || return
    found=$(replies)
    [[ $found == "Echo of $notification,"* && $found != *$'\n'* ]] ||
        failure "the thread has: $found"
}

# expect_calls COUNT: the model was called that many times for the notification.
expect_calls() {
    local found
    found=$(calls_for "$notification" | wc -l)
    ((found == $1)) || failure "the model was called $found times, expected $1"
}

# expect_open_breaker PATTERN: the breaker is open with a reason that matches.
expect_open_breaker() {
    wait_until "$REPLY_LIMIT_S" health_matches gateway.reason "$1" ||
        failure "the reason in /health is: $(health gateway.reason)"
    health_matches gateway.state shut || failure "gateway.state is $(health gateway.state)"
}

# wait_for_call: waits until the model has the call and has not answered it.
wait_for_call() {
    http_request GET "$provider_port" "/wait?notification=$notification" >/dev/null || failure "the model was not called"
}

test_merge_config() {
    node --test "$ROOT"/openclaw/*.test.mjs >"$directory/merge-config.log" 2>&1 ||
        failure "$(grep -m 3 -E '^not ok|✖' "$directory/merge-config.log" | tr '\n' ' ')"
}

# The start script enables the endpoint, so the gateway is started without it here.
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
    post_message jarvis || return
    wait_for_gateway || failure "the gateway did not become ready" || return
    expect_open_breaker "*404*" && expect_calls 0 && health_matches status degraded
}

test_endpoint_on_again() {
    stop_gateway
    start_gateway
    wait_for_gateway || failure "the gateway did not become ready" || return
    expect_reply && expect_calls 1
}

test_delivery() {
    post_message jarvis && expect_reply && expect_calls 1 || return
    [[ $(calls_for "$notification") == "agent:jarvis:"*" answered" ]] ||
        failure "the session was: $(calls_for "$notification")"
}

test_heartbeat() {
    hide_agents false
    http_request GET "$sandbox_port" \
        "/sandbox/wait?action=updateAgentHeartbeat&calls=1&timeout_ms=30000" |
        json_get met | grep -q true || failure "no agent was reported online" || return
    hide_agents true
    wait_until "$START_LIMIT_S" health_matches gateway.sessions 0 || failure "agents still get heartbeats"
}

# Hidden agents get no heartbeats, which would count as calls of the model.
hide_agents() {
    http_request POST "$sandbox_port" /sandbox/settings "{\"hide_agents\":$1}" >/dev/null
}

test_unknown_agent() {
    post_message vision && expect_reply && expect_calls 1 || return
    [[ $(calls_for "$notification") == "agent:main:vision:"*" answered" ]] ||
        failure "the session was: $(calls_for "$notification")"
}

# A message for another agent is not delayed by it.
test_long_run() {
    local slow_task slow_notification
    set_mode 12000 0
    post_message jarvis && wait_for_call || return
    slow_task=$task slow_notification=$notification
    set_mode 0 0
    post_message friday && expect_reply || return
    task=$slow_task notification=$slow_notification
    [[ -z $(replies) ]] || failure "the long run ended too early" || return
    expect_reply && expect_calls 1
}

test_provider_fails_once() {
    set_mode 0 1
    post_message jarvis && expect_reply && expect_calls 2
}

test_wrong_token() {
    stop_runtime || failure "the runtime exited with status $?" || return
    start_runtime OPENCLAW_GATEWAY_TOKEN=not-the-token
    post_message jarvis && expect_open_breaker "*401*" && expect_calls 0 || return
    stop_runtime || failure "the runtime exited with status $?" || return
    start_runtime
    expect_reply && expect_calls 1
}

# A terminated gateway completes its runs; messages that arrive meanwhile wait for the next gateway.
test_gateway_shutdown() {
    set_mode 5000 0
    post_message jarvis && wait_for_call || return
    kill -TERM "$gateway_pid"
    set_mode 0 0
    expect_reply && expect_calls 1 || return
    wait_until "$STOP_LIMIT_S" has_exited "$gateway_pid" || failure "the gateway is still running" || return
    post_message friday
    expect_open_breaker "*onnect*" && expect_calls 0
}

has_exited() {
    ! kill -0 "$1" 2>/dev/null
}

test_supervised() {
    stop_gateway
    stop_runtime || failure "the runtime exited with status $?" || return
    start_runtime OPENCLAW_GATEWAY_COMMAND="$ROOT/openclaw/start-openclaw.sh"
    expect_reply && expect_calls 1
}

# The gateway repeats such a turn by itself, so the model may be called more than twice.
test_gateway_killed_during_run() {
    local child
    child=$(health gateway.process.pid)
    set_mode 20000 0
    post_message jarvis && wait_for_call || return
    kill -KILL "$child"
    set_mode 0 0
    expect_reply || return
    health_matches gateway.process.restarts 1 ||
        failure "the gateway was restarted $(health gateway.process.restarts) times"
}

test_stop_ends_gateway() {
    stop_runtime || failure "the runtime exited with status $?" || return
    ! port_is_open "$gateway_port" || failure "the gateway is still listening"
}

# No notification has two replies.
test_each_reply_once() {
    local doubled
    doubled=$(http_request GET "$sandbox_port" "/sandbox/state?tables=messages" | json_flatten |
        sed -n 's/.*\.sourceNotificationId\t//p' | sort | uniq -d)
    [[ -z $doubled ]] || failure "two replies to: $doubled"
}

test_no_secret_in_logs() {
    local leaks
    leaks=$(grep -lFe "$gateway_token" -e "$service_token" -r "$directory" --include='*.log' || true)
    [[ -z $leaks ]] || failure "a token is in $leaks"
}

start_v0() {
    start_sandbox v0
    hide_agents true
    http_request POST "$sandbox_port" /sandbox/seed \
        '{"agents":[{"slug":"jarvis"},{"slug":"friday"},{"slug":"vision"}]}' >/dev/null
}

run_v0_cases() {
    start_v0
    run_case "the unit tests of merge-config pass" test_merge_config
    run_case "a gateway without its responses endpoint opens the breaker" test_endpoint_off
    run_case "the start script enables it, and waiting work is delivered" test_endpoint_on_again
    run_case "a message is delivered and answered in its agent's session" test_delivery
    run_case "an agent gets a heartbeat and is reported online" test_heartbeat
    run_case "an agent unknown to the gateway runs as the fallback agent" test_unknown_agent
    run_case "a long run is waited for and delays no other agent" test_long_run
    run_case "a run that the model provider refused is repeated" test_provider_fails_once
    run_case "a wrong token runs no agent, the right one delivers" test_wrong_token
    run_case "a terminated gateway completes its run" test_gateway_shutdown
    run_case "supervised by the runtime it answers waiting messages" test_supervised
    run_case "killed during a run it is restarted, and the message answered" test_gateway_killed_during_run
    run_case "it exits with the runtime" test_stop_ends_gateway
    run_case "no notification got two replies" test_each_reply_once
    stop_sandbox
}

main() {
    case ${1-} in
    v0 | v1 | tools | profiles) ;;
    *) reject_arguments "$@" ;;
    esac
    [[ -x $BUILD/mission-control-runtime ]] || die "no runtime in $BUILD; run make all"
    if gateway_is_available; then
        install_gateway
        trap teardown_harness EXIT
        trap 'exit 130' INT TERM HUP
        setup_harness
        if [[ ${1:-v0} == v0 ]]; then run_v0_cases; fi
        if [[ ${1:-v1} == v1 ]]; then run_v1_cases; fi
        if [[ ${1:-tools} == tools ]]; then run_tools_cases; fi
        if [[ ${1:-profiles} == profiles ]]; then run_profiles_cases; fi
        run_case "no log contains a token" test_no_secret_in_logs
    fi
    say "$passed passed, $failed failed"
    ((failed == 0))
}

main "$@"
