#!/usr/bin/env bash
# Boots a machine with the user data of the container variant, in a container with systemd that has
# an engine and a registry of its own, and looks at what came of it. Needs DEPLOY_ENGINE, the command
# of a container engine; the other variables are those of lib/containers.sh and lib/machine.sh.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/containers.sh
. "$(dirname "$0")/lib/containers.sh"
# shellcheck source-path=SCRIPTDIR source=lib/droplet.sh
. "$(dirname "$0")/lib/droplet.sh"

readonly SOURCE=localhost:5000/runtime:latest
# shellcheck disable=SC2034 # machine.sh reads it
machine_packages="docker.io docker-registry"

# The engine inside may neither raise its limits nor forward packets. The runtime needs no network
# of the engine's.
lay_out_more() {
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
Description=The first release, in the machine's own registry
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

has_its_user_and_dir() {
    inside "pid=\$(docker inspect -f '{{.State.Pid}}' mission-control-runtime)
        [[ \$(ps -o uid= -p \$pid) -eq 10001 ]]
        [[ \$(stat -c '%u %a' /var/lib/mission-control-runtime) == '10001 700' ]]
        find /var/lib/mission-control-runtime | grep ."
}

# With what it kept, whose directory is its own again even if somebody changed that.
starts_again() {
    inside "chown root: /var/lib/mission-control-runtime; systemctl restart $UNIT"
    runtime_serves
    has_its_user_and_dir
    inside "docker kill mission-control-runtime"
    until_true 30 "(( \$(systemctl show -P NRestarts $UNIT) > 0 ))"
    runtime_serves
}

# release LINE: a release that differs from the first one by that line of a Dockerfile.
release() {
    inside "printf 'FROM first\n%s\n' '$1' | docker build -q -t $SOURCE - && docker push -q $SOURCE
        docker rmi $SOURCE"
}

current_image() {
    inside "docker inspect -f '{{.Image}}' mission-control-runtime"
}

upgrade() {
    inside "systemctl start mission-control-upgrade.service"
}

good_release_is_applied() {
    local before
    before=$(current_image)
    release 'LABEL release=2'
    upgrade
    [[ $(current_image) != "$before" ]]
    inside "curl -fs -o /dev/null $RUNTIME/health"
}

# An operator's own port; the images before the previous one go.
port_is_followed() {
    inside "echo HEALTH_PORT=3005 >>/etc/mission-control/runtime.env"
    release 'LABEL release=3'
    upgrade
    inside "curl -fs -o /dev/null http://127.0.0.1:3005/health
        sed -i /^HEALTH_PORT=/d /etc/mission-control/runtime.env
        systemctl restart $UNIT
        [[ -z \$(docker images -q --filter dangling=true) ]]"
    runtime_serves
}

bad_release_is_taken_back() {
    local kept
    kept=$(current_image)
    release 'ENTRYPOINT ["/bin/false"]'
    fails upgrade
    runtime_serves
    [[ $(current_image) == "$kept" ]]
    # The next look leaves it alone.
    upgrade
}

stop_is_orderly() {
    inside "curl -fsS -d '{\"gateway\": [{\"latency_ms\": 5000}]}' $SANDBOX/sandbox/faults
        curl -fsS -d '{\"notifications\": 1, \"agents\": 1}' $SANDBOX/sandbox/load
        curl -fsS '$SANDBOX/sandbox/wait?deliveries=1&timeout_ms=20000' | grep -q '\"met\": *true'
        systemctl stop $UNIT
        curl -fsS '$SANDBOX/sandbox/wait?delivered=1&timeout_ms=100' | grep -q '\"met\": *true'
        [[ \$(systemctl show -P Result $UNIT) == success ]]"
}

main() {
    cd "$ROOT"
    if ! engine "the boot of a Droplet with a container"; then finish && return; fi
    check "the image is built" build_image
    check "the user data is made" render --image "$SOURCE"
    check "a machine is built" build_machine
    boot_machine "$work/user-data"
    check "cloud-init sets it up" booted
    all_passed || finish
    check "the runtime serves" runtime_serves
    check "it has a user and a directory of its own" has_its_user_and_dir
    check "the machine is known by its metadata" knows_machine
    check "secrets are files of mode 0600 and nowhere else" secrets_are_kept
    check "a second setup changes nothing" setup_is_idempotent
    check "it starts again, after an end by force, too" starts_again
    check "a good release is applied" good_release_is_applied
    check "it is asked on the port that is set" port_is_followed
    check "a bad release is taken back" bad_release_is_taken_back
    check "a stop waits for the agent at work" stop_is_orderly
    finish
}

main "$@"
