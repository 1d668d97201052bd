#!/usr/bin/env bash
# What scripts/render-cloud-init.sh makes: valid user data with nothing missing and no secret where
# others could see it.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"

readonly ACCOUNT=k57c10vd000000000000000000000000
readonly TOKEN=mc_service_${ACCOUNT}_very_secret
readonly MOST_BYTES=16384
readonly COMMON=(--account "$ACCOUNT" --convex-url https://a-1.convex.cloud)

# render ARGUMENT...: with the token on standard input; the result is in $work/user-data.
render() {
    echo "$TOKEN" | scripts/render-cloud-init.sh "${COMMON[@]}" "$@" --output "$work/user-data"
}

render_container() {
    render --image registry.example/runtime:latest
}

render_native() {
    echo gateway_secret >"$work/gateway_token"
    render --native https://downloads.example/latest --gateway-url http://127.0.0.1:18789 \
        --gateway-token-file "$work/gateway_token"
}

schema_is_valid() {
    cloud-init schema --config-file "$work/user-data"
}

size_is_allowed() {
    (($(stat -c %s "$work/user-data") < MOST_BYTES))
}

nothing_is_left_open() {
    lacks '@[A-Z_]+@|^#\[' "$work/user-data"
}

# embedded PATH: the content of a file that the user data writes.
embedded() {
    awk -v path="$1" '
        $1 == "-" && $2 == "path:" { found = $3 == path; inside = 0 }
        found && inside { if (/^      / || /^$/) print substr($0, 7); else inside = 0 }
        found && /^    content: \|$/ { inside = 1 }' "$work/user-data"
}

scripts_are_clean() {
    local name
    for name in machine upgrade setup; do
        embedded "/usr/local/sbin/mission-control-$name" >"$work/mission-control-$name"
        (($(wc -l <"$work/mission-control-$name") > 10))
        # The settings that it reads are on the machine.
        shellcheck --exclude=SC1091,SC2154 "$work/mission-control-$name"
    done
}

units_are_clean() {
    local name
    for name in machine.service upgrade.service upgrade.timer; do
        embedded "/etc/systemd/system/mission-control-$name" |
            sed 's|/usr/local/sbin/mission-control-[a-z]*|/bin/true|' >"$work/mission-control-$name"
    done
    embedded /etc/systemd/system/mission-control-runtime.service |
        sed 's|/usr/bin/docker|/bin/true|' >"$work/mission-control-runtime.service"
    if ! grep -q . "$work/mission-control-runtime.service"; then
        rm "$work/mission-control-runtime.service"
    fi
    # The machine installs the engine; where this test runs there may be none.
    printf '[Unit]\nDescription=Engine\n[Service]\nExecStart=/bin/true\n' >"$work/docker.service"
    systemd-analyze verify --man=no "$work"/mission-control-*.{service,timer} 2>"$work/verify"
    fails grep . "$work/verify"
}

only_for_the_owner() {
    [[ $(stat -c %a "$work/user-data") == 600 ]]
}

token_is_not_an_argument() {
    fails render --service-token "$TOKEN"
    # What every program that the script starts is called with.
    mkdir -p "$work/bin"
    local tool
    for tool in awk base64 rm sed; do
        printf '#!/bin/bash\nprintf "%%s\\n" "$*" >>%q\nexec %q "$@"\n' "$work/arguments" \
            "$(command -v "$tool")" >"$work/bin/$tool"
        chmod +x "$work/bin/$tool"
    done
    PATH=$work/bin:$PATH render_container
    grep -q native "$work/arguments" || grep -q container "$work/arguments"
    lacks very_secret "$work/arguments"
    lacks "$(printf %s "$TOKEN" | base64 -w 0)" "$work/arguments"
}

token_arrives() {
    local name
    for name in service_token:"$TOKEN" openclaw_gateway_token:gateway_secret; do
        [[ $(grep -A 3 "/etc/mission-control/${name%%:*}\$" "$work/user-data" |
            sed -n 's/^    content: //p' | base64 -d) == "${name#*:}" ]]
    done
}

# refuses WORDS ARGUMENT...: fails with WORDS in what it says.
refuses() {
    local words=$1
    shift
    fails scripts/render-cloud-init.sh "$@" <<<"$TOKEN" >"$work/refused" 2>&1
    grep -F -- "$words" "$work/refused"
    lacks very_secret "$work/refused"
}

refuses_no_token() {
    fails scripts/render-cloud-init.sh "${COMMON[@]}" --image a </dev/null >"$work/refused" 2>&1
    grep -F "no token found" "$work/refused"
}

refuses_what_is_wrong() {
    refuses "one of --image and --native" "${COMMON[@]}"
    refuses "one of --image and --native" "${COMMON[@]}" --image a --native https://b
    refuses "--account must be" --account $'k57\nb' --convex-url https://a --image a
    refuses "--convex-url must be" --account "$ACCOUNT" --convex-url ftp://a --image a
    refuses "does not belong to account k57other" --account k57other --convex-url https://a --image a
    refuses "unknown argument" "${COMMON[@]}" --image a --more
    refuses_no_token
}

check_user_data() {
    local variant=$1
    check "$variant: it is rendered" "render_$variant"
    check "$variant: nothing is left open" nothing_is_left_open
    check "$variant: it is below $MOST_BYTES bytes" size_is_allowed
    check "$variant: it is for its owner alone" only_for_the_owner
    if have "cloud-init schema" cloud-init; then
        check "$variant: cloud-init takes it" schema_is_valid
    fi
    if have "the scripts in it" shellcheck; then
        check "$variant: the scripts in it are clean" scripts_are_clean
    fi
    if have "the units in it" systemd-analyze; then
        check "$variant: the units in it are clean" units_are_clean
    fi
}

main() {
    cd "$ROOT"
    check_user_data container
    check_user_data native
    check "tokens arrive" token_arrives
    check "no token is an argument of any program" token_is_not_an_argument
    check "what is wrong is refused" refuses_what_is_wrong
    finish
}

main "$@"
