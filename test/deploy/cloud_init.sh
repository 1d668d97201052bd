#!/usr/bin/env bash
# Tests scripts/render-cloud-init.sh: its user data is valid and complete, and no secret is exposed.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"

readonly ACCOUNT=k57c10vd000000000000000000000000
readonly TOKEN=mc_service_${ACCOUNT}_very_secret
readonly MAX_BYTES=16384
readonly KEY=RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
readonly COMMON=(--account "$ACCOUNT" --convex-url https://a-1.convex.cloud)

# render ARGUMENT...: renders $work/user-data, with the token on stdin.
render() {
    echo "$TOKEN" | scripts/render-cloud-init.sh "${COMMON[@]}" "$@" --output "$work/user-data"
}

render_container() {
    render --image registry.example/runtime:latest
}

render_native() {
    echo gateway_secret >"$work/gateway_token"
    render --native https://downloads.example/releases/latest/download --signing-key "$KEY" --gateway-url http://127.0.0.1:18789 \
        --gateway-token-file "$work/gateway_token" --ssh-port 2222
}

schema_is_valid() {
    cloud-init schema --config-file "$work/user-data"
}

size_is_within_limit() {
    (($(stat -c %s "$work/user-data") < MAX_BYTES))
}

no_placeholder_is_left() {
    expect_no_match '@[A-Z_]+@|^#\[' "$work/user-data"
}

# embedded PATH: prints the content of a file that the user data writes.
embedded() {
    awk -v path="$1" '
        $1 == "-" && $2 == "path:" { found = $3 == path; machine_exec = 0 }
        found && machine_exec { if (/^      / || /^$/) print substr($0, 7); else machine_exec = 0 }
        found && /^    content: \|$/ { machine_exec = 1 }' "$work/user-data"
}

scripts_pass_shellcheck() {
    local name
    for name in machine setup; do
        embedded "/usr/local/sbin/mission-control-$name" >"$work/mission-control-$name"
        (($(wc -l <"$work/mission-control-$name") > 10))
        # The settings that they source exist on the machine only.
        shellcheck --exclude=SC1091,SC2154 "$work/mission-control-$name"
    done
    # The upgrade is a file of its own, compressed and without its comments.
    grep -A 3 "/usr/local/sbin/mission-control-upgrade\$" "$work/user-data" |
        sed -n 's/^    content: //p' | base64 -d | gzip -d >"$work/mission-control-upgrade"
    diff <(grep -vE '^ *#|^$' deploy/upgrade/mission-control-upgrade) <(sed 1d "$work/mission-control-upgrade")
    expect_equal '#!/bin/sh' "$(head -n 1 "$work/mission-control-upgrade")"
    sh -n "$work/mission-control-upgrade"
    shellcheck deploy/upgrade/mission-control-upgrade
}

units_pass_verify() {
    local name
    for name in machine.service upgrade.service upgrade.path upgrade.timer setup.service; do
        { embedded "/etc/systemd/system/mission-control-$name"
            embedded "/usr/local/lib/systemd/system/mission-control-$name"; } |
            sed 's|/usr/local/sbin/mission-control-[a-z]*|/bin/true|' >"$work/mission-control-$name"
    done
    embedded /etc/systemd/system/mission-control-runtime.service |
        sed 's|/usr/bin/docker|/bin/true|' >"$work/mission-control-runtime.service"
    if ! grep -q . "$work/mission-control-runtime.service"; then
        rm "$work/mission-control-runtime.service"
    fi
    # The machine installs the engine; the host of this test may have none.
    printf '[Unit]\nDescription=Engine\n[Service]\nExecStart=/bin/true\n' >"$work/docker.service"
    systemd-analyze verify --man=no "$work"/mission-control-*.{service,path,timer} 2>"$work/verify"
    fails grep . "$work/verify"
}

readable_by_owner_only() {
    [[ $(stat -c %a "$work/user-data") == 600 ]]
}

token_is_not_an_argument() {
    fails render --service-token "$TOKEN"
    # Wrap every program that the script runs, and record its arguments.
    mkdir -p "$work/bin"
    local tool
    for tool in awk base64 rm sed; do
        printf '#!/bin/bash\nprintf "%%s\\n" "$*" >>%q\nexec %q "$@"\n' "$work/arguments" \
            "$(command -v "$tool")" >"$work/bin/$tool"
        chmod +x "$work/bin/$tool"
    done
    PATH=$work/bin:$PATH render_container
    grep -q native "$work/arguments" || grep -q container "$work/arguments"
    expect_no_match very_secret "$work/arguments"
    expect_no_match "$(printf %s "$TOKEN" | base64 -w 0)" "$work/arguments"
}

tokens_are_embedded() {
    local name
    for name in service_token:"$TOKEN" openclaw_gateway_token:gateway_secret; do
        [[ $(grep -A 3 "/etc/mission-control/${name%%:*}\$" "$work/user-data" |
            sed -n 's/^    content: //p' | base64 -d) == "${name#*:}" ]]
    done
}

# refuses TEXT ARGUMENT...: the script fails with TEXT in its output.
refuses() {
    local text=$1
    shift
    fails scripts/render-cloud-init.sh "$@" <<<"$TOKEN" >"$work/refused" 2>&1
    grep -F -- "$text" "$work/refused"
    expect_no_match very_secret "$work/refused"
}

refuses_missing_token() {
    fails scripts/render-cloud-init.sh "${COMMON[@]}" --image a </dev/null >"$work/refused" 2>&1
    grep -F "no token found" "$work/refused"
}

refuses_wrong_arguments() {
    refuses "one of --image and --native" "${COMMON[@]}"
    refuses "one of --image and --native" "${COMMON[@]}" --image a --native https://b --sha256 x
    refuses "--account must be" --account $'k57\nb' --convex-url https://a --image a
    refuses "--convex-url must be" --account "$ACCOUNT" --convex-url ftp://a --image a
    refuses "--native must be an https or file URL" "${COMMON[@]}" --native http://b --signing-key "$KEY"
    refuses "--native needs --signing-key or --sha256" "${COMMON[@]}" --native https://b
    refuses "--releases must be" "${COMMON[@]}" --native https://b --sha256 "${KEY//?/a}" --releases http://b
    refuses "--sha256 must be" "${COMMON[@]}" --native https://b --sha256 "${KEY//?/a}"
    refuses "--signing-key must be" "${COMMON[@]}" --native https://b --signing-key "${KEY}x"
    refuses "--signing-key needs --releases" "${COMMON[@]}" --image a --signing-key "$KEY"
    refuses "does not belong to account k57other" --account k57other --convex-url https://a --image a
    refuses "unknown argument" "${COMMON[@]}" --image a --more
    refuses_missing_token
}

# Credentials in a URL are neither accepted nor repeated in the message.
refuses_credentials() {
    local url=https://user:very_secret@a-1.convex.cloud
    refuses "--convex-url must not contain a user name" --account "$ACCOUNT" --convex-url "$url" --image a
    refuses "--gateway-url must not contain a user name" "${COMMON[@]}" --image a --gateway-url "$url"
    refuses "--native must not contain a user name" "${COMMON[@]}" --native "$url"
}

refuses_the_url_for_actions() {
    local url
    for url in https://a-1.convex.site https://A-1.Convex.SITE/ https://a-1.convex.site.:443/x; do
        refuses "must be the one that ends in .convex.cloud" --account "$ACCOUNT" --convex-url "$url" --image a
    done
    render --convex-url https://convex.site.example.org --image a
}

ssh_port_is_opened() {
    local port
    render_container
    grep -x '              tcp dport 22 accept' "$work/user-data"
    fails grep sshd_config "$work/user-data"
    render --image a --ssh-port 2222
    grep -x '              tcp dport 2222 accept' "$work/user-data"
    expect_equal "Port 2222" "$(embedded /etc/ssh/sshd_config.d/mission-control.conf)"
    for port in 0 65536 22a -1 ''; do
        refuses "--ssh-port must be a port" "${COMMON[@]}" --image a --ssh-port "${port:-x}"
    done
}

# make_stubs: sets up programs for the setup script to call: they record their calls, dpkg-query knows
# what the stub of apt-get has installed, and apt-get fails if the file offline exists.
make_stubs() {
    local name fake=$work/machine
    rm -rf "$fake"
    mkdir -p "$fake"/{bin,etc/apt/apt.conf.d,var/lib,proc}
    echo 0123456789abcdef0123456789abcdef >"$fake/etc/machine-id"
    printf 'swaps\nswapfile\n' >"$fake/proc/swaps"
    for name in nft systemctl chown systemd-detect-virt sleep; do
        printf '#!/bin/sh\necho "%s $*" >>%q/calls\n' "$name" "$fake" >"$fake/bin/$name"
    done
    cat >"$fake/bin/apt-get" <<STUB
#!/bin/sh
echo "apt-get \$*" >>$fake/calls
test ! -e $fake/offline || exit 100
for word; do touch "$fake/installed-\$word"; done
STUB
    cat >"$fake/bin/dpkg-query" <<STUB
#!/bin/sh
for name; do :; done
test ! -e "$fake/installed-\$name" || echo installed
STUB
    chmod +x "$fake"/bin/*
    embedded /usr/local/sbin/mission-control-setup | sed "s, /etc/, $fake/etc/,g; s,</etc/,<$fake/etc/,
        s,>/etc/,>$fake/etc/,; s,/proc/swaps,$fake/proc/swaps,; s,/var/lib/,$fake/var/lib/,g" >"$fake/setup"
}

run_setup() {
    PATH=$work/machine/bin:$PATH sh "$work/machine/setup"
}

# Only nftables is installed before the rules are loaded, and nothing is started.
firewall_comes_first() {
    render_container
    make_stubs
    run_setup
    sed -n '/^nft /q; p' "$work/machine/calls" >"$work/before"
    expect_equal "apt-get update nftables" \
        "$(awk '/ update$/ { printf "apt-get update " } / install / { print $NF }' "$work/before" | tail -n 1)"
    expect_no_match "^systemctl|docker|curl" "$work/before"
    grep -x "systemctl enable nftables.service" "$work/machine/calls"
    grep "install .*docker.io" "$work/machine/calls"
}

# Without a network the setup fails and leaves no mark, so the unit runs it again at the next boot.
failed_setup_is_repeated() {
    render_container
    make_stubs
    touch "$work/machine/offline"
    fails run_setup
    [[ ! -e $work/machine/var/lib/mission-control/setup-done ]]
    rm "$work/machine/offline"
    run_setup
    [[ -e $work/machine/var/lib/mission-control/setup-done ]]
    embedded /etc/systemd/system/mission-control-setup.service >"$work/setup.service"
    grep -x 'ConditionPathExists=!/var/lib/mission-control/setup-done' "$work/setup.service"
    grep -x 'WantedBy=multi-user.target' "$work/setup.service"
    grep -x '  - \[systemctl, enable, mission-control-setup.service\]' "$work/user-data"
}

# Each machine has its own minute, for reboots and for upgrades.
restarts_are_spread() {
    local minutes id
    render_container
    for id in 1 2 3 4 5 6 7 8 9; do
        make_stubs
        echo "$id" >"$work/machine/etc/machine-id"
        run_setup
        grep -oE '^Unattended-Upgrade::Automatic-Reboot-Time "04:[0-5][0-9]";$' \
            "$work/machine/etc/apt/apt.conf.d/53mission-control-reboot" >>"$work/minutes"
    done
    minutes=$(sort -u "$work/minutes" | wc -l)
    ((minutes > 5))
    embedded /etc/systemd/system/mission-control-upgrade.timer >"$work/timer"
    grep -x OnCalendar=hourly "$work/timer"
    grep -x RandomizedDelaySec=59min "$work/timer"
    grep -x FixedRandomDelay=yes "$work/timer"
}

check_user_data() {
    local variant=$1
    check "$variant: user data is rendered" "render_$variant"
    check "$variant: no placeholder is left" no_placeholder_is_left
    check "$variant: it is smaller than $MAX_BYTES bytes" size_is_within_limit
    check "$variant: only its owner can read it" readable_by_owner_only
    if has_tools "cloud-init schema" cloud-init; then
        check "$variant: cloud-init accepts its schema" schema_is_valid
    fi
    if has_tools "its scripts" shellcheck; then
        check "$variant: shellcheck finds nothing in its scripts" scripts_pass_shellcheck
    fi
    if has_tools "its units" systemd-analyze; then
        check "$variant: systemd-analyze finds nothing in its units" units_pass_verify
    fi
}

main() {
    cd "$ROOT"
    check_user_data container
    check_user_data native
    check "the tokens are embedded" tokens_are_embedded
    check "no token is passed as an argument" token_is_not_an_argument
    check "wrong arguments are refused" refuses_wrong_arguments
    check "a user name in a URL is refused" refuses_credentials
    check "the URL for HTTP actions is refused" refuses_the_url_for_actions
    check "the SSH port can be named" ssh_port_is_opened
    check "the firewall comes up before anything else" firewall_comes_first
    check "a setup that failed is repeated at the next boot" failed_setup_is_repeated
    check "restarts are spread over an hour" restarts_are_spread
    finish
}

main "$@"
