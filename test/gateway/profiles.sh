# What run.sh tests about agents' profiles, with version 1 of the backend: agents that appear on the board,
# change and go, without a restart of gateway or runtime. run.sh sources this file.
# shellcheck shell=bash disable=SC2154 # variables of harness.sh and run.sh

# post_to_board PATH JSON: of the sandbox's control API; prints the answer.
post_to_board() {
    http_request POST "$sandbox_port" "/sandbox/$1" "$2"
}

# The gateway has no agent but main, and reloads its configuration when that changes.
start_profiles() {
    start_sandbox v1
    shared=$directory/shared
    export OPENCLAW_PROFILE_SYNC=true OPENCLAW_WORKSPACE_ROOT=$shared/agents
    export OPENCLAW_AGENTS=main HOME=$directory/home-profiles
    mkdir -p "$HOME"
    make_template hybrid
    set_mode 0 0
    start_gateway
    wait_for_gateway || die "the gateway did not become ready"
    # No fallback agent: an agent that the gateway lacks gets no answer.
    start_runtime STATE_DIR="$directory/state-profiles" OPENCLAW_FALLBACK_AGENT=
    gateway_was=$gateway_pid runtime_was=$runtime_pid
}

stop_profiles() {
    stop_runtime || failure "the runtime exited with status $?" || return
    stop_gateway
    stop_sandbox
    unset OPENCLAW_PROFILE_SYNC OPENCLAW_WORKSPACE_ROOT
}

# expect_same_processes: since start_profiles, or the last restart that a test made.
expect_same_processes() {
    [[ $gateway_pid == "$gateway_was" && $runtime_pid == "$runtime_was" ]] &&
        kill -0 "$gateway_pid" && kill -0 "$runtime_pid" || failure "a process was restarted" || return
    ! grep -qi "in-process restart" "$directory/gateway.log" || failure "the gateway restarted itself"
}

# gateway_agents: prints the slugs of the agents that the gateway has, sorted.
gateway_agents() {
    curl -sS -m 10 -H "Authorization: Bearer $gateway_token" "http://127.0.0.1:$gateway_port/v1/models" |
        json_flatten | sed -nE 's/^data\.[0-9]+\.id\topenclaw\/(.*)/\1/p' | grep -vx default | sort | paste -sd ' '
}

gateway_has_agents() {
    [[ $(gateway_agents) == "$1" ]]
}

expect_gateway_agents() {
    wait_until 20 gateway_has_agents "$1" || failure "the gateway has: $(gateway_agents), expected: $1"
}

# expect_told TEXT...: the last call for the notification was told each of the texts.
expect_told() {
    local text
    for text in "$@"; do
        [[ $(curl -sS -G --data-urlencode "notification=$notification" --data-urlencode "text=$text" \
            "http://127.0.0.1:$provider_port/told") == '{"told":true}' ]] || failure "it was not told: $text" || return
    done
}

expect_model() {
    local found
    found=$(calls_for "$notification" model)
    [[ $found == "$1" ]] || failure "the model was $found, expected $1"
}

agent_id() {
    http_request GET "$sandbox_port" "/sandbox/state?tables=agents" | json_flatten | awk -F '\t' -v slug="$1" '
        { split($1, path, "."); ids[path[2]] = $1 ~ /\._id$/ ? $2 : ids[path[2]] }
        $1 ~ /\.slug$/ && $2 == slug { wanted = path[2] }
        END { print ids[wanted] }'
}

# set_agent SLUG FIELDS: changes fields of the agent on the board.
set_agent() {
    post_to_board set "{\"id\":\"$(agent_id "$1")\",\"fields\":$2}" >/dev/null ||
        failure "the board refused to change $1"
}

test_profiles_agent_appears() {
    post_to_board seed '{"skills":[{"slug":"haggling","name":"Haggling",
            "contentMarkdown":"Always ask for a discount of 7 per cent."}],
        "agents":[{"slug":"wanda","name":"Wanda","skills":["haggling"],"heartbeatInterval":5,
            "soulContent":"You are as calm as a lake.","identityContent":"Wanda, who buys things."}]}' >/dev/null
    expect_gateway_agents "main wanda" && expect_same_processes
}

test_profiles_agent_is_woken() {
    wait_until 30 woken_as wanda || failure "the sessions without a notification are: $(calls_for "" session)"
}

woken_as() {
    calls_for "" session | grep -qx "agent:$1:system:$ACCOUNT:v1"
}

test_profiles_mention() {
    post_message wanda && expect_reply || return
    expect_run "$(wire_key wanda task "$task"):v1" Wanda 0 || return
    expect_model minimax-m2.5 || return
    expect_told "as calm as a lake" "who buys things" Haggling && expect_same_processes
}

# The conversation goes on after a restart, with what was said before.
test_profiles_gateway_restart() {
    post_message wanda && expect_reply || return
    stop_gateway
    start_gateway
    gateway_was=$gateway_pid
    wait_for_gateway || failure "the gateway did not become ready" || return
    post_in_task wanda && expect_reply || return
    expect_run "$(wire_key wanda task "$task"):v1" Wanda 1
}

# The first model was the board's default; the second is one that the gateway has no provider for, so the agent
# gets the gateway's own default.
test_profiles_changes_arrive() {
    post_to_board seed '{"skills":[{"slug":"juggling","name":"Juggling","contentMarkdown":"Three balls."}]}' >/dev/null
    local skill
    skill=$(http_request GET "$sandbox_port" "/sandbox/state?tables=skills" | json_get skills.1._id)
    set_agent wanda "{\"name\":\"Wanda Two\",\"soulContent\":\"You are in a hurry.\",
        \"openclawConfig\":{\"model\":\"gpt-5-nano\",\"skillIds\":[\"$skill\"]}}" || return
    wait_until 20 grep -q '"Wanda Two"' "$shared/mission-control-agents.json" ||
        failure "the agents' file is: $(cat "$shared/mission-control-agents.json")" || return
    wait_until 20 grep -q "agents.entries.wanda.model" "$directory/gateway.log" ||
        failure "the gateway did not reload" || return
    post_message wanda && expect_reply || return
    expect_model echo && expect_told "in a hurry" Juggling "Wanda Two" && expect_same_processes
}

# The folder moves with the agent, and its memory in it.
test_profiles_new_slug() {
    echo "The safe is behind the clock." >>"$shared/agents/wanda/MEMORY.md"
    set_agent wanda '{"slug":"vera","name":"Vera"}' || return
    expect_gateway_agents "main vera" || return
    post_message vera && expect_reply || return
    expect_run "$(wire_key vera task "$task"):v1" Vera 0 && expect_told "behind the clock" || return
    [[ ! -e $shared/agents/wanda ]] || failure "the old folder is still there" || return
    expect_same_processes
}

# Nothing is written while nothing changes.
test_profiles_quiet_sync() {
    local before after syncs
    before=$(find "$shared" -printf '%p %i %T@ %C@\n' | sort)
    syncs=$(health agentSync.lastSyncAt)
    wait_until 10 sync_is_later_than "$syncs" || failure "there was no sync" || return
    syncs=$(health agentSync.lastSyncAt)
    wait_until 10 sync_is_later_than "$syncs" || failure "there was no second sync" || return
    after=$(find "$shared" -printf '%p %i %T@ %C@\n' | sort)
    [[ $after == "$before" ]] || failure "changed: $(diff <(echo "$before") <(echo "$after"))"
}

sync_is_later_than() {
    [[ $(health agentSync.lastSyncAt) != "$1" ]]
}

test_profiles_removed_agent() {
    local id calls
    id=$(agent_id vera)
    post_to_board seed '{"agents":[{"slug":"otto","name":"Otto"}]}' >/dev/null
    expect_gateway_agents "main otto vera" || return
    post_to_board delete "{\"id\":\"$id\"}" >/dev/null
    expect_gateway_agents "main otto" || return
    calls=$(calls_for_agent vera)
    post_message otto && expect_reply || return
    [[ $(calls_for_agent vera) == "$calls" ]] || failure "the removed agent was asked" || return
    [[ -s $shared/agents/vera/MEMORY.md ]] || failure "its files are gone" || return
    expect_same_processes
}

calls_for_agent() {
    http_request GET "$provider_port" /calls | json_flatten | grep -c "session	agent:$1:" || true
}

# The doctor knows which agents the gateway lacks, and why.
test_profiles_doctor() {
    local said
    said=$(run_doctor) || failure "the doctor found: $(grep -i fail <<<"$said")" || return
    grep -q "every agent" <<<"$said" || failure "the doctor said: $said" || return
    # shellcheck disable=SC2016 # the program's own
    node -e 'const fs = require("fs"), file = process.argv[1];
        const config = JSON.parse(fs.readFileSync(file, "utf8"));
        delete config.$include;
        fs.writeFileSync(file, JSON.stringify(config));' "$HOME/.openclaw/openclaw.json"
    expect_gateway_agents main || return
    if said=$(run_doctor); then failure "the doctor found nothing" || return; fi
    [[ $said == *otto*INCLUDE_ROOTS* ]] || failure "the doctor said: $said"
}

run_doctor() {
    env "CONVEX_URL=http://127.0.0.1:$sandbox_port" "OPENCLAW_GATEWAY_URL=http://127.0.0.1:$gateway_port" \
        STATE_DIR="$directory/state-profiles" OPENCLAW_REQUEST_TIMEOUT_MS=170000 HEALTH_PORT="$health_port" \
        "$BUILD/mission-control-runtime" doctor
}

run_profiles_cases() {
    start_profiles
    run_case "profiles: an agent made on the board appears in the gateway" test_profiles_agent_appears
    run_case "profiles: it is woken" test_profiles_agent_is_woken
    run_case "profiles: it answers a mention, knowing who it is and what it can" test_profiles_mention
    run_case "profiles: its session outlives a restart of the gateway" test_profiles_gateway_restart
    run_case "profiles: a new name, text, model and skill arrive" test_profiles_changes_arrive
    run_case "profiles: with a new slug it keeps its memory" test_profiles_new_slug
    run_case "profiles: a sync without changes writes nothing" test_profiles_quiet_sync
    run_case "profiles: a removed agent is not asked, and its files stay" test_profiles_removed_agent
    run_case "profiles: the doctor tells that the include is missing" test_profiles_doctor
    run_case "profiles: no notification got two replies" test_each_reply_once
    run_case "profiles: runtime and gateway stop" stop_profiles
}
