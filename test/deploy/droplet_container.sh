#!/usr/bin/env bash
# Boots a machine with the container variant's user data, in a container with systemd, an engine and a
# registry of its own, and checks the result. Needs DEPLOY_ENGINE, the command of a container engine;
# the other environment variables are those of lib/containers.sh and lib/machine.sh.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/containers.sh
. "$(dirname "$0")/lib/containers.sh"
# shellcheck source-path=SCRIPTDIR source=lib/droplet.sh
. "$(dirname "$0")/lib/droplet.sh"

readonly SOURCE=localhost:5000/runtime:latest
# shellcheck disable=SC2034 # machine.sh reads it
machine_packages="docker.io docker-registry"

# The inner engine can neither raise its limits nor forward packets. The runtime needs no engine network.
install_extra_files() {
    local unit
    docker save -o "$1/srv/release/runtime.tar" "$IMAGE"
    mkdir -p "$1/etc/docker/registry"
    echo '{"bridge": "none", "iptables": false, "ip-forward": false}' >"$1/etc/docker/daemon.json"
    printf '%s\n' 'version: 0.1' 'http: {addr: 127.0.0.1:5000}' \
        'storage: {filesystem: {rootdirectory: /var/lib/docker-registry}}' \
        >"$1/etc/docker/registry/config.yml"
    for unit in docker containerd; do
        mkdir -p "$1/etc/systemd/system/$unit.service.d"
        printf '%s\n' '[Service]' OOMScoreAdjust= LimitNOFILE= LimitNPROC= LimitCORE= \
            >"$1/etc/systemd/system/$unit.service.d/test.conf"
    done
    cat >"$1/etc/systemd/system/first-release.service" <<END
[Unit]
Description=Push the first release to the machine's own registry
Requires=docker.service docker-registry.service
After=docker.service docker-registry.service
Before=cloud-final.service
[Service]
Type=oneshot
ExecStart=/bin/bash -ec 'until curl -fs -o /dev/null localhost:5000/v2/; do sleep 0.2; done; \
    docker load -i /srv/release/runtime.tar; docker tag $IMAGE $SOURCE; docker push $SOURCE; \
    docker tag $IMAGE first; docker rmi $IMAGE $SOURCE'
[Install]
WantedBy=multi-user.target
END
    mkdir -p "$1/etc/systemd/system/multi-user.target.wants"
    ln -s ../first-release.service "$1/etc/systemd/system/multi-user.target.wants/"
}

has_own_user_and_dir() {
    machine_exec "pid=\$(docker inspect -f '{{.State.Pid}}' mission-control-runtime)
        [[ \$(ps -o uid= -p \$pid) -eq 10001 ]]
        [[ \$(stat -c '%u %a' /var/lib/mission-control-runtime) == '10001 700' ]]
        find /var/lib/mission-control-runtime | grep ."
}

# It keeps its state, and owns the directory again even if that was changed.
restarts_with_its_state() {
    machine_exec "chown root: /var/lib/mission-control-runtime; systemctl restart $UNIT"
    runtime_serves
    has_own_user_and_dir
    machine_exec "docker kill mission-control-runtime"
    machine_wait_until 30 "(( \$(systemctl show -P NRestarts $UNIT) > 0 ))"
    runtime_serves
}

# publish_release LINES [TAG]: publishes a release that adds those Dockerfile lines to the first one.
publish_release() {
    local name=${SOURCE%:*}:${2:-latest}
    machine_exec "printf 'FROM first\n%s\n' '$1' | docker build --network=host -q -t $name - && docker push -q $name
        docker rmi $name"
}

# as_version VERSION: the lines that make the first release report itself as that version.
as_version() {
    printf 'USER root\nRUN perl -pi -e "s/0\\.2\\.0/%s/g" /usr/local/bin/mission-control-runtime\nUSER 10001:10001' "$1"
}

# The board's request leads to the new version within seconds, and to a success in its history.
requested_version_is_installed() {
    machine_exec "echo HEALTH_CHECK_INTERVAL=1000 >>/etc/mission-control/runtime.env; systemctl restart $UNIT"
    runtime_serves
    publish_release "$(as_version 0.3.0)" 0.3.0
    request_upgrade 0.3.0
    wait_for_history success
    runs_version 0.3.0
    machine_exec "! ls /var/lib/mission-control-runtime/upgrade-re*"
}

# A broken one leads to the old version, and to rolled_back with the reason.
broken_version_is_rolled_back() {
    publish_release "$(as_version 0.4.0)
ENTRYPOINT [\"/bin/sh\", \"-c\", \"[ \\\"\$0\\\" != --version ] || exec mission-control-runtime --version; exit 70\"]" 0.4.0
    request_upgrade 0.4.0
    wait_for_history rolled_back
    machine_exec "curl -fsS '$SANDBOX/sandbox/state?tables=runtimes' | grep 'runtime 0.4.0 did not become healthy'"
    runs_version 0.3.0
    runtime_serves
}

# From here on the machine follows its tag.
source_is_followed() {
    machine_exec "echo UPGRADE_FOLLOW=tag >>/etc/mission-control/runtime.env"
    good_release_is_applied
}

current_image() {
    machine_exec "docker inspect -f '{{.Image}}' mission-control-runtime"
}

upgrade() {
    machine_exec "systemctl start mission-control-upgrade.service"
}

good_release_is_applied() {
    local before
    before=$(current_image)
    publish_release 'LABEL release=2'
    upgrade
    [[ $(current_image) != "$before" ]]
    machine_exec "curl -fs -o /dev/null $RUNTIME/health"
}

# The upgrade probes the operator's own port; images older than the previous one are removed.
own_port_is_probed() {
    machine_exec "echo HEALTH_PORT=3005 >>/etc/mission-control/runtime.env"
    publish_release 'LABEL release=3'
    upgrade
    machine_exec "curl -fs -o /dev/null http://127.0.0.1:3005/health
        sed -i /^HEALTH_PORT=/d /etc/mission-control/runtime.env
        systemctl restart $UNIT
        [[ -z \$(docker images -q --filter dangling=true) ]]"
    runtime_serves
}

bad_release_is_rolled_back() {
    local kept
    kept=$(current_image)
    publish_release 'ENTRYPOINT ["/bin/false"]'
    fails upgrade
    runtime_serves
    [[ $(current_image) == "$kept" ]]
    # The next check skips that release.
    upgrade
}

shutdown_waits_for_run() {
    machine_exec "curl -fsS -d '{\"gateway\": [{\"latency_ms\": 5000}]}' $SANDBOX/sandbox/faults
        curl -fsS -d '{\"notifications\": 1, \"agents\": 1}' $SANDBOX/sandbox/load
        curl -fsS '$SANDBOX/sandbox/wait?deliveries=1&timeout_ms=20000' | grep -q '\"met\": *true'
        systemctl stop $UNIT
        curl -fsS '$SANDBOX/sandbox/wait?delivered=1&timeout_ms=100' | grep -q '\"met\": *true'
        [[ \$(systemctl show -P Result $UNIT) == success ]]"
}

main() {
    cd "$ROOT"
    if ! has_engine "booting a Droplet with a container"; then finish && return; fi
    check "the image is built" build_image
    check "the user data is rendered" render --image "$SOURCE"
    check "the machine is built" build_machine
    boot_machine "$work/user-data"
    check "cloud-init completes" wait_for_boot
    all_passed || finish
    check "the runtime serves" runtime_serves
    check "it has its own user and directory" has_own_user_and_dir
    check "machine id and address come from the metadata" metadata_is_used
    check "secrets are in files of mode 0600 only" secrets_are_kept
    check "a second setup changes nothing" setup_is_idempotent
    check "it restarts with its state, even after a kill" restarts_with_its_state
    check "a version that the board requests is installed" requested_version_is_installed
    check "a broken version is rolled back" broken_version_is_rolled_back
    check "with UPGRADE_FOLLOW=tag a good release is applied" source_is_followed
    check "an upgrade probes the configured port" own_port_is_probed
    check "a bad release is rolled back" bad_release_is_rolled_back
    check "shutdown waits for the run in flight" shutdown_waits_for_run
    finish
}

main "$@"
