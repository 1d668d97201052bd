# A machine in a container, with systemd and cloud-init, made from what is built here. Sourced after
# checks.sh, never run. It has no network but its own, in which it may set up what it wants. A script
# that needs more on its machine than all others sets machine_packages, and lay_out_more FOLDER, which
# lays out further files.
#
# Variables of the environment: DEPLOY_ENGINE is the command of a container engine that takes
# docker's arguments; DEPLOY_BASE an image to build the machine from, instead of
# debian:bookworm-slim; DEPLOY_DIST a directory with what `make dist` built, when it was not built here.
# shellcheck shell=bash

readonly MACHINE_IMAGE=mission-control-test-machine BOOT_LIMIT_S=300
# Those that systemd needs inside, less what could reach the host.
readonly RUN_FLAGS=(--network=none --cgroupns=private --cap-add=ALL --cap-drop=SYS_TIME
    --cap-drop=SYS_MODULE --cap-drop=SYS_RESOURCE --security-opt=seccomp=unconfined
    --security-opt=apparmor=unconfined --tmpfs=/run --tmpfs=/run/lock --tmpfs=/tmp
    --volume=/var/lib/docker --env=container=docker --tty)
machine=
machine_packages=

# May be replaced.
lay_out_more() {
    :
}

remove_machine() {
    if [[ -n $machine ]]; then "$DEPLOY_ENGINE" rm -f -v "$machine" >/dev/null 2>&1 || true; fi
    forget_work
}
trap remove_machine EXIT

# files/ of the directory that the image is made from: the release, the sandbox, a metadata service.
lay_out_files() {
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
    lay_out_files "$directory"
    lay_out_more "$directory/files"
    cp test/deploy/lib/machine.Dockerfile "$directory/Dockerfile"
    "$DEPLOY_ENGINE" build --network=host ${DEPLOY_BASE:+--build-arg "BASE=$DEPLOY_BASE"} \
        --build-arg "PACKAGES=$machine_packages" --tag "$MACHINE_IMAGE" "$directory"
}

# boot_machine USER_DATA: starts a machine with that user data. Until it has set itself up.
boot_machine() {
    mkdir "$work/nocloud"
    cp "$1" "$work/nocloud/user-data"
    echo "instance-id: test-$$" >"$work/nocloud/meta-data"
    machine=$("$DEPLOY_ENGINE" create "${RUN_FLAGS[@]}" "$MACHINE_IMAGE")
    inside_copy "$work/nocloud/." /var/lib/cloud/seed/nocloud
    "$DEPLOY_ENGINE" start "$machine" >/dev/null
}

# inside_copy FROM TO
inside_copy() {
    "$DEPLOY_ENGINE" cp "$1" "$machine:$2"
}

# inside COMMAND: as root's shell on the machine.
inside() {
    "$DEPLOY_ENGINE" exec "$machine" bash -euo pipefail -c "$1"
}

# booted: whether cloud-init ended well; else shows its log.
booted() {
    timeout "$BOOT_LIMIT_S" "$DEPLOY_ENGINE" exec "$machine" sh -c '
        until [ -S /run/dbus/system_bus_socket ]; do sleep 0.2; done
        systemctl is-system-running --wait >/dev/null || true
        cloud-init status --wait --long' && return
    inside 'tail -n 20 /var/log/cloud-init-output.log; systemctl --no-pager --failed; cloud-init schema --system'
    return 1
}
