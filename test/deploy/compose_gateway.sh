#!/usr/bin/env bash
# Runs the profile openclaw of docker-compose.runtime.yml with version 1 of the backend and no setting for
# agents: one that is made on the board comes into the gateway's container by the volume that both share,
# without a restart, is woken and answers. Also what the two containers share and what they do not. Needs
# DEPLOY_ENGINE, the command of a container engine, and npm's registry; passes with a note otherwise. The
# environment variables are those of test/deploy/lib/gateway.sh.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/gateway.sh
. "$(dirname "$0")/lib/gateway.sh"

# Longer than the default of AGENT_SYNC_INTERVAL.
readonly SYNC_LIMIT_S=90
readonly WORKSPACES=/home/openclaw/workspace
runtime=

# --- The board, the gateway and the model provider ---

board() {
    network_request host "$1" "$SANDBOX_PORT" "/sandbox/$2" "${3-}"
}

# gateway_agents: prints the slugs of the agents that the gateway has, sorted.
gateway_agents() {
    # shellcheck disable=SC2016
    gateway_exec 'curl -fsS -m 10 -H "Authorization: Bearer $(jq -r .gateway.auth.token ~/.openclaw/openclaw.json)" \
        http://127.0.0.1:18789/v1/models | jq -r ".data[].id"' |
        sed -n 's,^openclaw/,,p' | grep -vx default | sort | paste -sd ' '
}

gateway_has_agents() {
    [[ $(gateway_agents) == "$1" ]]
}

# provider_calls FILTER: of what the model was asked, the values that the filter of jq gives.
provider_calls() {
    gateway_exec "curl -fsS http://provider:8080/calls | jq -r '.calls[] | $1'"
}

was_woken() {
    provider_calls 'select(.notification == "") | .session' | grep -qx "agent:$1:system:$SANDBOX_ACCOUNT:v1"
}

# When each of the two was started, and how often it was restarted.
starts() {
    inspect "$runtime" '{{.Id}} {{.State.StartedAt}} {{.State.Pid}} {{.RestartCount}}'
    inspect "$gateway" '{{.Id}} {{.State.StartedAt}} {{.State.Pid}} {{.RestartCount}}'
}

expect_no_restart() {
    expect_equal "$(cat "$work/starts")" "$(starts)" "starts"
    fails grep -qi "in-process restart" <(docker logs "$gateway" 2>&1)
}

# --- The checks ---

check_both_start() {
    check_gateway_starts
    is_healthy "$runtime"
    # What .env.example sets, the account, and the stub in place of a model provider: nothing about agents.
    expect_equal "ACCOUNT_ID CONVEX_URL DELIVERY_INTERVAL HEALTH_CHECK_INTERVAL HEALTH_PORT OPENCLAW_MODEL OPENCLAW_VERSION SERVICE_TOKEN_HOST_FILE" \
        "$(sed -nE 's/^([A-Z_]+)=.+/\1/p' "$work/project/.env" | sort | paste -sd ' ')" "settings"
    wait_until 60 breaker_is_closed
    expect_equal main "$(gateway_agents)" "the gateway's agents"
    starts | tee "$work/starts"
}

check_agent_appears() {
    local began_ms
    began_ms=$(now_ms)
    board POST agents '{"slug":"wanda","name":"Wanda","heartbeatInterval":15,
        "soul":"You are as calm as a lake.","identity":"Wanda, who buys things."}'
    wait_until "$SYNC_LIMIT_S" gateway_has_agents "main wanda" || gateway_agents
    echo "$(($(now_ms) - began_ms)) ms" >"$work/appeared_after"
    expect_equal "main wanda" "$(gateway_agents)"
    expect_no_restart
}

check_agent_is_woken() {
    wait_until "$SYNC_LIMIT_S" was_woken wanda || { provider_calls . && return 1; }
    expect_no_restart
}

# The words of the agent are those of the stub, which tells for whom it was asked and with which texts.
check_mention_is_answered() {
    local task notification
    task=$(board POST seed '{"tasks":[{"title":"Errand","status":"assigned","assign":["wanda"]}]}' |
        json_get tasks.0.id)
    board GET "wait?undelivered=0&timeout_ms=30000"
    notification=$(board POST message "{\"task\":\"$task\",\"content\":\"@wanda please look\"}" |
        json_get notifications.0)
    expect_contains "$(board GET "wait?undelivered=0&replies=1&timeout_ms=30000")" '"met":true'
    expect_contains "$(board GET "state?tables=messages&task=$task" | json_flatten)" "Echo of $notification"
    expect_equal "Wanda" \
        "$(provider_calls "select(.notification == \"$notification\") | .replies_as" | tail -n 1)" "replies as"
    for text in "as calm as a lake" "who buys things"; do
        expect_contains "$(gateway_exec "curl -fsS -G --data-urlencode notification=$notification \
            --data-urlencode 'text=$text' http://provider:8080/told")" true
    done
    expect_no_restart
}

# volumes_of CONTAINER: prints the names of its volumes with their places, sorted.
volumes_of() {
    inspect "$1" '{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}} {{.Destination}}{{"\n"}}{{end}}{{end}}' |
        sed '/^$/d' | sort
}

# The volume of the workspaces is what agents need; the other one has nothing but the gateway's token.
check_volumes() {
    local shared prefix=${COMPOSE_PROJECT_NAME}
    shared=$(comm -12 <(volumes_of "$runtime") <(volumes_of "$gateway"))
    expect_equal "${prefix}_gateway-token /run/mission-control"$'\n'"${prefix}_openclaw-workspace $WORKSPACES" "$shared"
    expect_equal gateway_token "$(gateway_exec 'ls -A /run/mission-control')" "beside the token"
    docker exec "$runtime" test -e /var/lib/mission-control-runtime/agent-api.key
    gateway_exec 'test ! -e /var/lib/mission-control-runtime'
    expect_equal "" "$(gateway_exec 'find / -xdev -name agent-api.key 2>/dev/null || true
        find /home/openclaw /run/mission-control -name agent-api.key')" "the runtime's key"
}

# Neither docker inspect, nor a command in the container, nor its first process, nor any file of it.
check_token_is_hidden() {
    check_no_service_token
    gateway_exec 'env' >"$work/seen"
    gateway_exec "tr '\\0' '\\n' </proc/1/environ" >>"$work/seen"
    grep -c . "$work/seen"
    expect_no_match "SERVICE_TOKEN|$SANDBOX_TOKEN" "$work/seen"
    gateway_exec 'test ! -e /run/secrets'
}

# The runtime writes as its user, and the gateway, with its agents, reads and writes the same files as its own.
check_rights() {
    expect_equal 10001 "$(docker exec "$runtime" id -u)" "the runtime's user"
    expect_equal 10001 "$(gateway_exec 'id -u')" "the gateway's user"
    expect_equal "700 10001" "$(gateway_exec "stat -c '%a %u' $WORKSPACES/wanda")" "folder"
    expect_equal "600 10001" "$(gateway_exec "stat -c '%a %u' $WORKSPACES/wanda/SOUL.md")" "file"
    expect_equal "600 10001" "$(gateway_exec "stat -c '%a %u' $WORKSPACES/mission-control-agents.json")" "agents' file"
    expect_contains "$(gateway_exec "cat $WORKSPACES/wanda/SOUL.md")" "calm as a lake"
    gateway_exec "echo 'The safe is behind the clock.' >>$WORKSPACES/wanda/MEMORY.md; ls -R $WORKSPACES/wanda"
    expect_contains "$(docker exec "$runtime" cat "$WORKSPACES/wanda/MEMORY.md")" "behind the clock"
    expect_equal null "$(network_request host GET "$HEALTH_PORT" /health | json_get agentSync.profilesError)" "profilesError"
}

check_doctor() {
    docker exec "$runtime" mission-control-runtime doctor | tee "$work/doctor"
    grep -q "every agent" "$work/doctor"
}

# A command that a person runs there has not the start script's environment.
check_commands() {
    expect_contains "$(gateway_exec 'timeout 90 openclaw config get agents.entries')" wanda
}

# With new containers, as after an upgrade, the agent is there, with its memory, and a second one comes.
check_agents_outlive_containers() {
    compose openclaw up --no-build -d --wait --force-recreate runtime openclaw-gateway
    wait_until 60 breaker_is_closed
    expect_equal "main wanda" "$(gateway_agents)"
    gateway_exec "grep -F 'behind the clock' $WORKSPACES/wanda/MEMORY.md"
    starts >"$work/starts"
    board POST agents '{"slug":"otto","name":"Otto","heartbeatInterval":15}'
    wait_until "$SYNC_LIMIT_S" gateway_has_agents "main otto wanda"
    expect_no_restart
}

test_profile() {
    runtime=$(container runtime) gateway=$(container openclaw-gateway)
    check "the project is created" make_project hybrid --backend v1
    COMPOSE_FILE=$work/project/docker-compose.runtime.yml:$work/project/override.yml
    export GATEWAY_IMAGE=$gateway_image
    check "runtime and gateway start, without a setting for agents" check_both_start
    if ! all_passed; then docker logs "$gateway" 2>&1 | tail -n 30 && return; fi
    check "an agent made on the board appears in the gateway, without a restart" check_agent_appears
    if all_passed; then say "    after $(cat "$work/appeared_after"), of a sync interval of 60 s"; fi
    check "it is woken" check_agent_is_woken
    check "it answers a mention, and knows who it is" check_mention_is_answered
    check "the containers share the workspaces and the token's file, and no state directory" check_volumes
    check "SERVICE_TOKEN is not visible to the gateway" check_token_is_hidden
    check "both can read and write the agents' files" check_rights
    check "the doctor finds every agent in the gateway" check_doctor
    check "commands in the gateway's container see the agents" check_commands
    check "agents outlive the containers" check_agents_outlive_containers
    check "docker-down VOLUMES=1 leaves nothing behind" check_nothing_remains
}

test_images() {
    check "the runtime's image is built" build_image
    check "the gateway's image is built" build_gateway
    if all_passed; then test_profile; fi
}

if ! has_engine "agents of the board under Compose"; then finish && exit; fi
skip_without_engine
if [[ -z $given_image ]] && ! has_npm_package "agents of the board under Compose" "openclaw@$release"; then
    finish && exit
fi
trap clean_up EXIT
use_project
test_images
finish
