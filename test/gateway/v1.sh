# What run.sh tests with version 1 of the backend: its sessions, of which an agent has one for each task,
# and its instructions. run.sh sources this file.
# shellcheck shell=bash disable=SC2154 # variables of harness.sh

# wire_key AGENT REST...: the session in which the gateway has to run it.
wire_key() {
    local agent=$1 key
    shift
    printf -v key ':%s' "$@" "$ACCOUNT"
    echo "agent:$agent$key"
}

# expect_run SESSION NAME TURNS: the model was called once for the notification: in that session of the
# gateway, with instructions for the agent of that name, and with so many earlier replies in the session.
expect_run() {
    local found
    found=$(calls_for "$notification" session replies_as turns)
    [[ $found == "$1 $2 $3" ]] || failure "the model was called as: $found, expected: $1 $2 $3"
}

# post_in_task AGENT: posts one more message to AGENT in task; sets notification.
post_in_task() {
    local answer
    answer=$(http_request POST "$sandbox_port" /sandbox/message \
        "{\"task\":\"$task\",\"content\":\"@$1 and this, please\"}")
    notification=$(json_get notifications.0 <<<"$answer")
    [[ -n $notification ]] || failure "the message created no notification"
}

task_status() {
    http_request GET "$sandbox_port" "/sandbox/state?tables=tasks&task=$task" | json_get tasks.0.status
}

task_has_status() {
    [[ $(task_status) == "$1" ]]
}

start_v1() {
    start_sandbox v1
    hide_agents true
    http_request POST "$sandbox_port" /sandbox/seed '{"agents":[{"slug":"jarvis","name":"Jarvis"},
        {"slug":"friday","name":"Friday"},{"slug":"vision","name":"Vision"}]}' >/dev/null
    set_mode 0 0
    start_gateway
    wait_for_gateway || die "the gateway did not become ready"
    start_runtime STATE_DIR="$directory/state-v1"
}

stop_v1() {
    stop_runtime || failure "the runtime exited with status $?" || return
    stop_gateway
    stop_sandbox
}

test_v1_mention() {
    local slug
    for slug in jarvis friday; do
        post_message "$slug" && expect_reply || return
        expect_run "$(wire_key "$slug" task "$task"):v1" "${slug^}" 0 || return
    done
}

# A task's session remembers; one of another task knows nothing of it.
test_v1_task_is_a_conversation() {
    post_message jarvis && expect_reply || return
    post_in_task jarvis && expect_reply || return
    expect_run "$(wire_key jarvis task "$task"):v1" Jarvis 1 || return
    post_message jarvis && expect_reply || return
    expect_run "$(wire_key jarvis task "$task"):v1" Jarvis 0
}

# The backend opens a new session for a task that was archived.
test_v1_archived_task() {
    post_message jarvis && expect_reply || return
    http_request POST "$sandbox_port" /sandbox/status "{\"task\":\"$task\",\"status\":\"archived\"}" >/dev/null
    post_in_task jarvis && expect_reply || return
    expect_run "$(wire_key jarvis task "$task"):v2" Jarvis 0
}

# Both runs are under way before either is answered.
test_v1_two_tasks_at_once() {
    local first_task first_notification
    set_mode 6000 0
    post_message jarvis && wait_for_call || return
    first_task=$task first_notification=$notification
    post_message jarvis && wait_for_call || return
    [[ $(calls_for "$first_notification" state) == waits ]] ||
        failure "the first run ended before the second began" || return
    set_mode 0 0
    expect_reply && expect_run "$(wire_key jarvis task "$task"):v1" Jarvis 0 || return
    task=$first_task notification=$first_notification
    expect_reply && expect_run "$(wire_key jarvis task "$task"):v1" Jarvis 0
}

# Vision is not among the gateway's agents.
test_v1_fallback_agent() {
    post_message vision && expect_reply || return
    expect_run "$(wire_key main vision task "$task"):v1" Vision 0
}

test_v1_assignment() {
    local answer
    answer=$(http_request POST "$sandbox_port" /sandbox/seed '{"tasks":[{"title":"Look"}]}')
    task=$(json_get tasks.0.id <<<"$answer")
    notification=$(http_request POST "$sandbox_port" /sandbox/assign \
        "{\"task\":\"$task\",\"agent\":\"friday\"}" | json_get notification)
    expect_reply && expect_run "$(wire_key friday task "$task"):v1" Friday 0 || return
    wait_until "$REPLY_LIMIT_S" task_has_status in_progress || failure "the task is $(task_status)"
}

# A wake-up goes to the agent's own session, beside those of its tasks. Which agent is woken first is open.
test_v1_heartbeat() {
    test_heartbeat || return
    calls_for "" session | grep -Eqx "agent:(jarvis|friday|main:vision):system:$ACCOUNT:v1" ||
        failure "the sessions without a notification are: $(calls_for "" session | sort -u | paste -sd ' ')"
}

# The gateway keeps each session under the agent that its key names.
test_v1_sessions_are_filed() {
    local slug other listed
    for slug in jarvis friday main; do
        listed=$(openclaw sessions --agent "$slug" --json | json_flatten |
            sed -nE 's/^sessions\.[0-9]+\.key\t//p')
        grep -q ":task:" <<<"$listed" || failure "$slug has no session of a task: $listed" || return
        other=$(grep -v "^agent:$slug:" <<<"$listed" || true)
        [[ -z $other ]] || failure "among the sessions of $slug are: $other" || return
    done
}

run_v1_cases() {
    start_v1
    run_case "v1: each agent answers in the task's session, with instructions" test_v1_mention
    run_case "v1: a task's session is a conversation of its own" test_v1_task_is_a_conversation
    run_case "v1: an archived task gets a new session" test_v1_archived_task
    run_case "v1: an agent works on two tasks at once" test_v1_two_tasks_at_once
    run_case "v1: the fallback agent has sessions for tasks as well" test_v1_fallback_agent
    run_case "v1: an assignment is answered, and its task in progress" test_v1_assignment
    run_case "v1: an agent is woken in its own session" test_v1_heartbeat
    run_case "v1: the gateway files sessions under the agents of their keys" test_v1_sessions_are_filed
    run_case "v1: no notification got two replies" test_each_reply_once
    run_case "v1: runtime and gateway stop" stop_v1
}
