# A machine in a container, with systemd and cloud-init, built from this tree. Source this file after
# checks.sh, do not run it. The machine has no network but its own, in which it may set up anything. A
# test that needs more on its machine sets machine_packages and defines install_extra_files DIR.
#
# Environment: DEPLOY_ENGINE is the command of a container engine that takes docker's arguments;
# DEPLOY_BASE is the base image (debian:bookworm-slim); DEPLOY_DIST is a directory with the output of
# `make dist`, if that was not built here.
# shellcheck shell=bash

readonly MACHINE_IMAGE=mission-control-test-machine BOOT_LIMIT_S=300
# The capabilities that systemd needs, except those that could affect the host.
readonly RUN_FLAGS=(--network=none --cgroupns=private --cap-add=ALL --cap-drop=SYS_TIME
    --cap-drop=SYS_MODULE --cap-drop=SYS_RESOURCE --security-opt=seccomp=unconfined
    --security-opt=apparmor=unconfined --tmpfs=/run --tmpfs=/run/lock --tmpfs=/tmp
    --volume=/var/lib/docker --env=container=docker --tty)
machine=
machine_packages=

# install_extra_files DIR: does nothing; tests may override it.
install_extra_files() {
    :
}

remove_machine() {
    if [[ -n $machine ]]; then "$DEPLOY_ENGINE" rm -f -v "$machine" >/dev/null 2>&1 || true; fi
    remove_work_dir
}
trap remove_machine EXIT

# install_files DIR: fills DIR/files for the image: the release, the sandbox, a metadata service.
install_files() {
    local files=$1/files
    if [[ -z ${DEPLOY_DIST-} ]]; then
        make -s --no-print-directory BUILD="$BUILD" dist "$BUILD/mission-control-sandbox"
    fi
    install -D -t "$files/srv/release" -m 0644 "${DEPLOY_DIST:-$BUILD/dist}"/*
    install -D -t "$files/usr/local/bin" "$BUILD/mission-control-sandbox"
    install -D -t "$files/etc/systemd/system" -m 0644 test/deploy/lib/units/*
    mkdir -p "$files/srv/metadata/metadata/v1/interfaces/public/0/ipv4"
    echo -n 4711 >"$files/srv/metadata/metadata/v1/id"
    echo -n 203.0.113.7 >"$files/srv/metadata/metadata/v1/interfaces/public/0/ipv4/address"
}

build_machine() {
    local directory=${work:?}/image
    mkdir "$directory"
    install_files "$directory"
    install_extra_files "$directory/files"
    cp test/deploy/lib/machine.Dockerfile "$directory/Dockerfile"
    "$DEPLOY_ENGINE" build --network=host ${DEPLOY_BASE:+--build-arg "BASE=$DEPLOY_BASE"} \
        --build-arg "PACKAGES=$machine_packages" --tag "$MACHINE_IMAGE" "$directory"
}

# boot_machine USER_DATA: starts a machine with that user data; wait_for_boot waits for its setup.
boot_machine() {
    mkdir "$work/nocloud"
    cp "$1" "$work/nocloud/user-data"
    echo "instance-id: test-$$" >"$work/nocloud/meta-data"
    machine=$("$DEPLOY_ENGINE" create "${RUN_FLAGS[@]}" "$MACHINE_IMAGE")
    machine_copy "$work/nocloud/." /var/lib/cloud/seed/nocloud
    "$DEPLOY_ENGINE" start "$machine" >/dev/null
}

# machine_copy FROM TO: copies into the machine.
machine_copy() {
    "$DEPLOY_ENGINE" cp "$1" "$machine:$2"
}

# machine_exec COMMAND: runs COMMAND in a root shell on the machine.
machine_exec() {
    "$DEPLOY_ENGINE" exec "$machine" bash -euo pipefail -c "$1"
}

# wait_for_boot: waits until cloud-init has finished; fails and prints its log if that failed.
wait_for_boot() {
    timeout "$BOOT_LIMIT_S" "$DEPLOY_ENGINE" exec "$machine" sh -c '
        until [ -S /run/dbus/system_bus_socket ]; do sleep 0.2; done
        systemctl is-system-running --wait >/dev/null || true
        cloud-init status --wait --long' && return
    machine_exec 'tail -n 20 /var/log/cloud-init-output.log; systemctl --no-pager --failed; cloud-init schema --system'
    return 1
}
