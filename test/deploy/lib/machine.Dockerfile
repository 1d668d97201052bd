# A machine with systemd and cloud-init for test/deploy. It already has every package that a setup would
# install, so it needs no network at run time. machine.sh puts files/ beside this file.
ARG BASE=debian:bookworm-slim
FROM $BASE
ARG PACKAGES=
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    ca-certificates cloud-init curl dbus iproute2 libcurl4 libjansson4 libmicrohttpd12 libssl3 \
    nftables procps systemd systemd-sysv unattended-upgrades $PACKAGES \
 && rm -rf /var/lib/apt/lists/* && rm -f /usr/sbin/policy-rc.d
RUN systemctl mask systemd-sysctl.service systemd-binfmt.service systemd-modules-load.service \
    systemd-random-seed.service systemd-timesyncd.service systemd-udevd.service \
    systemd-udev-trigger.service getty.target console-getty.service \
    systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer \
 && printf '%s\n' 'network: {config: disabled}' 'datasource_list: [NoCloud, None]' 'locale: false' \
    'ssh_deletekeys: false' 'ssh_genkeytypes: []' >/etc/cloud/cloud.cfg.d/99-test.cfg \
 && printf '%s\n' '#!/bin/sh' 'umount -R /sys/fs/cgroup' 'mount --make-rshared /' 'exec /sbin/init' >/boot.sh \
 && chmod 755 /boot.sh && mkdir -p /var/lib/cloud/seed/nocloud
COPY files/ /
RUN systemctl enable sandbox.service metadata.service
STOPSIGNAL SIGRTMIN+3
CMD ["/boot.sh"]
