# What run.sh tests about tools, with version 1 of the backend: what the gateway does with them, and that
# agents work on the board by them or by the HTTP API. run.sh sources this file.
# shellcheck shell=bash disable=SC2154 # variables of harness.sh and run.sh

# Two tools in the form that the gateway takes, for requests without the runtime.
readonly WIRE_TOOLS='[{"type":"function","name":"task_status","description":"Sets the status of a task",
    "parameters":{"type":"object","properties":{"status":{"type":"string"}},"required":["status"]}},
    {"type":"function","name":"document_upsert","description":"Writes a document",
    "parameters":{"type":"object","properties":{"title":{"type":"string"}},"required":["title"]}}]'
readonly WIRE_SESSION=agent:jarvis:wire

# ask_gateway MODEL INPUT [MEMBERS]: posts a request for a run; answer and answer_status are what comes.
# INPUT is JSON, and MEMBERS are more members of the body.
ask_gateway() {
    answer=$(curl -sS -m "$REPLY_LIMIT_S" -w '\n%{http_code}' -X POST \
        -H "Authorization: Bearer $gateway_token" -H "x-openclaw-session-key: $WIRE_SESSION" \
        -H 'Content-Type: application/json' \
        -d "{\"model\":\"$1\",\"input\":$2,\"stream\":false${3:+,$3}}" \
        "http://127.0.0.1:$gateway_port/v1/responses")
    answer_status=${answer##*$'\n'}
    answer=${answer%$'\n'*}
}

# expect_answer STATUS PATH VALUE: of ask_gateway.
expect_answer() {
    [[ $answer_status == "$1" && $(json_get "$2" <<<"$answer") == "$3" ]] ||
        failure "the gateway answered $answer_status $answer"
}

calls_in_all() {
    http_request GET "$provider_port" /calls | json_flatten | grep -c '\.state' || true
}

# script ROUNDS: what the model's next answers call (provider.mjs).
script() {
    http_request POST "$provider_port" /script "{\"rounds\":$1}" >/dev/null
}

# The question that the runtime asks, docs/protocol.md, "Tools".
test_tools_probe() {
    local tools='"tools":[{"type":"function","name":"probe"}]' before
    before=$(calls_in_all)
    ask_gateway openclaw:jarvis '""' "$tools"
    # shellcheck disable=SC2016 # the gateway's own backquotes
    expect_answer 400 error.message 'Missing user message in `input`.' || return
    ask_gateway openclaw:ghost '""' "$tools"
    expect_answer 400 error.message "Unknown agent 'ghost'." || return
    [[ $(calls_in_all) == "$before" ]] || failure "the model was called"
}

test_tools_round() {
    local rest="\"user\":\"$WIRE_SESSION\",\"instructions\":\"Be brief.\",\"tools\":$WIRE_TOOLS" results
    notification=js7wire
    script '[[{"name":"task_status","arguments":{"status":"review"}},
        {"name":"document_upsert","arguments":{"title":"A"}}]]'
    ask_gateway openclaw:jarvis "\"Notification ID: $notification\\n\"" "$rest"
    expect_answer 200 output.0.type function_call && expect_answer 200 output.0.name task_status &&
        expect_answer 200 output.1.name document_upsert || return
    results=$(printf '{"type":"function_call_output","call_id":"%s","output":"%s"}' \
        "$(json_get output.0.call_id <<<"$answer")" "task_status: it is in review")
    ask_gateway openclaw:jarvis "[$results]" "$rest"
    expect_answer 200 output.0.type message && expect_calls 2 || return
    results=$(calls_for "$notification" results)
    [[ $results == *"Tool:"*"task_status: it is in review"* ]] ||
        failure "the model was shown the results: $results"
}

test_tools_collide() {
    local before
    before=$(calls_in_all)
    ask_gateway openclaw:jarvis '"x"' '"tools":[{"type":"function","name":"Exec"}]'
    expect_answer 400 object response && expect_answer 400 error.message "invalid tool configuration" || return
    [[ $(calls_in_all) == "$before" ]] || failure "the model was called"
}

expect_dialect() {
    wait_until "$START_LIMIT_S" health_matches gateway.toolDialect "$1" ||
        failure "gateway.toolDialect is $(health gateway.toolDialect)"
}

test_tools_dialect() {
    local before
    before=$(calls_in_all)
    start_runtime STATE_DIR="$directory/state-tools"
    expect_dialect flat || return
    [[ $(calls_in_all) == "$before" ]] || failure "the model was called"
}

# seed_work: a task of Jarvis that is in progress, and which he was told of; sets task.
seed_work() {
    local answer
    answer=$(http_request POST "$sandbox_port" /sandbox/seed \
        '{"tasks":[{"title":"Look","status":"in_progress","assign":["Jarvis"]}]}')
    task=$(json_get tasks.0.id <<<"$answer")
    [[ -n $task ]] || failure "the task was not made" || return
    http_request GET "$sandbox_port" \
        "/sandbox/wait?undelivered=0&timeout_ms=$((REPLY_LIMIT_S * 1000))" | json_get met | grep -q true ||
        failure "the assignment was not answered"
}

# board_has TABLE TEXT: whether a row of the table that belongs to task has the text.
board_has() {
    http_request GET "$sandbox_port" "/sandbox/state?tables=$1&task=$task" | grep -qF "$2"
}

# expect_work TITLE: the task is in review, has a document of that title, and Friday was asked about it.
expect_work() {
    task_has_status review || failure "the task is $(task_status)" || return
    board_has documents "\"title\":\"$1\"" || failure "there is no document $1" || return
    board_has notifications '"type":"response_request"' || failure "Friday was not asked"
}

# expect_results WORD...: what the model was last shown as results has each of them.
expect_results() {
    local results word
    results=$(calls_for "$notification" results | tail -n 1)
    for word in "$@"; do
        [[ $results == *"$word"* ]] || failure "the model was shown the results: $results" || return
    done
}

# work_by_tools TITLE: an agent works on the board in two rounds, and then answers.
work_by_tools() {
    seed_work || return
    script "[[{\"name\":\"task_status\",\"arguments\":{\"taskId\":\"$task\",\"status\":\"review\"}}],
        [{\"name\":\"document_upsert\",\"arguments\":{\"taskId\":\"$task\",\"title\":\"$1\",
          \"content\":\"# Found\",\"type\":\"note\"}},
         {\"name\":\"response_request\",\"arguments\":{\"taskId\":\"$task\",
          \"recipientSlugs\":[\"friday\"],\"message\":\"Please check.\"}}]]"
    post_in_task jarvis && expect_reply && expect_calls 3 && expect_work "$1" &&
        expect_results document_upsert response_request
}

test_tools_work() {
    work_by_tools "Seen directly"
}

# Without the setting of our template the model sees no tool of ours, but is told of them.
test_tools_search() {
    stop_gateway
    node -e 'const fs = require("fs"), file = process.argv[1];
        const config = JSON.parse(fs.readFileSync(file, "utf8"));
        delete config.tools.toolSearch;
        fs.writeFileSync(file, JSON.stringify(config));' "$HOME/.openclaw/openclaw.json"
    start_gateway openclaw gateway run
    wait_for_gateway || failure "the gateway did not become ready" || return
    expect_dialect flat && work_by_tools "Found by name"
}

# The agent has curl, and what its instructions tell. The HTTP API knows the agents that the backend lists.
test_tools_http() {
    local port
    port=$(free_port)
    stop_runtime || failure "the runtime exited with status $?" || return
    hide_agents false
    start_runtime STATE_DIR="$directory/state-tools" OPENCLAW_CLIENT_TOOLS_ENABLED=false \
        HEALTH_PORT="$port"
    wait_until "$START_LIMIT_S" health_matches gateway.sessions 2 || failure "no agents are listed" || return
    seed_work || return
    script "[[{\"post\":\"/agent/task-status\",\"arguments\":{\"taskId\":\"$task\",\"status\":\"review\"}}],
        [{\"post\":\"/agent/document\",\"arguments\":{\"taskId\":\"$task\",\"title\":\"Sent by HTTP\",
          \"content\":\"It's found\",\"type\":\"note\"}}],
        [{\"post\":\"/agent/response-request\",\"arguments\":{\"taskId\":\"$task\",
          \"recipientSlugs\":[\"friday\"],\"message\":\"Please check.\"}}]]"
    post_in_task jarvis && expect_reply && expect_calls 4 && expect_results success true &&
        expect_work "Sent by HTTP"
}

start_tools() {
    start_sandbox v1
    hide_agents true
    http_request POST "$sandbox_port" /sandbox/seed \
        '{"agents":[{"slug":"jarvis","name":"Jarvis"},{"slug":"friday","name":"Friday"}]}' >/dev/null
    set_mode 0 0
    start_gateway
    wait_for_gateway || die "the gateway did not become ready"
}

run_tools_cases() {
    start_tools
    run_case "tools: the probe finds that they are taken, and runs no agent" test_tools_probe
    run_case "tools: calls come out, and their results go in" test_tools_round
    run_case "tools: the name of one of the gateway's own is refused" test_tools_collide
    run_case "tools: the runtime finds out that they are taken" test_tools_dialect
    run_case "tools: an agent moves its task, writes a document and asks another" test_tools_work
    run_case "tools: so does one whose gateway hides them" test_tools_search
    run_case "tools: so does one that has none and uses the HTTP API" test_tools_http
    run_case "tools: no notification got two replies" test_each_reply_once
    run_case "tools: runtime and gateway stop" stop_v1
}
