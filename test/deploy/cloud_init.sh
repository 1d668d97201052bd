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
        --gateway-token-file "$work/gateway_token"
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
    for name in machine.service upgrade.service upgrade.path upgrade.timer; do
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
    finish
}

main "$@"
